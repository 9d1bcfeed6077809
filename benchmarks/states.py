"""What the checkpoints of a training cost: MambaIRv2Light ×2 as published, saved as by default.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/states.py [--periods 10] [--iterations 3] [--batch 2]

Run it with nothing else on the machine. Iterations with a checkpoint and as many without take turns
in one training; a checkpoint is the snapshot and what its writing, which goes on beside the next
iterations, slows them down. Its cost is the difference, and the ratio printed is that to the time
of the iterations between two checkpoints. A batch smaller than the published one (32) makes
iterations shorter, and the ratio larger than on the hardware that the file is for. Ends with status
1 if it is not below one hundredth.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import basicsr_mambair  # noqa: F401  (before BasicSR)

# isort: split
import basicsr  # noqa: F401  (activates the plugin)
import yaml
from report import describe_machine
from tabulate import tabulate

from basicsr_mambair.models import RestorationModel
from basicsr_mambair.options.compose import read_composed, resolve_references
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.run import train

PUBLISHED = Path(__file__).parents[1] / "options/train/mambairv2_light_x2.yml"
MOST = 0.01  # of the time of a training


def option_file(folder: Path, period: int, periods: int, batch: int) -> tuple[Path, int]:
    """The published file with photographs of scikit-image; and how often it saves."""
    options: dict[str, Any] = read_composed(PUBLISHED).options
    resolve_references(options)
    frequency = int(options["logger"]["save_checkpoint_freq"])
    train_data = options["datasets"]["train"]
    options |= {"name": "states", "num_gpu": 0, "val": None}
    options["datasets"] = {
        "train": {
            "type": "DegradedImageDataset", "dataroot_gt": "pkg://skimage/data",
            "include": ["astronaut.png", "coffee.png"], "degradation": {"type": "bicubic"},
            "gt_size": train_data["gt_size"], "cache_in_memory": True,
            "batch_size_per_gpu": batch, "num_worker_per_gpu": 0, "dataset_enlarge_ratio": 100,
        }
    }  # fmt: skip
    # The first period warms up; another after the last, because the end of a run saves too.
    options["train"]["total_iter"] = period * (periods + 2)
    options["logger"] = {"print_freq": period, "save_checkpoint_freq": period, "keep_last": 2}
    path = folder / "states.yml"
    path.write_text(yaml.safe_dump(options))
    return path, frequency


def begins(path: Path) -> list[float]:
    """Trains, and returns when every iteration began."""
    times: list[float] = []
    feed = RestorationModel.feed_data

    def feed_data(self: Any, data: Any) -> None:
        times.append(time.perf_counter())
        feed(self, data)

    RestorationModel.feed_data = feed_data  # type: ignore[method-assign]
    try:
        train(RunArguments(str(path)))
    finally:
        RestorationModel.feed_data = feed  # type: ignore[method-assign]
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--periods", type=int, default=10, help="checkpoints that are measured")
    parser.add_argument("--iterations", type=int, default=3, help="with one, and without")
    parser.add_argument("--batch", type=int, default=2)
    arguments = parser.parse_args()
    half = arguments.iterations
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        path, frequency = option_file(Path(folder), 2 * half, arguments.periods, arguments.batch)
        times = begins(path)
        state = max(Path("experiments/states/training_states").iterdir())
        size = sum(each.stat().st_size for each in Path("experiments/states/models").iterdir())
        size = state.stat().st_size + size // 3  # of the last two iterations, and the latest
        os.chdir("/")

    # An iteration that saves is the last of a period; it ends when the next one begins.
    saved, plain = [], []
    for period in range(1, arguments.periods + 1):
        last = 2 * half * period - 1
        saved.append(times[last + half] - times[last])
        plain.append(times[last + 2 * half] - times[last + half])
    cost = statistics.median(a - b for a, b in zip(saved, plain, strict=True))
    iteration = statistics.median(plain) / half
    ratio = cost / (frequency * iteration)
    rows = [
        (f"{half} iterations with a checkpoint", statistics.median(saved), min(saved), max(saved)),
        (f"{half} iterations without", statistics.median(plain), min(plain), max(plain)),
    ]
    print("\n".join(describe_machine()))
    print(tabulate(rows, ["seconds", "median", "smallest", "largest"], floatfmt=".3f"))
    print(
        f"a checkpoint ({size / 1e6:.1f} MB) costs {cost:.3f} s, an iteration {iteration:.3f} s; "
        f"one every {frequency} iterations is {100 * ratio:.4f} % of the training"
    )
    if ratio >= MOST:
        sys.exit(f"that is not below {100 * MOST:g} %")


if __name__ == "__main__":
    main()
