"""Whole files: metadata, pages and frames come back as they were, for every format."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

from mambair.imaging.encoding import Timing, encode_frames, refusal_of
from mambair.imaging.formats import FORMATS, FORMATS_BY_EXTENSION, Format
from mambair.imaging.metadata import EXIF_IFD, GPS_IFD, Metadata
from mambair.imaging.picture_file import PictureFile, read_picture_file, write_picture_file
from tests.conftest import photograph

COLOR = photograph(height=20, width=30)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1"/></x:xmpmeta>'
FULL = Metadata(
    icc=SRGB,
    exif={
        0x010E: "a cup",
        0x010F: "Maker",
        0x8298: "Somebody",
        EXIF_IFD: {
            0x9003: "2026:11:26 04:00:00",
            0x829A: IFDRational(1, 250),
            0xA002: 30,
            0xA003: 20,
        },
        GPS_IFD: {1: "N", 2: (47.0, 22.0, 30.5)},
    },
    xmp=XMP,
    iptc=b"\x1c\x02\x78\x00\x05a cup",
    dpi=(300.0, 300.0),
)


def formats(condition: str) -> list[Format]:
    return [each for each in FORMATS if getattr(each, condition)]


def written(form: Format, image: np.ndarray, metadata: Metadata, tmp_path: Path) -> PictureFile:
    path = tmp_path / f"a{form.extensions[0]}"
    write_picture_file(PictureFile([image], metadata), path)
    return read_picture_file(path)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_metadata_come_back(form: Format, deep: bool, tmp_path: Path) -> None:
    image = COLOR.astype(np.uint16) * 257 if deep else COLOR
    found = written(form, image, FULL, tmp_path).metadata
    assert found.icc == (SRGB if form.icc else None)
    if form.exif:
        assert found.exif[0x010E] == "a cup"
        assert found.exif[0x8298] == "Somebody"
        assert found.exif[EXIF_IFD][0x9003] == "2026:11:26 04:00:00"
        assert float(found.exif[EXIF_IFD][0x829A]) == 1 / 250
        assert found.exif[GPS_IFD][1] == "N"
        assert [float(each) for each in found.exif[GPS_IFD][2]] == [47, 22, 30.5]
    else:
        assert not found.exif
    assert found.xmp == (XMP if form.xmp else None)
    assert found.iptc == (FULL.iptc if form.iptc else None)
    if form.dpi:
        assert found.dpi == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif"])
def test_an_orientation_is_applied_once(name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    arguments = {} if name in ("a.png", "a.tif") else {"xmp": XMP.replace(b'"1"', b'"6"')}
    Image.fromarray(COLOR).save(tmp_path / name, exif=exif, **arguments)
    picture = read_picture_file(tmp_path / name)
    assert picture.frames[0].shape == (30, 20, 3)
    write_picture_file(picture, tmp_path / f"again{name}")
    again = read_picture_file(tmp_path / f"again{name}")
    assert again.frames[0].shape == (30, 20, 3)
    assert again.metadata.exif.get(0x0112, 1) == 1
    assert again.metadata.xmp == (XMP if arguments else None)


def test_a_gray_profile_and_gray_pixels_stay() -> None:
    assert not encode_frames([COLOR[..., 0]], FORMATS_BY_EXTENSION[".tif"], FULL)[1]


@pytest.mark.parametrize("form", formats("deep"), ids=lambda form: form.name)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pixels_come_back_exactly(form: Format, channels: int, kind: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (21, 13) if channels == 1 else (21, 13, channels)
    image = rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    found = written(form, image, FULL, tmp_path).frames
    assert found[0].dtype == kind
    np.testing.assert_array_equal(found[0], image)


def test_pages_come_back_exactly(tmp_path: Path) -> None:
    """Pages differ in size, depth and color."""
    deep = COLOR.astype(np.uint16) * 257 + 1
    pages = [COLOR, deep[:7], COLOR[..., 0], np.dstack([deep, deep[..., 0]]), deep[..., :2]]
    write_picture_file(PictureFile(pages, FULL), tmp_path / "a.tif")
    found = read_picture_file(tmp_path / "a.tif")
    assert len(found.frames) == len(pages)
    for before, after in zip(pages, found.frames, strict=True):
        np.testing.assert_array_equal(after, before)
    assert found.metadata.exif[0x010E] == "a cup"


def test_other_programs_read_our_tiff(tmp_path: Path) -> None:
    write_picture_file(PictureFile([COLOR, COLOR[::-1]], FULL), tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as picture:
        assert picture.n_frames == 2
        assert picture.info["dpi"] == (300, 300)
        np.testing.assert_array_equal(np.asarray(picture), COLOR[..., ::-1])
        picture.seek(1)
        np.testing.assert_array_equal(np.asarray(picture), COLOR[::-1, :, ::-1])


@pytest.mark.parametrize("name", ["png", "webp", "gif", "avif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_animations_come_back(name: str, alpha: bool, tmp_path: Path) -> None:
    frames = [COLOR, COLOR[::-1].copy(), COLOR[:, ::-1].copy()]
    if alpha:
        frames = [np.dstack([each, np.full(each.shape[:2], 255, np.uint8)]) for each in frames]
        for index, each in enumerate(frames):
            each[: 4 * index + 1, :, 3] = 0
    animation = PictureFile(frames, Metadata(), Timing((100.0, 250.0, 40.0), loop=0))
    write_picture_file(animation, tmp_path / f"a.{name}")
    found = read_picture_file(tmp_path / f"a.{name}")
    assert len(found.frames) == 3
    assert found.timing is not None
    assert found.timing.durations == (100, 250, 40)
    if name in ("png", "webp", "gif"):
        assert found.timing.loop == 0
    for before, after in zip(frames, found.frames, strict=True):
        if alpha:
            np.testing.assert_array_equal(after[..., 3], before[..., 3])
            before, after = before[before[..., 3] > 0], after[after[..., 3] > 0]
        assert np.abs(after.astype(int) - before).mean() < (1 if name == "png" else 9)


def test_what_cannot_be_held_is_said(tmp_path: Path) -> None:
    deep = np.dstack([COLOR, COLOR[..., 0]]).astype(np.uint16) * 257
    notes = write_picture_file(PictureFile([deep], FULL), tmp_path / "a.bmp")
    assert [each.split(",")[0] for each in notes] == [
        "16 bits became 8", "transparency was laid on white", "EXIF",
    ]  # fmt: skip
    assert "EXIF, XMP, IPTC left out, because bmp cannot hold it" in notes


def test_a_profile_that_cannot_be_kept_is_applied(tmp_path: Path) -> None:
    """Values of the profile 40, 200, 60 look like sRGB 0, 201, 37."""
    pictures = Path(__file__).resolve().parents[2] / "data" / "pictures"
    picture = read_picture_file(pictures / "icc_in.png")
    notes = write_picture_file(picture, tmp_path / "a.bmp")
    assert notes == ["colors became sRGB, because bmp cannot hold the profile"]
    color = read_picture_file(tmp_path / "a.bmp").frames[0][16, 16, ::-1]
    assert np.abs(color.astype(int) - (0, 201, 37)).max() <= 3


def test_cmyk_becomes_srgb(tmp_path: Path) -> None:
    Image.fromarray(COLOR[..., ::-1]).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(COLOR[..., ::-1]).convert("CMYK").save(tmp_path / "a.tif")
    for name in ("a.jpg", "a.tif"):
        found = read_picture_file(tmp_path / name)
        assert found.notes == ("CMYK became sRGB",)
        assert np.abs(found.frames[0].astype(int) - COLOR).mean() < 6


def test_texts_and_colors_of_png_stay(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("parameters", "a cup, steaming")
    texts.add(b"gAMA", (100000).to_bytes(4, "big"))
    Image.fromarray(COLOR[..., ::-1]).save(tmp_path / "a.png", pnginfo=texts)
    picture = read_picture_file(tmp_path / "a.png")
    assert not write_picture_file(picture, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as result:
        assert result.info["parameters"] == "a cup, steaming"
        assert result.info["gamma"] == 1
    notes = write_picture_file(picture, tmp_path / "b.webp")
    assert notes == ["texts, color declarations of PNG left out, because webp cannot hold it"]


def test_exif_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    from mambair.imaging import png
    from mambair.imaging.reading import picture_size, read_image

    content, _ = encode_frames([COLOR], FORMATS_BY_EXTENSION[".png"])
    exif = Image.Exif()
    exif[0x0112] = 6
    end = png.insert(content, [(b"eXIf", exif.tobytes()[6:])])[len(png.SIGNATURE) + 25 :]
    chunk = end[: len(end) - len(content) + len(png.SIGNATURE) + 25]
    (tmp_path / "a.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert picture_size(tmp_path / "a.png") == read_image(tmp_path / "a.png").shape[:2] == (30, 20)


def test_damaged_exif_is_said(tmp_path: Path) -> None:
    damaged = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(200))
    Image.fromarray(COLOR).save(tmp_path / "a.jpg", exif=damaged)
    picture = read_picture_file(tmp_path / "a.jpg")
    assert picture.frames[0].shape == COLOR.shape


@pytest.mark.parametrize(
    ("extension", "height", "width", "refused"),
    [
        (".webp", 16, 16384, True),
        (".webp", 16, 16383, False),
        (".jpg", 65501, 10, True),
        (".jpg", 65500, 10, False),
        (".gif", 10, 65536, True),
        (".png", 10, 10**6, False),
    ],
)
def test_limits(extension: str, height: int, width: int, refused: bool) -> None:
    form = FORMATS_BY_EXTENSION[extension]
    message = refusal_of(form, height, width, 1, paged=False)
    assert bool(message) == refused
    if message:
        assert "--format png" in message
    # The figure is the encoder's own.
    line = np.zeros((height, width, 3), np.uint8)
    if form.name != "gif" and line.nbytes < 10**7:
        if refused:
            with pytest.raises(ValueError, match="could not be written"):
                encode_frames([line], form)
        else:
            assert Image.open(io.BytesIO(encode_frames([line], form)[0])).size == (width, height)
