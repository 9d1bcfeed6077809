"""Fixtures that several folders of tests share."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The suite tests what runs anywhere; on a machine with GPUs it must see the same.
if not os.environ.get("BASICSR_MAMBAIR_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Triton reads this when a kernel is defined: its interpreter takes the place of a GPU.
os.environ["TRITON_INTERPRET"] = "1"

# pytest -n: the processes share the cores, and what tests start must not take more.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

import basicsr_mambair  # noqa: F401  (repairs BasicSR before any test imports it)
from mambair.imaging.listing import resolve_root
from mambair.imaging.resizing import imresize

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "data" / "golden"

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", min(2, os.cpu_count() or 1))))


@pytest.fixture(autouse=True)
def _plain_names_are_free() -> None:
    """Takes pip's ``realesrgan`` out of the registries, where a test has imported it."""
    if "realesrgan" not in sys.modules:
        return
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

    for registry in (ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY):
        for name, target in list(registry):
            if target.__module__.startswith("realesrgan."):
                del registry._obj_map[name]


@pytest.fixture(autouse=True)
def _the_log_has_its_level() -> None:
    """BasicSR sets it once in a process, and ``caplog`` may have taken it back."""
    logging.getLogger("basicsr").setLevel(logging.INFO)


@dataclass
class Golden:
    """One parity file: computed with the authors' definition (see tests/data/README.md)."""

    arch: str
    config: dict
    gumbel_seed: int
    grad_norms: dict
    tensors: dict
    scales: dict  # of the weights that the file holds as 8-bit integers

    def state(self) -> dict:
        named = {
            key.removeprefix("state."): value
            for key, value in self.tensors.items()
            if key.startswith("state.")
        }
        return {key: value * self.scales.get(key, 1) for key, value in named.items()}


def read_golden(name: str) -> Golden:
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    return Golden(
        metadata["arch"],
        json.loads(metadata["config"]),
        int(metadata.get("gumbel_seed", 0)),
        json.loads(metadata.get("grad_norms", "{}")),
        tensors,
        json.loads(metadata.get("scales", "{}")),
    )


@pytest.fixture(scope="session")
def benchmark_pictures() -> Path:
    """Folder with Set5, Classic5 and Kodak24, which may not be shipped (tests/data/README.md)."""
    for place in (os.environ.get("BASICSR_MAMBAIR_DATA"), ROOT / "datasets"):
        if place and (Path(place) / "Set5").is_dir():
            return Path(place)
    pytest.skip("no benchmark pictures: put Set5 under datasets/ or set BASICSR_MAMBAIR_DATA")


def photograph(name: str = "coffee", height: int = 96, width: int = 128) -> np.ndarray:
    """A crop of one of scikit-image's photographs, uint8 BGR."""
    image = cv2.imread(str(resolve_root(f"pkg://skimage/data/{name}.png")))
    return image[60 : 60 + height, 80 : 80 + width]


def write_pairs(folder: Path) -> None:
    """Writes a miniature SR data set: ``HR/*.png`` and ``LR/*x2.png`` of three photographs."""
    for part in ("HR", "LR"):
        (folder / part).mkdir()
    for name in ("astronaut", "chelsea", "coffee"):
        image = photograph(name)
        cv2.imwrite(str(folder / "HR" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "LR" / f"{name}x2.png"), imresize(image, 1 / 2))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder with the miniature SR data set of :func:`write_pairs`."""
    write_pairs(tmp_path)
    return tmp_path


def tiny_network(**changes: object) -> dict:
    """The ``network_g`` section of a network that runs in milliseconds."""
    return {
        "type": "MambaIRv2Light",
        "upscale": 2,
        "embed_dim": 28,
        "d_state": 2,
        "depths": [1, 2],
        "num_heads": [2, 2],
        "window_size": 4,
        "inner_rank": 4,
        "num_tokens": 4,
        "mlp_ratio": 1.0,
        "upsampler": "pixelshuffledirect",
    } | changes


def run_basicsr(
    *arguments: object, cwd: Path, timeout: float = 240, module: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user would, in a process of its own."""
    command = [sys.executable, "-m", "basicsr_mambair"]
    if not module:
        command = [str(Path(sys.executable).with_name("basicsr"))]
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
