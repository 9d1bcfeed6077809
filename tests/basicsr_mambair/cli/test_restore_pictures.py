"""``basicsr restore`` on the pictures of ``tests/data/pictures``: nothing of them gets lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mambair.imaging.reading import read_image
from mambair.imaging.transparency import lay_on_white
from tests.basicsr_mambair.cli.restoring import PICTURES, restore
from tests.conftest import photograph

pytestmark = pytest.mark.usefixtures("workplace")


def transparency(image: np.ndarray) -> float:
    """How many wholly transparent pixels would let the same light through."""
    return float((1 - image[..., -1].astype(float) / np.iinfo(image.dtype).max).sum())


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("o6_rgb.png", 3),
        ("o6_rgba.png", 4),
        ("o6_rgba.webp", 4),
        ("o6_la.png", 2),
        ("o6_paltrns.png", 4),
    ],
)
def test_pictures_are_turned_upright(name: str, channels: int) -> None:
    restore(PICTURES / name)
    restored = read_image(Path("out", name))
    assert restored.shape == (120, 80, channels)
    with Image.open(Path("out", name)) as picture:  # as any other program sees it
        assert picture.size == (80, 120)
        assert picture.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("name", "transparent", "kind"),
    [
        ("l_trns.png", 135, np.uint8),
        ("bilevel_trns.png", 1643, np.uint8),
        ("g16_trns.png", 9, np.uint16),
    ],
)
def test_a_transparent_gray_value_becomes_alpha(name: str, transparent: int, kind: type) -> None:
    before = read_image(PICTURES / name)
    assert (before[..., 1] == 0).sum() == transparent
    restore(PICTURES / name)
    restored = read_image(Path("out", name))
    assert restored.dtype == kind
    assert restored.shape == (80, 120, 2)
    assert transparency(restored) == pytest.approx(4 * transparent, rel=0.3)


def test_a_transparent_palette_entry_becomes_alpha() -> None:
    before = read_image(PICTURES / "graypal_trns.png")
    assert (before[..., 3] == 0).sum() == 134
    restore(PICTURES / "graypal_trns.png")
    assert transparency(read_image("out/graypal_trns.png")) == pytest.approx(4 * 134, rel=0.3)


def test_hidden_color_does_not_reach_what_is_seen() -> None:
    restore(PICTURES / "white_on_black.png")
    assert lay_on_white(read_image("out/white_on_black.png")).min() >= 250


def test_frames_that_a_format_cannot_hold_are_refused_by_name() -> None:
    for name, advice in (("pages.tif", "--format tif"), ("anim.png", "--format png")):
        output = restore(PICTURES / name, "--format", "jpg", status=1)
        assert f"{name}: jpg cannot hold its 3" in output
        assert advice in output
        assert not Path("out").exists()


def test_metadata_are_carried_over(workplace: Path) -> None:
    """P2: the values and their profile stay, EXIF and resolution too."""
    restore(PICTURES / "icc_in.png")
    with Image.open(PICTURES / "icc_in.png") as before, Image.open("out/icc_in.png") as after:
        assert after.info["icc_profile"] == before.info["icc_profile"]
        assert np.abs(np.asarray(after)[32, 32].astype(int) - (40, 200, 60)).max() <= 2
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 6
    exif.get_ifd(0x8769).update({0xA002: 30, 0xA003: 20, 0x9003: "2026:11:26 04:00:00"})
    photo = Image.fromarray(photograph(height=20, width=30)[..., ::-1])
    photo.save("photo.jpg", exif=exif, dpi=(300, 300))
    restore("photo.jpg")
    with Image.open("out/photo.jpg") as picture:
        assert picture.size == (40, 60)
        assert picture.info["dpi"] == (300, 300)
        found = picture.getexif()
        assert (found[0x010F], found[0x0112]) == ("Maker", 1)
        inner = found.get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (40, 60)
        assert inner[0x9003] == "2026:11:26 04:00:00"


def test_limits_of_formats_are_known_before_the_work(workplace: Path) -> None:
    """P6"""
    shutil.copy(PICTURES / "wide.webp", workplace)
    Image.new("L", (33000, 4)).save("wide.jpg")
    Image.new("L", (10, 10)).save("small.png")
    output = restore("wide.webp", "wide.jpg", "small.png", status=1)
    assert "wide.webp: 16600×16 pixels are more than webp can hold" in output
    assert "wide.jpg: 66000×8 pixels are more than jpg can hold" in output
    assert output.count("--format png") >= 2
    assert "1 of 3 pictures restored" in output
    assert [each.name for each in Path("out").glob("[!.]*")] == ["small.png"]
    assert "1 of 1 pictures restored" in restore("wide.webp", "--format", "png")
    assert read_image("out/wide.png").shape == (16, 16600, 3)


def test_progress_is_counted_in_pixels(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P8: the bar stands at the share of the pixels that are done."""
    import tqdm

    seen: list[tuple[str, float]] = []

    class Watched(tqdm.tqdm):
        def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
            seen.append((str(desc), self.n / self.total))
            super().set_description(desc, refresh)

        def close(self) -> None:
            if not self.disable:
                seen.append(("end", self.n / self.total))
            super().close()

    monkeypatch.setattr(tqdm, "tqdm", Watched)
    for name, side in (("a", 10), ("b", 30), ("c", 300)):
        Image.new("L", (side, side)).save(f"{name}.png")
    Path("d.png").write_bytes(b"broken")
    restore("a.png", "b.png", "c.png", "d.png", "--tile", "256", "--overlap", "32", status=1)
    total = 10**2 + 30**2 + 4 * 256**2  # four tiles overlap
    assert [round(share * total) for _, share in seen] == [0, 100, 1000, total]
    assert seen[1][0] == "b.png (2/3)"


def test_a_device_that_is_not_here() -> None:
    """P11"""
    output = restore(PICTURES / "l_trns.png", "--device", "mps", status=2)
    assert "there is no MPS device here" in output


def test_auto_takes_the_first_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: in the order cuda, xpu, mps, cpu."""
    from mambair.inference import device

    here = {"cuda", "xpu", "mps"}
    monkeypatch.setattr(device, "_is_available", here.__contains__)
    monkeypatch.setattr(device.torch, "empty", lambda *_, **__: None)
    for expected in ("cuda", "xpu", "mps", "cpu"):
        assert device.pick_device("auto").type == expected
        here.discard(expected)


@pytest.mark.parametrize("tile", ["256", "none", "authors"])
def test_the_smallest_pictures(tile: str, workplace: Path) -> None:
    sizes = [(1, 1), (1, 40), (40, 1), (1, 401)]
    for width, height in sizes:
        Image.new("RGB", (width, height), (10, 200, 30)).save(f"{width}x{height}.png")
    restore(*(f"{width}x{height}.png" for width, height in sizes), "--tile", tile)
    for width, height in sizes:
        assert read_image(f"out/{width}x{height}.png").shape == (2 * height, 2 * width, 3)
