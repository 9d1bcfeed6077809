"""Damaged files of every format: they are read, or an error names them; nothing else happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mambair.imaging.encoding import Timing
from mambair.imaging.errors import PictureError
from mambair.imaging.formats import FORMATS
from mambair.imaging.metadata import Metadata
from mambair.imaging.picture_file import PictureFile, read_picture_file, write_picture_file
from mambair.imaging.reading import read_header
from tests.mambair.imaging.test_picture_file import COLOR, FULL

DEEP = COLOR.astype(np.uint16) * 257
SAMPLES = {
    **{form.name: PictureFile([COLOR], FULL) for form in FORMATS},
    "apng": PictureFile([COLOR, COLOR[::-1].copy()], Metadata(), Timing((90.0, 90.0))),
    "tiff": PictureFile([DEEP, np.dstack([DEEP, DEEP[..., 0]]), DEEP[..., :2], COLOR], FULL),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_is_named(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    path = tmp_path / f"a.{name}"
    write_picture_file(SAMPLES[name], path)
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        else:
            begin = rng.choice((200, len(content)))
            for _ in range(rng.choice((1, 3, 20))):
                content[rng.randrange(min(begin, len(content)))] = rng.randrange(256)
        path.write_bytes(content)
        for read in (read_header, read_picture_file):
            assert (said := complaint(read, path)) == "" or said.startswith(str(path))


def complaint(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except PictureError as error:
        return str(error)
    return ""
