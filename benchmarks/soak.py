"""Trains a tiny network for many iterations and tells whether the process keeps growing.

    python benchmarks/soak.py [--iterations 10000] [--workers 1]

Validates and saves every twentieth of the run, with TensorBoard if it is installed. Prints memory,
open files and threads of the process and of its loader's workers together; pages that they share
count for each. None may grow after the first tenth of the run: the largest of the last quarter is
compared with the largest of the first quarter after that tenth. Ends with status 1 if one does.
Only Linux says what a process uses.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import basicsr_mambair  # noqa: F401  (before BasicSR)

# isort: split
import basicsr  # noqa: F401  (activates the plugin)
import yaml
from tabulate import tabulate

from basicsr_mambair.models import RestorationModel
from basicsr_mambair.runs.resources import children, open_files, resident_memory, threads
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.run import train

SAMPLES = 40  # rows of the table
MEMORY_MARGIN = 0.02  # the allocator keeps freed pages for a while


@dataclass
class Sample:
    """What the process and its workers use after an iteration."""

    iteration: int
    seconds: float
    memory: float  # MB
    files: int
    threads: int


def option_file(folder: Path, iterations: int, workers: int) -> Path:
    """A MambaIRv2Light of some thousand parameters on two photographs of scikit-image."""
    pictures = {"type": "DegradedImageDataset", "dataroot_gt": "pkg://skimage/data",
                "degradation": {"type": "bicubic"}}  # fmt: skip
    options: dict[str, Any] = {
        "name": "soak", "model_type": "RestorationModel", "scale": 2, "num_gpu": 0,
        "manual_seed": 0,
        "datasets": {
            "train": {
                **pictures, "include": ["astronaut.png", "coffee.png"], "cache_in_memory": True,
                "gt_size": 16, "batch_size_per_gpu": 2, "num_worker_per_gpu": workers,
                "dataset_enlarge_ratio": 50,
            },
            "val": {**pictures, "include": ["chelsea.png"]},
        },
        "network_g": {
            "type": "MambaIRv2Light", "upscale": 2, "embed_dim": 28, "d_state": 2, "depths": [1],
            "num_heads": [2], "window_size": 4, "inner_rank": 4, "num_tokens": 4,
            "mlp_ratio": 1.0, "upsampler": "pixelshuffledirect",
        },
        "train": {
            "ema_decay": 0.9, "total_iter": iterations,
            "optim_g": {"type": "Adam", "lr": 1e-4},
            "scheduler": {"type": "MultiStepLR", "milestones": [iterations]},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {
            "val_freq": iterations // 20,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}},
        },
        "logger": {
            "print_freq": 10, "save_checkpoint_freq": iterations // 20,
            "keep_last": 2,
            "use_tb_logger": importlib.util.find_spec("tensorboard") is not None,
        },
    }  # fmt: skip
    path = folder / "soak.yml"
    path.write_text(yaml.safe_dump(options))
    return path


def measure(iteration: int, begin: float) -> Sample:
    """What is used now, by this process and by those that it has started."""
    gc.collect()
    processes = [None, *children()]
    used = [(resident_memory(each), open_files(each), threads(each)) for each in processes]
    memory, files, running = (sum(value or 0 for value in kind) for kind in zip(*used, strict=True))
    return Sample(iteration, time.monotonic() - begin, memory / 1e6, files, running)


def growth(samples: list[Sample], iterations: int) -> list[str]:
    """What grew after the first tenth of the run."""
    settled = [each for each in samples if each.iteration > iterations / 10]
    quarter = max(1, len(settled) // 4)
    early, late = settled[:quarter], settled[-quarter:]
    found = []
    for name, margin in (("memory", MEMORY_MARGIN), ("files", 0.0), ("threads", 0.0)):
        before, after = (max(getattr(each, name) for each in part) for part in (early, late))
        if after > before * (1 + margin):
            found.append(f"{name} grew from {before:,.0f} to {after:,.0f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1, help="processes that read pictures")
    arguments = parser.parse_args()
    if resident_memory() is None or not Path("/proc/self/fd").is_dir():
        sys.exit("this system does not say what a process uses: run it on Linux")
    if arguments.iterations < 2 * SAMPLES:
        parser.error(f"--iterations: at least {2 * SAMPLES}, to tell growth from beginning")

    samples: list[Sample] = []
    step, begin = RestorationModel.optimize_parameters, time.monotonic()
    every = arguments.iterations // SAMPLES

    def optimize_parameters(self: Any, current_iter: int) -> None:
        step(self, current_iter)
        if current_iter % every == 0:
            samples.append(measure(current_iter, begin))

    RestorationModel.optimize_parameters = optimize_parameters  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        path = option_file(Path(folder), arguments.iterations, arguments.workers)
        os.chdir(folder)
        try:
            train(RunArguments(str(path)))
        finally:
            os.chdir("/")  # Windows removes no current folder
    headers = ["iteration", "seconds", "memory, MB", "open files", "threads"]
    print(tabulate(map(astuple, samples), headers, floatfmt=",.1f", intfmt=","))
    found = growth(samples, arguments.iterations)
    print("flat" if not found else "; ".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
