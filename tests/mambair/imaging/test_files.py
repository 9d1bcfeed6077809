"""Pictures of users, from file to file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mambair.imaging.errors import PictureError
from mambair.imaging.reading import is_complete, read_image
from mambair.imaging.writing import write_image
from tests.conftest import photograph

COLOR = photograph(height=20, width=30)
GRAY = COLOR[..., 1]
ALPHA = np.dstack([COLOR, GRAY])
DEEP = COLOR.astype(np.uint16) * 257 + 3


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("a.png", COLOR), ("a.png", GRAY), ("a.png", ALPHA), ("a.png", DEEP),
        ("a.png", DEEP[..., 0]), ("a.png", np.dstack([DEEP, DEEP[..., 0]])),
        ("a.tif", COLOR), ("a.tif", GRAY), ("a.tif", DEEP), ("a.tiff", ALPHA),
        ("a.bmp", COLOR), ("a.bmp", GRAY), ("A.PNG", COLOR),
    ],
)  # fmt: skip
def test_lossless_formats_keep_everything(name: str, image: np.ndarray, tmp_path: Path) -> None:
    write_image(image, tmp_path / name)
    result = read_image(tmp_path / name)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_formats_lose_little(name: str, tmp_path: Path) -> None:
    write_image(COLOR, tmp_path / name)
    result = read_image(tmp_path / name)
    assert result.shape == COLOR.shape
    assert np.abs(result.astype(int) - COLOR).mean() < 8
    write_image(GRAY, tmp_path / f"gray{name}")
    if not name.endswith("webp"):  # WebP has no gray
        assert read_image(tmp_path / f"gray{name}").ndim == 2


def test_what_a_format_cannot_hold_is_converted(tmp_path: Path) -> None:
    write_image(DEEP, tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), COLOR)
    write_image(ALPHA, tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == COLOR.shape
    write_image(ALPHA, tmp_path / "a.webp")
    assert read_image(tmp_path / "a.webp").shape == ALPHA.shape


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOR[..., ::-1])
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = cv2.rotate(COLOR, cv2.ROTATE_90_CLOCKWISE)
    assert read_image(tmp_path / "a.jpg").shape == upright.shape


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_unreadable(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(PictureError, match=r"bad\.png: not a readable picture"):
        read_image(tmp_path / "bad.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_truncated(name: str, tmp_path: Path) -> None:
    write_image(photograph(), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match="not a readable picture"):
        read_image(tmp_path / name)


def test_missing_and_float(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"no\.png: cannot be read"):
        read_image(tmp_path / "no.png")
    cv2.imwrite(str(tmp_path / "f.tif"), COLOR.astype(np.float32))
    with pytest.raises(PictureError, match=r"f\.tif: pixels are float32"):
        read_image(tmp_path / "f.tif")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_image(GRAY, tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a\.xyz: pictures cannot be written as '\.xyz'"):
        write_image(GRAY, tmp_path / "a.xyz")
    (tmp_path / "file").write_text("")
    with pytest.raises(PictureError, match="cannot be written"):
        write_image(GRAY, tmp_path / "file" / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GRAY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "file"]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_gray_with_alpha_stays_so(name: str, tmp_path: Path) -> None:
    image = np.dstack([GRAY, GRAY[::-1]])
    write_image(image, tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), image)
    with Image.open(tmp_path / name) as picture:
        assert picture.mode == "LA"


def test_gray_with_alpha_where_a_format_has_none(tmp_path: Path) -> None:
    image = np.dstack([GRAY, GRAY])
    write_image(image, tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == GRAY.shape
    write_image(image, tmp_path / "a.webp")
    assert read_image(tmp_path / "a.webp").shape == ALPHA.shape
    write_image(image.astype(np.uint16) * 257, tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").dtype == np.uint16


def test_what_stands_behind_the_end_does_not_matter(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        write_image(COLOR, tmp_path / name)
        with (tmp_path / name).open("ab") as file:
            file.write(b"a video that a phone appended" * 100)
        assert read_image(tmp_path / name).shape == COLOR.shape


def test_a_thumbnail_is_not_the_picture(tmp_path: Path) -> None:
    """A truncated JPEG whose header holds a complete one, with an end marker, is incomplete."""
    write_image(photograph(), tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    header = b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    assert is_complete(content[:2] + header + content[2:])
    assert not is_complete(content[:2] + header + content[2:-100])
