"""What a command runs on: versions, device, kernels, and the source it was started from."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = (
    "basicsr-mambair basicsr torch torchvision numpy opencv-python pillow lmdb scikit-image "
    "safetensors mamba-ssm"
).split()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    found = {"Python": f"{platform.python_version()} on {platform.platform()}"}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def devices(device: Any) -> list[str]:
    """The devices of a kind in words: every GPU, or the CPU and why it is not a GPU.

    Args:
        device: a ``torch.device``.
    """
    import torch

    if device.type == "cuda":
        count = torch.cuda.device_count()
        return [f"cuda:{index}: {torch.cuda.get_device_name(index)}" for index in range(count)]
    if device.type != "cpu":
        return [str(device)]
    cuda = torch.version.cuda
    build = f"torch is built for CUDA {cuda}" if cuda else "torch is built for CPUs only"
    if torch.cuda.is_available():
        build = "num_gpu is 0"
    else:
        build = f"no CUDA device ({build})"
    return [f"cpu, {torch.get_num_threads()} threads; {build}"]


def git_revision(folder: Path) -> str | None:
    """The commit that a folder is at, ``-dirty`` if files have changed since.

    Returns:
        The revision; ``None`` if the folder is not in a repository, or git does not answer.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty"]
    command += ["--exclude", "*"]  # the commit, not its distance from a tag
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None
