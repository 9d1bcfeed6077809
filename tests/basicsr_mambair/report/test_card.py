"""The figures on the card of the shipped weights agree with a measurement."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from basicsr_mambair.report import measure
from mambair.inference.weights import OWN_WEIGHTS
from tests.conftest import ROOT

CARD = ROOT / "experiments" / "pretrained_models" / "README.md"


def card_figures(weights: str, pictures: str) -> tuple[float, ...]:
    """PSNR and SSIM before and after, from the row of the card's table."""
    rows = [line for line in CARD.read_text(encoding="utf-8").splitlines()
            if line.startswith(f"| `{weights}` | {pictures} |")]  # fmt: skip
    assert len(rows) == 1, rows
    return tuple(float(number) for number in re.findall(r"\d+\.\d+", rows[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option_file", "weights", "dataset", "pictures"),
    [
        ("tiny_x2", "tiny_x2", "Set5", "Set5"),
        ("tiny_x3", "tiny_x3", "Set5", "Set5"),
        ("tiny_x4", "tiny_x4", "Set5", "Set5"),
        ("tiny_jpeg_10", "tiny_jpeg", "Classic5", "Classic5, quality 10"),
    ],
)
def test_card(
    option_file: str, weights: str, dataset: str, pictures: str,
    benchmark_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if not (benchmark_pictures / dataset).is_dir():
        pytest.skip(f"no {dataset} under {benchmark_pictures}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").symlink_to(benchmark_pictures)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    measurement = measure(ROOT / "options" / "test" / f"{option_file}.yml")
    measured = [
        measurement.mean(dataset, metric, baseline)
        for baseline in (True, False)
        for metric in ("psnr", "ssim")
    ]
    # Kernels differ between processors in the last bits, which move single gray levels.
    for printed, value, tolerance in zip(
        card_figures(weights, pictures), measured, (0.01, 0.0002) * 2, strict=True
    ):
        assert printed == pytest.approx(value, abs=tolerance)


def test_weights_are_small() -> None:
    files = list(CARD.parent.glob("*.safetensors"))
    own = {name for by_scale in OWN_WEIGHTS.values() for name in by_scale.values()}
    assert {file.stem for file in files} == own
    for file in files:
        assert file.stat().st_size < 5_000_000
        assert f"`{file.name}`" in CARD.read_text() or f"`{file.stem}`" in CARD.read_text()
