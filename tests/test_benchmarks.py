"""The benchmarks run, and write what they say they write. Their figures are nobody's test."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from mambair.archs import MambaIRv2UNet
from tests.conftest import ROOT, photograph


@pytest.mark.slow
def test_quick_run(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/run.py", "--quick", "--out", tmp_path]
    for section in ("attention", "scaling"):
        command += ["--only", section]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((tmp_path / "benchmarks.json").read_text())
    assert len(figures["bars"]) == 2
    assert all(bar["value"] > 0 for bar in figures["bars"])
    page = (tmp_path / "benchmarks.md").read_text()
    assert "### MambaIRv2Light ×2 by size, eval" in page and "| figure |" in page
    assert (tmp_path / "benchmarks.svg").stat().st_size > 1000


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells what is used")
def test_the_soak_sees_a_run_that_stays_flat_and_one_that_grows(tmp_path: Path) -> None:
    leak = (
        "import runpy, sys; from basicsr.models.sr_model import SRModel; kept = []\n"
        "feed = SRModel.feed_data\n"
        "def leaking(self, data): kept.append(bytearray(1 << 20)); feed(self, data)\n"
        "SRModel.feed_data = leaking\n"
    )
    path = str(ROOT / "benchmarks/soak.py")
    arguments = f"sys.argv = [{path!r}, '--iterations', '400', '--workers', '0']\n"
    script = f"import sys, basicsr_mambair\n%s{arguments}import runpy; runpy.run_path({path!r}, "
    script += "run_name='__main__')"
    for fault, status, said in (("", 0, "flat"), (leak, 1, "memory grew from ")):
        run = subprocess.run(
            [sys.executable, "-c", script % fault], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == status, run.stdout + run.stderr
        assert run.stdout.splitlines()[-1].startswith(said)


@pytest.mark.nightly
def test_the_cost_of_a_checkpoint_is_printed(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks/states.py", "--periods", "1", "--iterations", "1"]
    done = subprocess.run(
        [*map(str, command), "--batch", "1"], capture_output=True, text=True, cwd=tmp_path,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"one every 5000 iterations is -?[\d.]+ % of the training", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_networks_are_compared_over_the_seeds_of_their_finished_runs(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks/camera_comparison.py"), str(tmp_path / "set")]
    nothing = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert nothing.returncode == 1 and "holds no finished run" in nothing.stderr
    sizes: dict[str, Any] = dict(dim=4, num_blocks=[1] * 4, num_refinement_blocks=1)
    for seed in (0, 1):
        torch.manual_seed(seed)
        models = tmp_path / f"experiments/camera_comparison_mambairv2unet_{seed}/models"
        models.mkdir(parents=True)
        net = MambaIRv2UNet(**sizes, num_heads=[1] * 4)
        torch.save({"params": net.state_dict()}, models / "net_g_latest.pth")
    (tmp_path / "experiments/camera_comparison_mambairunet_0/models").mkdir(parents=True)
    (tmp_path / "set").mkdir()
    cv2.imwrite(str(tmp_path / "set/a.png"), photograph(height=40, width=48))
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "camera_comparison_mambairunet_0: has not come to its end" in done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    names = ["| network (seeds)", "| ---", "| input", "| tiny_denoising", "| mambairv2unet (2)"]
    assert [row[0] for row in rows] == names
    assert all(" ± " in cell for cell in rows[-1][1:])
    noisy, denoised = (float(rows[-n][1]) for n in (3, 2))
    assert 15 < noisy < 50 and 15 < denoised < 50
