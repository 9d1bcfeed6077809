"""TIFFs as other programs write them: channels beside each other or in planes, of every meaning."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mambair.imaging.errors import PictureError
from mambair.imaging.picture_file import PictureFile, read_picture_file

LEFT_OUT = ("channels that are neither color nor alpha left out",)


def stored(path: Path, pixels: np.ndarray, planes: bool, **about: object) -> PictureFile:
    """Writes ``(H, W, C)``, RGB first, and reads the file with the project's reader."""
    tifffile.imwrite(
        path,
        np.moveaxis(pixels, -1, 0) if planes else pixels,
        planarconfig="separate" if planes else "contig",
        **about,
    )
    return read_picture_file(path)


def noise(channels: int, kind: type) -> np.ndarray:
    draw = np.random.default_rng(channels)
    return draw.integers(0, np.iinfo(kind).max, (20, 24, channels), dtype=kind)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planes", [False, True], ids=["contig", "planes"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("extra", "channels", "kept"),
    [
        (None, 3, [2, 1, 0]),
        (["unassalpha"], 4, [2, 1, 0, 3]),
        (["unspecified"], 4, [2, 1, 0]),
        (["unassalpha", "unspecified"], 5, [2, 1, 0, 3]),
        (["unassalpha"], 2, [0, 1]),
        (["unspecified"], 2, [0]),
    ],
    ids=["RGB", "RGBA", "RGBX", "RGBAX", "LA", "LX"],
)
def test_every_layout_is_read_exactly(
    extra: list[str] | None,
    channels: int,
    kept: list[int],
    kind: type,
    planes: bool,
    compression: str | None,
    tmp_path: Path,
) -> None:
    pixels = noise(channels, kind)
    found = stored(
        tmp_path / "a.tif",
        pixels,
        planes,
        photometric="rgb" if channels > 2 else "minisblack",
        extrasamples=extra,
        compression=compression,
    )
    assert found.notes == (LEFT_OUT if "unspecified" in (extra or ()) else ())
    np.testing.assert_array_equal(found.frames[0], pixels[..., kept].squeeze())
    assert found.frames[0].dtype == kind


def test_alpha_may_stand_behind_another_channel(tmp_path: Path) -> None:
    pixels = noise(5, np.uint16)
    extra = ["unspecified", "unassalpha"]
    found = stored(tmp_path / "a.tif", pixels, False, photometric="rgb", extrasamples=extra)
    assert found.notes == LEFT_OUT
    np.testing.assert_array_equal(found.frames[0], pixels[..., [2, 1, 0, 4]])


def test_deep_pixels_in_lzw_and_of_raw_converters(tmp_path: Path) -> None:
    pixels = noise(3, np.uint16)
    lzw = [cv2.IMWRITE_TIFF_COMPRESSION, 5]
    assert cv2.imwrite(str(tmp_path / "a.tif"), pixels[..., ::-1], lzw)
    np.testing.assert_array_equal(
        read_picture_file(tmp_path / "a.tif").frames[0], pixels[..., ::-1]
    )
    found = stored(tmp_path / "b.tif", pixels, False, photometric=34892)  # LinearRaw
    np.testing.assert_array_equal(found.frames[0], pixels[..., ::-1])


@pytest.mark.parametrize(
    ("photometric", "kind"), [("rgb", np.uint8), ("rgb", np.uint16), ("separated", np.uint8)]
)
def test_planes_hold_the_same_picture(photometric: str, kind: type, tmp_path: Path) -> None:
    pixels = noise(4, kind)
    extra = ["assocalpha"] if photometric == "rgb" else None
    if extra:  # colors are not brighter than their alpha
        pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    contiguous, planes = (
        stored(tmp_path / "a.tif", pixels, planes, photometric=photometric, extrasamples=extra)
        for planes in (False, True)
    )
    np.testing.assert_allclose(
        planes.frames[0].astype(int), contiguous.frames[0].astype(int), atol=1
    )
    assert planes.notes == contiguous.notes


@pytest.mark.parametrize(
    ("photometric", "channels", "kind", "planes"),
    [
        ("separated", 4, np.uint16, False),
        ("separated", 4, np.uint16, True),
        ("cielab", 3, np.uint16, False),
        ("cielab", 3, np.uint8, True),
    ],
)
def test_colors_that_cannot_be_read_are_named(
    photometric: str, channels: int, kind: type, planes: bool, tmp_path: Path
) -> None:
    with pytest.raises(PictureError, match=rf"a\.tif: colors are {photometric.upper()}"):
        stored(tmp_path / "a.tif", noise(channels, kind), planes, photometric=photometric)


def test_a_plane_of_every_page(tmp_path: Path) -> None:
    pages = [noise(3, np.uint16), noise(3, np.uint16)[::-1]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(np.moveaxis(page, -1, 0), photometric="rgb", planarconfig="separate")
    for found, page in zip(read_picture_file(tmp_path / "a.tif").frames, pages, strict=True):
        np.testing.assert_array_equal(found, page[..., ::-1])
