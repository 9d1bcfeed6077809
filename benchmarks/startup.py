"""Measures how long commands take to start, compared with the imports that they cannot avoid.

Prints two figures, each the median and the spread of several runs in alternation:

- ``basicsr --help`` as a multiple of ``python -c "import click"``;
- the seconds that ``basicsr restore`` of a small picture takes beyond ``import torch`` and the
  network's own time.

    python benchmarks/startup.py [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE = 48  # pixels of the small picture

WRITE_PICTURE = f"""
import sys
import numpy as np
from PIL import Image
noise = np.random.default_rng(0).integers(0, 256, ({SIDE}, {SIDE}, 3), np.uint8)
Image.fromarray(noise).save(sys.argv[1])
"""

# The first call, because restore makes only one; its preparations count as the network's time.
NETWORK_TIME = f"""
import time
import torch
import mambair
net = mambair.load(task="sr", scale=2).net
picture = torch.rand(1, 3, {SIDE}, {SIDE}, device=next(net.parameters()).device)
begin = time.perf_counter()
with torch.inference_mode():
    net(picture)
print(time.perf_counter() - begin)
"""


def timed(*arguments: str, cwd: str | None = None) -> float:
    """Seconds that a command takes in a process of its own."""
    begin = time.perf_counter()
    subprocess.run(arguments, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def network_seconds() -> float:
    """Seconds of the network's first call, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", NETWORK_TIME], check=True, capture_output=True, text=True
    )
    return float(run.stdout)


def show(name: str, values: list[float], unit: str) -> None:
    """Prints one line: the median, and the smallest and largest value."""
    middle = statistics.median(values)
    print(f"{name:<52} {middle:6.2f} {unit}  ({min(values):.2f} to {max(values):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="runs of each command (7)")
    runs = parser.parse_args().runs
    python, command = sys.executable, [sys.executable, "-m", "basicsr_mambair"]

    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "small.png")
        subprocess.run([python, "-c", WRITE_PICTURE, picture], check=True)
        restore = [*command, "restore", picture, "-o", "out"]
        timed(*restore, cwd=folder)  # brings files into the system's cache
        click, helps, torch, restores, network = [], [], [], [], []
        for _ in range(runs):
            click.append(timed(python, "-c", "import click"))
            helps.append(timed(*command, "--help"))
            torch.append(timed(python, "-c", "import torch"))
            restores.append(timed(*restore, cwd=folder))
            network.append(network_seconds())

    show('python -c "import click"', click, "s")
    show("basicsr --help", helps, "s")
    show("  as a multiple", [h / c for h, c in zip(helps, click, strict=True)], "×")
    show('python -c "import torch"', torch, "s")
    show(f"the network, {SIDE}×{SIDE} pixels ×2", network, "s")
    show("basicsr restore", restores, "s")
    beyond = [r - t - n for r, t, n in zip(restores, torch, network, strict=True)]
    show("  beyond torch and the network", beyond, "s")


if __name__ == "__main__":
    main()
