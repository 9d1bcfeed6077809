"""The package of docs/extending.md: built from the page in an empty folder, trained, used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, run_basicsr

_BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that contains only the files that the page shows."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for name, content in _BLOCK.findall(page):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (tmp_path / "my_restoration" / "__init__.py").touch()
    return tmp_path


def python(code: str, cwd: Path) -> str:
    """Runs code in a process of its own, where it may register anything."""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_package_is_trained_and_used(package: Path) -> None:
    run = run_basicsr(
        "train", "-opt", "train.yml", "--force_yml",
        "train:total_iter=4", "logger:print_freq=1", "datasets:train:batch_size_per_gpu=2",
        cwd=package,
    )  # fmt: skip
    log = run.stdout + run.stderr
    assert run.returncode == 0, log
    lines = [line for line in log.splitlines() if "[epoch:" in line]
    assert len(lines) == 4
    assert all("l_pix: " in line and "l_frequency: " in line for line in lines)
    assert "Network: PlainSR" in log

    import cv2
    import numpy as np

    weights = package / "experiments" / "mine" / "models" / "net_g_latest.pth"
    assert torch.load(weights)["network"]["type"] == "PlainSR"
    cv2.imwrite(str(package / "photo.png"), np.full((20, 30, 3), 90, np.uint8))
    restore = ("restore", "photo.png", "-o", "restored", "-w", "mine")
    run = run_basicsr(*restore, "--import", "my_restoration.archs", cwd=package)
    assert run.returncode == 0, run.stdout + run.stderr
    (restored,) = (package / "restored").glob("*.png")
    assert cv2.imread(str(restored)).shape == (40, 60, 3)


def test_the_network_of_the_page_is_detected(package: Path) -> None:
    code = (
        "from my_restoration.archs import PlainSR; from mambair.archs.registry import *; "
        "section = {'in_chans': 1, 'upscale': 3, 'embed_dim': 5, 'depth': 2}; "
        "found = detect_network(PlainSR(**section).state_dict()); "
        "assert found == {'type': 'PlainSR', **section}, found"
    )
    python(code, package)


def test_the_degradation_of_the_page_keeps_the_laws(package: Path) -> None:
    """The project's own tests, unedited, with the module imported first."""
    laws = ROOT / "tests" / "basicsr_mambair" / "data" / "test_degradations.py"
    run = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "my_restoration.degradations",
            str(laws), "-k", "TestLaws and box_blur",
        ],
        cwd=package, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\b[1-9]\d* passed", run.stdout), run.stdout


def test_the_backend_of_the_page_computes_the_scan(package: Path) -> None:
    code = (
        "import torch, my_restoration.scans; "
        "from mambair.ops.selective_scan import backend_names, selective_scan_tokens as scan; "
        "assert 'step_by_step' in backend_names(); torch.manual_seed(0); "
        "u, delta = torch.randn(2, 2, 7, 4); A = -torch.rand(4, 3); "
        "B, C = torch.randn(2, 2, 7, 2, 3); D = torch.randn(4); "
        "own, other = (scan(u, delta, A, B, C, D, backend=name) "
        "for name in ('step_by_step', 'torch')); "
        "torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)"
    )
    python(code, package)


def test_an_option_file_says_that_its_module_is_missing(package: Path) -> None:
    (package / "my_restoration" / "losses.py").unlink()
    run = run_basicsr("train", "-opt", "train.yml", cwd=package)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "train.yml" in run.stderr
    assert "imports" in run.stderr
    assert "my_restoration.losses" in run.stderr
    assert not (package / "experiments").exists()
