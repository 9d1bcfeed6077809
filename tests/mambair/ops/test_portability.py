"""The kernels as other compilers and processors have them, where the tools are installed.

On Debian: ``apt install clang g++-aarch64-linux-gnu qemu-user``.
"""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT

HERE = Path(__file__).resolve().parent
# Compiler, its flags, and what runs the result.
VARIANTS = {
    "g++, without vector types": (["g++", "-DMAMBAIR_PLAIN_VECTORS"], []),
    "clang++": (["clang++"], []),
    "g++ for 64-bit ARM": (
        ["aarch64-linux-gnu-g++"],
        ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"],
    ),
}
FLAGS = "-O1 -std=c++17 -fno-math-errno -ffp-contract=fast -Wno-psabi -pthread".split()


def build(compiler: list[str], to: Path) -> Path:
    include = sysconfig.get_paths()["include"]
    native = ROOT / "mambair" / "ops" / "native"
    sources = [
        str(HERE / "portability.cpp"),
        *map(str, native.glob("kernels_*.cpp")),
        f"-I{native}",
    ]
    command = [*compiler, *FLAGS, f"-I{include}", *sources, "-o", str(to)]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    return to


def numbers(command: list[str], instruction_set: int, gated: int) -> torch.Tensor:
    done = subprocess.run(
        [*command, str(instruction_set), str(gated)], capture_output=True, text=True, check=True
    )
    return torch.tensor([float(line) for line in done.stdout.split()])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    return build(["g++"], tmp_path_factory.mktemp("reference") / "block")


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_same_numbers_everywhere(variant: str, reference: Path, tmp_path: Path) -> None:
    compiler, runner = VARIANTS[variant]
    for tool in (compiler[0], *runner[:1]):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    program = build(compiler, tmp_path / "block")
    for gated in (0, 1):
        expected = numbers([str(reference)], 0, gated)
        assert expected.isfinite().all()
        for instruction_set in (0, 1, 2):  # the best one up to this
            actual = numbers([*runner, str(program)], instruction_set, gated)
            torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)
