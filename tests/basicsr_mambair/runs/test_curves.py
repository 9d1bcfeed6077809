"""``basicsr plot``: which curves are drawn, and files that can be looked at."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from PIL import Image

from basicsr_mambair.runs.curves import CurveError, choose, find_run, read_curves, smoothed
from basicsr_mambair.runs.metrics import MetricsFile
from tests.basicsr_mambair.training.runs import Runs, contents
from tests.conftest import run_basicsr


def written(folder: Path, factor: float = 1.0) -> Path:
    """A run with three reports, and validations on two data sets."""
    folder.mkdir(parents=True)
    file = MetricsFile(folder)
    for iteration in (1, 2, 3):
        loss = float("nan") if iteration == 2 else factor / iteration
        speed = {"seconds": 0.1, "images_per_second": 40.0}
        file.add({"iter": iteration, "epoch": 0, "lr": [1e-3, 1e-4], "train": {"l_pix": loss},
                  "speed": speed})  # fmt: skip
    for dataset in ("Set5", "Set14"):
        file.add({"iter": 3, "val": dataset, "metrics": {"psnr": 30 * factor, "ssim": 0.9}})
    return folder


def test_what_a_run_reports(tmp_path: Path) -> None:
    curves = {(c.dataset, c.value): c for c in read_curves([written(tmp_path / "a")])}
    assert list(curves) == [
        ("", "l_pix"), ("", "lr"), ("", "lr_1"), ("", "seconds"), ("", "images_per_second"),
        ("Set5", "psnr"), ("Set5", "ssim"), ("Set14", "psnr"), ("Set14", "ssim"),
    ]  # fmt: skip
    loss = curves["", "l_pix"]
    assert loss.iterations == [1, 2, 3]
    assert (loss.values[0], math.isnan(loss.values[1]), loss.values[2]) == (1, True, 1 / 3)
    assert {c.run for c in curves.values()} == {"a"}


def test_panels(tmp_path: Path) -> None:
    curves = read_curves([written(tmp_path / "a"), written(tmp_path / "b", 1.1)])
    assert list(choose(curves, [])) == ["l_pix", "psnr", "ssim"]
    panels = choose(curves, ["Set5/psnr", "lr_1"])
    assert [(c.run, c.dataset) for c in panels["Set5/psnr"]] == [("a", "Set5"), ("b", "Set5")]
    assert [c.run for c in panels["lr_1"]] == ["a", "b"]
    assert len(choose(curves, ["psnr"])["psnr"]) == 4
    with pytest.raises(CurveError, match=r"--value: no run has 'psrn'; did you mean 'psnr'\?"):
        choose(curves, ["psrn"])


def test_two_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [written(tmp_path / parent / "a") for parent in ("one", "two")]
    assert {c.run for c in read_curves(folders)} == set(map(str, folders))


def test_the_first_iterations_can_be_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    assert {i for c in read_curves([folder], first=3) for i in c.iterations} == {3}
    with pytest.raises(CurveError, match="--from: nothing was reported at iteration 4"):
        read_curves([folder], first=4)


def test_smoothing_skips_what_is_not_finite() -> None:
    means = smoothed([1.0, math.nan, 3.0, 5.0], 2)
    assert means == [1.0, 1.0, 3.0, 4.0]
    assert math.isnan(smoothed([math.nan], 2)[0])


def test_runs_are_found_by_name_and_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "experiments" / "a")
    assert find_run("a") == Path("experiments/a")
    assert find_run("experiments/a") == Path("experiments/a")
    with pytest.raises(CurveError, match=r"^b: is neither .* the runs are a$"):
        find_run("b")


def test_the_command_draws_a_run(pairs: Path) -> None:
    runs = Runs(pairs)
    runs.train(contents(total=5))
    shutil.copytree(runs.own, runs.own.with_name("other"))
    drawn = run_basicsr("plot", "run", "other", "--smooth", 2, "--log", cwd=pairs)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == "curves.png: l_pix, psnr\n"
    with Image.open(pairs / "curves.png") as picture:
        assert picture.width == 960
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50, "it is empty"
    arguments = ["run", "other", "-v", "lr", "-v", "val/psnr", "-o", "out/both.svg"]
    for _ in range(2):
        drawn = run_basicsr("plot", *arguments, cwd=pairs)
        assert drawn.returncode == 0, drawn.stderr
    assert (pairs / "out" / "both.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing"], 1, "missing: is neither a folder nor a run in experiments"),
        (["."], 1, "has no metrics.jsonl, or nothing has been reported yet"),
        ([".", "-o", "curves.bmp"], 2, "must end in .png, .svg, .pdf"),
        ([], 2, "Missing argument 'RUN...'"),
    ],
)
def test_what_cannot_be_drawn(
    arguments: list[str], status: int, message: str, tmp_path: Path
) -> None:
    run = run_basicsr("plot", *arguments, cwd=tmp_path)
    assert run.returncode == status
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())
