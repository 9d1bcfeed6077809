"""Laws of tiling: whatever the cut, what the tiles agree on comes out as it is."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mambair.inference.tiles import TileError, Tiling, parse_tile, run_tiled

TILINGS = [
    Tiling("none"),
    Tiling("authors"),
    Tiling("blend", 64, 0),
    Tiling("blend", 64, 16),
    Tiling("blend", 48, 24),
    Tiling("blend", 400, 32),
    Tiling("padded", 64, 0),
    Tiling("padded", 50, 7),
]
SIZES = [(1, 1), (7, 300), (199, 200), (201, 399), (65, 64), (129, 450), (640, 33)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tiling", TILINGS)
def test_identity_is_exact(tiling: Tiling, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    assert torch.equal(run_tiled(lambda tile: tile, x, 1, tiling), x)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("tiling", TILINGS)
def test_enlarging_by_repetition_is_exact(tiling: Tiling, scale: int) -> None:
    def enlarge(tile: torch.Tensor) -> torch.Tensor:
        return tile.repeat_interleave(scale, -1).repeat_interleave(scale, -2)

    x = torch.randn(1, 1, 215, 130)
    assert torch.equal(run_tiled(enlarge, x, scale, tiling), enlarge(x))


@pytest.mark.parametrize(
    "tiling", [Tiling("authors"), Tiling("padded", 64, 2), Tiling("blend", 64, 24)]
)
def test_a_local_network_sees_no_seams(tiling: Tiling) -> None:
    """A 5×5 mean needs two pixels of context; within the tiles' overlap that is there."""

    def blur(tile: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(F.pad(tile, (2, 2, 2, 2), "reflect"), 5, 1)

    x = torch.rand(1, 1, 260, 420)
    expected, actual = blur(x), run_tiled(blur, x, 1, tiling)
    if tiling.mode in ("authors", "padded"):
        torch.testing.assert_close(actual, expected)
    else:  # a border weighs most 2.5/24 of a cross-fade
        assert (actual - expected).abs().max() < 0.12
        assert ((actual - expected).abs() > 1e-6).float().mean() < 0.2


@pytest.mark.parametrize(
    ("height", "width", "parts"), [(199, 199, 1), (200, 100, 2), (400, 600, 12), (450, 199, 3)]
)
def test_parts_of_the_published_protocol(height: int, width: int, parts: int) -> None:
    shapes = []

    def record(tile: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(tile.shape[-2:]))
        return tile

    run_tiled(record, torch.zeros(1, 1, height, width), 1, Tiling("authors"))
    assert len(shapes) == parts


def test_extension_of_the_published_protocol() -> None:
    """400 rows: 3 parts of 134 after padding to 402, each 13 longer on its inner sides."""
    rows = []

    def record(tile: torch.Tensor) -> torch.Tensor:
        rows.append(tile.shape[-2])
        return tile

    run_tiled(record, torch.zeros(1, 1, 400, 10), 1, Tiling("authors"))
    assert rows == [134 + 13, 134 + 26, 134 + 13]


def test_blended_tiles_have_one_size_and_progress_adds_up() -> None:
    shapes, progress = [], []

    def record(tile: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(tile.shape[-2:]))
        return tile

    tiling = Tiling("blend", 64, 16)
    run_tiled(record, torch.zeros(1, 1, 150, 200), 1, tiling, progress.append)
    assert set(shapes) == {(64, 64)}
    assert len(progress) == len(shapes) == 3 * 4
    assert sum(progress) == pytest.approx(1)


def test_parse_tile() -> None:
    assert parse_tile("authors") == Tiling("authors")
    assert parse_tile("none") == parse_tile(None) == parse_tile(0) == Tiling("none")
    assert parse_tile("128") == parse_tile(128) == Tiling("blend", 128, 32)
    assert parse_tile(64, 8) == Tiling("blend", 64, 8)
    for value, overlap, message in (
        ("big", None, "must be 'authors', 'none' or a side"),
        (8, None, "at least 16"),
        (64, 40, "within 0 and half the tile"),
        (64, -1, "within 0 and half the tile"),
        ("none", 8, "an overlap needs a side in pixels; 'none' has no use for it"),
        ("authors", 0, "an overlap needs a side in pixels; 'authors' has no use for it"),
    ):
        with pytest.raises(TileError, match=message):
            parse_tile(value, overlap)
