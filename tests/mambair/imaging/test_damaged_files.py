"""Files that claim more than they hold; `tests/fuzzing` damages files of every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mambair.imaging.errors import PictureError
from mambair.imaging.metadata import Metadata
from mambair.imaging.picture_file import PictureFile, read_picture_file, write_picture_file
from mambair.imaging.reading import read_header


def test_a_circle_of_pages_ends(tmp_path: Path) -> None:
    """The first page names itself as the following one."""
    page = np.zeros((9, 9), np.uint8)
    write_picture_file(PictureFile([page, page], Metadata()), tmp_path / "a.tif")
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


def test_pages_of_16_bits_are_no_animation(tmp_path: Path) -> None:
    page = np.zeros((9, 9, 3), np.uint16)
    with pytest.raises(PictureError, match=r"a\.png: 9×9 pixels could not be written as png"):
        write_picture_file(PictureFile([page, page], Metadata()), tmp_path / "a.png")
