"""``basicsr restore`` on the pictures of ``tests/data/pictures``: nothing of them gets lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from basicsr_mambair.cli import main
from mambair.imaging.reading import read_image
from mambair.imaging.transparency import lay_on_white
from tests.mambair.inference.test_restorer import bicubic_network

PICTURES = Path(__file__).resolve().parents[2] / "data" / "pictures"


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which ``-w tiny`` names a quick network of scale 2."""
    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def restore(*arguments: object, status: int = 0) -> str:
    """Runs the command with the quick network into ``out``; returns what it says."""
    command = ["restore", *map(str, arguments), "-w", "tiny", "-o", "out"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == status, result.output
    return result.output


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
