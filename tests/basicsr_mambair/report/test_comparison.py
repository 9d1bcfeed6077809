"""``basicsr report --compare``: two networks beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from basicsr_mambair.cli.main import main
from basicsr_mambair.report import MeasurementError, compare, comparison
from basicsr_mambair.report.published import claims, figures
from basicsr_mambair.report.records import Measurement, PictureResult
from tests.conftest import ROOT

BEFORE, AFTER = (ROOT / "options" / "test" / f"{name}_light_x2.yml"
                 for name in ("mambair", "mambairv2"))  # fmt: skip


def rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in text.splitlines() if line.startswith("|")]  # fmt: skip
    return {row[0]: row[1:] for row in cells}


def test_the_command_prints_costs_figures_and_the_claim() -> None:
    result = CliRunner().invoke(main, ["report", "--compare", str(BEFORE), str(AFTER)])
    assert result.exit_code == 0, result.output
    table = rows(result.output)
    assert table[""] == ["MambaIR-light", "MambaIRv2-light", "difference"]
    assert table["parameters, counted here"] == ["905,016", "774,092", "−14.5 %"]
    assert table["Urban100 PSNR, published"] == ["32.85", "33.26", "+0.41 dB"]
    macs = table["MACs, counted here"]
    assert [float(each.removesuffix(" G")) for each in macs[:2]] == pytest.approx(
        [334.2, 286.3],
        rel=0.002,  # as the paper prints
    )
    assert "Table 3" in result.output and "1.36 M" in result.output


def test_measured_figures_stand_beside_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = dict.fromkeys(("parameters", "macs", "published_macs"))
    monkeypatch.setattr(comparison, "count_cost", lambda section, scale: nothing)
    measurements = [
        Measurement(tmp_path, {"name": f"test_{name}_light_x2"}, [
            PictureResult("Set5", "baby", 8, 8, 1.0, {"psnr": psnr, "ssim": 0.9}, {}, {}),
        ])
        for name, psnr in (("mambair", 30.0), ("mambairv2", 29.5))
    ]  # fmt: skip
    table = rows(compare(BEFORE, AFTER, measurements))
    assert table["Set5 PSNR, measured"] == ["30.00", "29.50", "−0.50 dB"]
    assert table["MACs, counted here"] == ["", "", ""]
    assert "measured" not in compare(BEFORE, AFTER, measurements[:1])


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    other = ROOT / "options" / "test" / "mambairv2_light_x4.yml"
    with pytest.raises(MeasurementError, match="sr 2, .* sr 4: they cannot be compared"):
        compare(BEFORE, other)
    unknown = tmp_path / "unknown.yml"
    unknown.write_text(f"extends: {BEFORE}\npublished: ~\n")
    with pytest.raises(MeasurementError, match=r"unknown\.yml: published: task and setting"):
        compare(unknown, AFTER)
    result = CliRunner().invoke(
        main, ["report", "--compare", str(BEFORE), str(AFTER), "-opt", str(AFTER)]
    )
    assert result.exit_code == 2 and "measures nothing" in result.output


def test_claims_are_about_networks_with_figures() -> None:
    known = {(each.task, each.setting, each.method) for each in figures()}
    for claim in claims():
        for method in (claim.before, claim.after):
            assert (claim.task, claim.setting, method) in known
