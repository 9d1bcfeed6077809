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


def test_a_circle_of_pages_ends(tmp_path: Path) -> None:
    """The first page names itself as the following one."""
    write_picture_file(SAMPLES["tiff"], tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    first = int.from_bytes(content[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    content[end : end + 4] = first.to_bytes(4, "little")
    (tmp_path / "circle.tif").write_bytes(content)
    with pytest.raises(PictureError, match=r"circle\.tif: not a readable picture"):
        read_picture_file(tmp_path / "circle.tif")


def test_pages_and_frames_may_be_bombs_together(tmp_path: Path) -> None:
    from PIL import Image

    pages = [Image.new("1", (8000, 8000)) for _ in range(6)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="group4")
    with pytest.raises(PictureError, match="claims 6 times 8000×8000 pixels in"):
        read_header(tmp_path / "a.tif")
