"""Measurements and the report about them."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from basicsr_mambair.cli import main
from basicsr_mambair.report import (
    MeasurementError,
    Variant,
    evaluation,
    measure,
    read,
    write_report,
)
from basicsr_mambair.report.panels import plot_parameters
from basicsr_mambair.report.published import figures, figures_for, sources
from basicsr_mambair.report.tables import Row, Table, build_tables, cells
from mambair.archs import MambaIRv2Light
from mambair.archs.warm_start import start_at_bicubic
from mambair.checkpoint import save_checkpoint
from mambair.inference.restorer import Restorer
from mambair.inference.tiles import Tiling
from tests.conftest import tiny_network


@pytest.fixture
def option_file(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test option file of three small pictures, in the current directory."""
    monkeypatch.chdir(pairs)
    torch.manual_seed(0)
    section = tiny_network()
    net = MambaIRv2Light(**{key: value for key, value in section.items() if key != "type"})
    start_at_bicubic(net)
    net.conv_after_body.weight.data.normal_(0, 0.02)  # so that the routing matters
    save_checkpoint({"params_ema": net.state_dict()}, pairs / "tiny.pth")
    metrics = {
        "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
        "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
    }
    contents = {
        "name": "test_tiny", "model_type": "MambaIRv2LightModel", "scale": 2, "num_gpu": 0,
        "manual_seed": 0, "published": {"task": "sr", "setting": 2, "method": "MambaIRv2-light"},
        "datasets": {"test_1": {
            "name": "Set5", "type": "PairedImageDataset", "task": "SR", "dataroot_gt": "HR",
            "dataroot_lq": "LR", "filename_tmpl": "{}x2", "io_backend": {"type": "disk"}}},
        "network_g": section, "path": {"pretrain_network_g": "tiny.pth"},
        "val": {"metrics": metrics},
    }  # fmt: skip
    path = pairs / "tiny.yml"
    path.write_text(yaml.safe_dump(contents))
    return path


def test_measures_what_restore_gives(option_file: Path) -> None:
    from basicsr.metrics import calculate_psnr, calculate_ssim

    contents = yaml.safe_load(option_file.read_text())
    contents["val"] |= {"tile": 32, "tile_overlap": 8}  # of the file's tiles, not of the variant's
    option_file.write_text(yaml.safe_dump(contents))
    measurement = measure(option_file, Variant(tile="none"))
    assert [p.name for p in measurement.pictures] == ["astronautx2", "chelseax2", "coffeex2"]
    restorer = Restorer.from_checkpoint("tiny.pth", tiling=Tiling("none"))
    for picture in measurement.pictures:
        truth = cv2.imread(f"HR/{picture.name.removesuffix('x2')}.png")
        low = cv2.imread(f"LR/{picture.name}.png")
        restored = restorer(low, "bgr")
        written = cv2.imread(str(measurement.folder / picture.files["result"]))
        np.testing.assert_array_equal(written, restored)
        settings = {"crop_border": 2, "test_y_channel": True}
        psnr = calculate_psnr(restored, truth, **settings)
        assert picture.metrics["psnr"] == pytest.approx(psnr, abs=1e-6)
        ssim = calculate_ssim(restored, truth, **settings)
        assert picture.metrics["ssim"] == pytest.approx(ssim, abs=1e-6)
        bicubic = cv2.imread(str(measurement.folder / picture.files["baseline"]))
        psnr = calculate_psnr(bicubic, truth, **settings)
        assert picture.baseline["psnr"] == pytest.approx(psnr, abs=1e-6)
    mean = np.mean([p.metrics["psnr"] for p in measurement.pictures])
    assert measurement.mean("Set5", "psnr") == pytest.approx(mean)
    assert measurement.mean("Set5", "niqe") is None


def test_agrees_with_basicsr_test(option_file: Path) -> None:
    """The same figures as ``basicsr test`` prints."""
    from tests.conftest import run_basicsr

    run = run_basicsr("test", "-opt", option_file, cwd=option_file.parent)
    printed = float(re.search(r"# psnr: ([\d.]+)", run.stdout + run.stderr)[1])
    assert measure(option_file).mean("Set5", "psnr") == pytest.approx(printed, abs=1e-4)


def test_a_stopped_measurement_continues(
    option_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = evaluation._measure_one
    calls = []

    def stops_at_the_third(*arguments: object) -> object:
        calls.append(arguments[2][1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(evaluation, "_measure_one", stops_at_the_third)
    result = CliRunner().invoke(main, ["report", "-opt", str(option_file)])
    assert result.exit_code == 130
    assert "the same command continues from here" in result.output
    assert len(read("results/measurements/test_tiny").pictures) == 2
    calls.append("")  # not the third again
    result = CliRunner().invoke(main, ["report", "-opt", str(option_file)])
    assert result.exit_code == 0, result.output
    assert calls == ["astronautx2", "chelseax2", "coffeex2", "", "coffeex2"]
    assert len(read("results/measurements/test_tiny").pictures) == 3
    # Complete: nothing is measured again.
    CliRunner().invoke(main, ["report", "-opt", str(option_file)])
    assert len(calls) == 5


def test_other_weights_are_measured_anew_and_the_old_figures_kept(option_file: Path) -> None:
    first = measure(option_file)
    state = torch.load("tiny.pth")
    state["params_ema"]["upsample.0.bias"] += 0.02
    save_checkpoint(state, "tiny.pth")
    second = measure(option_file)
    assert second.mean("Set5", "psnr") < first.mean("Set5", "psnr")
    assert len(list(Path("results/measurements/test_tiny").glob("measurement_until_*.jsonl"))) == 1


def test_variants(option_file: Path) -> None:
    variants = [Variant(), Variant("argmax"), Variant("sampled"), Variant(self_ensemble=True),
                Variant(tile="32")]  # fmt: skip
    measured = [measure(option_file, variant) for variant in variants]
    names = [each.about["name"] for each in measured]
    assert names == ["test_tiny", "test_tiny_argmax", "test_tiny_sampled", "test_tiny_ensemble",
                     "test_tiny_tile-32"]  # fmt: skip
    results = {each.mean("Set5", "psnr") for each in measured}
    assert len(results) == len(variants)
    (table,) = build_tables(measured)
    assert [row.method for row in table.rows if row.kind == "measured"] == [
        name.removeprefix("test_") for name in names
    ]


def test_report(option_file: Path) -> None:
    result = CliRunner().invoke(
        main,
        ["report", "-opt", str(option_file), "--crop", "Set5/coffee", "--markdown", "docs/r.md"],
    )
    assert result.exit_code == 0, result.output
    measurement = read("results/measurements/test_tiny")
    folder = Path("results/report")
    psnr = measurement.mean("Set5", "psnr")

    with (folder / "images.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    restored = [float(each["psnr"]) for each in lines if each["version"] == "restored"]
    assert np.mean(restored) == pytest.approx(psnr, abs=1e-5)

    markdown = (folder / "report.md").read_text()
    row = next(line for line in markdown.splitlines() if "**tiny**" in line)
    assert f"{psnr:.2f} ({psnr - 38.26:+.2f})" in row
    published = next(line for line in markdown.splitlines() if "MambaIRv2-light" in line)
    assert "38.26" in published and "0.9615" in published and "(" not in published
    assert "bicubic" in markdown and "Table 3: Y channel" in markdown
    assert "basicsr report" in markdown
    copy = Path("docs/r.md").read_text()
    plot = re.search(r"\((r_psnr_parameters_1.svg)\)", copy)[1]
    assert (Path("docs") / plot).read_text().startswith("<?xml")

    latex = (folder / "report.tex").read_text()
    assert r"\toprule" in latex and "MambaIRv2-light" in latex

    page = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)  # needs no other file
    assert page.count("data:image/png;base64,") == 4
    assert "tiny: Set5/coffee" in page and "<svg" in page
    assert f"{psnr:.2f}" in page


def test_changed_pictures_are_measured_again(option_file: Path) -> None:
    before = measure(option_file)
    low = cv2.imread("LR/coffeex2.png")
    cv2.imwrite("LR/coffeex2.png", cv2.blur(low, (3, 3)))
    Path("HR/chelsea.png").rename("HR/cat.png")
    Path("LR/chelseax2.png").rename("LR/catx2.png")
    after = measure(option_file)
    assert [p.name for p in after.pictures] == ["astronautx2", "catx2", "coffeex2"]
    assert after.pictures[0] == before.pictures[0]  # the time too: it was not measured again
    assert after.pictures[2].metrics["psnr"] < before.pictures[2].metrics["psnr"]
    assert len(read("results/measurements/test_tiny").pictures) == 3


def test_a_torn_last_line_costs_one_picture(option_file: Path) -> None:
    before = measure(option_file)
    path = Path("results/measurements/test_tiny/measurement.jsonl")
    path.write_text(path.read_text()[:-40])
    assert len(read("results/measurements/test_tiny").pictures) == 2
    after = measure(option_file)
    assert after.pictures[:2] == before.pictures[:2]
    assert after.pictures[2].metrics == before.pictures[2].metrics


def test_an_incomplete_measurement_is_not_reported(option_file: Path) -> None:
    measure(option_file)
    path = Path("results/measurements/test_tiny/measurement.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    for kept, missing in ((2, 2), (1, 3)):
        path.write_text("".join(lines[:kept]))
        result = CliRunner().invoke(main, ["report", "results/measurements/test_tiny"])
        assert result.exit_code == 1
        assert (
            f"{missing} pictures have not been measured yet; basicsr report -opt" in result.output
        )


def test_pictures_of_one_name_in_two_folders(option_file: Path) -> None:
    shutil.copytree("HR", "more/HR")
    shutil.copytree("LR", "more/LR")
    contents = yaml.safe_load(option_file.read_text())
    contents["datasets"]["test_1"] |= {
        "dataroot_gt": ["HR", "more/HR"], "dataroot_lq": ["LR", "more/LR"],
    }  # fmt: skip
    option_file.write_text(yaml.safe_dump(contents))
    measurement = measure(option_file)
    names = [p.name for p in measurement.pictures]
    assert names[3:] == ["astronautx2_2", "chelseax2_2", "coffeex2_2"]
    assert len({p.files["result"] for p in measurement.pictures}) == 6


def test_every_row_is_compared_with_its_own(option_file: Path) -> None:
    contents = yaml.safe_load(option_file.read_text())
    measured = {}
    for name, method in (("none", None), ("base", "MambaIRv2-B"), ("light", "MambaIRv2-light"),
                         ("v1", "MambaIR")):  # fmt: skip
        contents["name"] = name
        contents["published"] = {"task": "sr", "setting": 2}
        if method:
            contents["published"]["method"] = method
        option_file.write_text(yaml.safe_dump(contents))
        measured[name] = measure(option_file)
    measured["v1+"] = measure(option_file, Variant(self_ensemble=True))
    tables = build_tables(list(measured.values()))
    assert [table.title for table in tables] == ["Super-resolution ×2"] * 2
    rows = {row.method: row for table in tables for row in table.rows if row.kind == "measured"}
    assert not rows["none"].differences
    for name, published in (("base", 38.65), ("light", 38.26), ("v1", 38.57),
                            ("v1_ensemble", 38.60)):  # fmt: skip
        difference = rows[name].figures["Set5", "psnr"] - published
        assert rows[name].differences["Set5", "psnr"] == pytest.approx(difference), name


def test_the_printed_command_is_the_command(option_file: Path) -> None:
    shutil.copy(option_file, "my file.yml")
    arguments = ["-opt", "my file.yml", "--routing", "argmax", "--crop", "Set5/coffee", "-o", "out"]
    result = CliRunner().invoke(main, ["report", *arguments])
    assert result.exit_code == 0, result.output
    command = Path("out/report.md").read_text().split("```bash\n")[1].split("\n```")[0]
    printed = shlex.split(command.replace("\\\n", ""))
    assert printed[:2] == ["basicsr", "report"]
    assert sorted(printed[2:]) == sorted(arguments)


def test_an_overlap_of_its_own_is_another_measurement(option_file: Path) -> None:
    contents = yaml.safe_load(option_file.read_text())
    figures = set()
    for overlap in (None, 0, 16):
        contents["val"] |= {"tile": 32, "tile_overlap": overlap}
        option_file.write_text(yaml.safe_dump(contents))
        measurement = measure(option_file)
        figures.add(measurement.mean("Set5", "psnr"))
        assert measurement.about.get("tile_overlap") == overlap
    assert len(figures) > 1
    assert len(list(measurement.folder.glob("measurement_until_*"))) == 2
    write_report([measurement], "report", "basicsr report")
    assert "tile 32 (overlap 16), seeded" in Path("report/report.md").read_text()


def test_one_measurement_named_twice_is_one_row(option_file: Path) -> None:
    measure(option_file)
    folder = "results/measurements/test_tiny"
    arguments = ["report", folder, f"{folder}/../test_tiny", "-opt", str(option_file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    rows = Path("results/report/report.md").read_text().splitlines()
    assert sum(row.startswith("| **tiny**") for row in rows) == 1, rows


def test_where_the_files_lie_does_not_matter(option_file: Path) -> None:
    before = measure(option_file)
    Path("elsewhere").mkdir()
    shutil.move("tiny.pth", "elsewhere/tiny.pth")
    text = option_file.read_text().replace("tiny.pth", "elsewhere/tiny.pth")
    Path("elsewhere/same.yml").write_text(text)
    after = measure("elsewhere/same.yml")
    assert after.pictures == before.pictures  # the times too
    assert after.about["weights"] == "elsewhere/tiny.pth"


def test_pictures_without_truth(option_file: Path) -> None:
    contents = yaml.safe_load(option_file.read_text())
    section = {"type": "SingleImageDataset", "dataroot_lq": "LR", "io_backend": {"type": "disk"}}
    contents["datasets"] = {"test": section}
    option_file.write_text(yaml.safe_dump(contents))
    result = CliRunner().invoke(main, ["report", "-opt", str(option_file)])
    assert result.exit_code == 1
    assert "val.metrics.psnr: calculate_psnr compares with true pictures" in result.output


def test_what_is_refused(option_file: Path) -> None:
    def refused(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["report", *arguments])
        assert result.exit_code != 0
        return result.output

    assert "nothing to report" in refused()
    assert "holds no measurement.jsonl" in refused("LR")
    assert "a tile must have a side" in refused("-opt", str(option_file), "--tile", "3")
    measure(option_file)
    assert "have the name 'test_tiny'" in refused("-opt", str(option_file), "-opt", "tiny.yml")
    message = refused("-opt", str(option_file), "--tile", "none", "--crop", "Set5/tea")
    assert "there is no picture 'Set5/tea'" in message
    assert not Path("results/measurements/test_tiny_tile-none").exists()
    message = refused("results/measurements/test_tiny", "--crop", "Set5/tea")
    assert "there is no picture 'Set5/tea'; the pictures are Set5/astronaut" in message
    assert not Path("results/report").exists()
    contents = yaml.safe_load(option_file.read_text())
    contents["path"]["pretrain_network_g"] = None
    option_file.write_text(yaml.safe_dump(contents))
    assert "path.pretrain_network_g: is missing" in refused("-opt", str(option_file))


def test_routing_of_a_network_that_routes_nothing(option_file: Path) -> None:
    contents = yaml.safe_load(option_file.read_text())
    contents["network_g"] = {"type": "MambaIR", "embed_dim": 12, "depths": [1], "upscale": 2,
                             "upsampler": "pixelshuffledirect"}  # fmt: skip
    option_file.write_text(yaml.safe_dump(contents))
    with pytest.raises(MeasurementError, match="MambaIR does not route tokens"):
        measure(option_file, Variant("argmax"))


def test_what_was_not_measured_is_blank(option_file: Path) -> None:
    measurement = measure(option_file)
    (table,) = build_tables([measurement])
    header, lines = cells(table)
    assert header[:4] == ["method", "parameters", "MACs", "s / picture"]
    published = next(line for line in lines if line[0] == "CARN")
    assert published == ["CARN", "1.6M", "223G", "", "37.76", "0.9590"]
    measurement.about["published"] = {}  # a task of one's own
    (table,) = build_tables([measurement])
    assert [row.kind for row in table.rows] == ["baseline", "measured"]
    files = write_report([measurement], "own", "command")
    assert {file.suffix for file in files} == {".csv", ".md", ".tex", ".html"}  # no plot


def test_every_point_of_a_plot_has_its_name() -> None:
    names = [f"network {index}" for index in range(60)]  # more than have room beside each other
    rows = [Row(name, "published", 900_000, None, {("Set5", "psnr"): 38.0}) for name in names]
    plot = plot_parameters(Table("crowded", ["Set5"], ["psnr"], rows, []))
    assert plot is not None
    for name in names:
        assert f"<!-- {name} -->".encode() in plot  # as matplotlib marks its texts


def test_published_figures() -> None:
    """Spot checks against the papers, and the entries that every figure must have."""
    known = {(f.task, f.setting, f.method, f.dataset): f for f in figures()}
    assert known["sr", 2, "MambaIRv2-light", "Urban100"].psnr == 33.26
    assert known["sr", 4, "MambaIRv2-L", "Manga109"].ssim == pytest.approx(0.93, abs=0.02)
    assert known["jpeg", 10, "MambaIRv2", "Classic5"].psnr == 30.37
    assert known["jpeg", 40, "MambaIRv2", "Classic5"].ssim == 0.9093
    assert known["denoising_color", 15, "MambaIRv2", "Urban100"].psnr == 35.42
    assert known["denoising_color", 50, "MambaIR", "CBSD68"].psnr == 28.61
    real = known["real_denoising", 1, "MambaIR", "SIDD"]
    assert (real.psnr, real.ssim) == (39.89, 0.96)
    assert known["real_denoising", 1, "MambaIR", "DND"].psnr == 40.04
    assert "surely 33.13" in known["sr", 4, "MambaIR+", "Set5"].note
    keys = {(f.task, f.table, f.setting, f.method, f.dataset) for f in figures()}
    assert len(keys) == len(figures())
    for figure in figures():
        assert 20 < figure.psnr < 45
        assert figure.ssim is None or 0.5 < figure.ssim < 1
        assert sources()[figure.source].protocol
    light = {each.method for each in figures_for("sr", 3, "MambaIRv2-light")}
    assert "MambaIRv2-B" not in light
    assert "MambaIRv2-B" in {each.method for each in figures_for("sr", 3, "MambaIRv2-S")}
    assert figures_for("sr", 8, None) == []


def test_a_damaged_measurement_is_named(option_file: Path) -> None:
    measure(option_file)
    path = Path("results/measurements/test_tiny/measurement.jsonl")
    path.write_text(path.read_text() + json.dumps({"oops": 1}) + "\n")
    with pytest.raises(MeasurementError, match="measurement.jsonl: is damaged"):
        read("results/measurements/test_tiny")


def test_a_damaged_picture_is_named_and_the_others_are_measured(option_file: Path) -> None:
    first = Path("LR/astronautx2.png")
    first.write_bytes(first.read_bytes()[:2000])
    result = CliRunner().invoke(main, ["report", "-opt", "tiny.yml", "-o", "out"])
    assert result.exit_code == 1, result.output
    assert "not measured: LR/astronautx2.png: not a readable picture" in result.output
    pictures = read("results/measurements/test_tiny").pictures
    assert [each.name for each in pictures] == ["chelseax2", "coffeex2"]
    assert "2 of 3" in Path("out/report.md").read_text(encoding="utf-8")

    for path in Path("LR").iterdir():
        path.write_bytes(b"no picture")
    result = CliRunner().invoke(main, ["report", "-opt", "tiny.yml", "-o", "out2"])
    assert result.exit_code == 1
    assert "tiny.yml: nothing could be measured: LR/astronautx2.png: not a readable" in (
        result.output.replace("\n", " ")
    )
