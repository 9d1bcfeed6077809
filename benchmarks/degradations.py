"""The second-order degradation beside BasicSR's and beside a training step, in one run.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/degradations.py

A batch of true pictures becomes the batch of inputs for scale 4: by this package's ``second_order``
(draws included, each picture has its own), and by BasicSR's ``RealESRGANModel.feed_data`` without
its sharpening and its pool (one geometry for the whole batch; the kernels, which its dataset makes,
are not timed). The step trains MambaIRv2Light ×4 on a batch of the same size. The three take
turns, so that a slow spell of the machine affects all. Prints medians, ranges and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import basicsr_mambair  # noqa: F401  isort: skip  (BasicSR is repaired while it is imported)
from basicsr.data.degradations import circular_lowpass_kernel, random_mixed_kernels
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.utils.diffjpeg import DiffJPEG

from basicsr_mambair.data.degradations import build_degradation
from basicsr_mambair.data.second_order_options import PUBLISHED
from basicsr_mambair.options import load_any_options
from basicsr_mambair.training.randomness import seed_generators
from mambair.archs.registry import build_network
from mambair.imaging.listing import resolve_root
from mambair.imaging.reading import read_image

SCALE = 4
LIGHT = Path(__file__).parents[1] / "options" / "test" / "mambairv2_light_x4.yml"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=256, help="side of the true pictures")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    gt = pictures(arguments.batch, arguments.side).to(device)
    cases = {
        "second_order, this package": ours(gt),
        "second_order, BasicSR": stock(gt),
        "training step, MambaIRv2Light ×4": training_step(gt),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(arguments.rounds + 2):
        for name, run in cases.items():
            begin = time.perf_counter()
            run(number)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= 2:  # the first runs warm up
                times[name].append(1000 * (time.perf_counter() - begin))
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    print(f"batch {tuple(gt.shape)} on {device}{threads}; medians of {arguments.rounds} runs")
    first = statistics.median(next(iter(times.values())))
    for name, each in times.items():
        middle = statistics.median(each)
        spread = f"{middle:8.1f} ms [{min(each):.1f}–{max(each):.1f}]"
        print(f"{name:<34} {spread:<30} ours / this: {first / middle:.3f}")


def pictures(count: int, side: int) -> torch.Tensor:
    """Photographs of scikit-image, ``(B, 3, S, S)`` RGB in [0, 1]."""
    names = ("astronaut", "coffee", "chelsea", "motorcycle_left")
    images = []
    for number in range(count):
        path = resolve_root(f"pkg://skimage/data/{names[number % len(names)]}.png")
        picture = read_image(path)[:side, :side, 2::-1].copy()
        images.append(torch.from_numpy(picture).permute(2, 0, 1) / 255)
    return torch.stack(images)


def ours(gt: torch.Tensor) -> Callable[[int], None]:
    """Draws and degrades."""
    pipeline = build_degradation({"type": "second_order"}, SCALE)

    def run(number: int) -> None:
        rng = np.random.default_rng(number)
        pipeline.apply_batch(gt, [pipeline.draw(rng) for _ in gt])

    return run


def stock(gt: torch.Tensor) -> Callable[[int], None]:
    """BasicSR's model without a network: only what makes the input."""
    model: Any = object.__new__(RealESRGANModel)
    model.is_train, model.device = True, gt.device
    model.opt = {**PUBLISHED, "scale": SCALE, "gt_size": gt.shape[-1]}
    model.usm_sharpener = lambda images: images
    model.jpeger = DiffJPEG(differentiable=False).to(gt.device)
    model._dequeue_and_enqueue = lambda: None
    kernels = {name: torch.stack([_kernel(second) for _ in gt])
               for name, second in (("kernel1", ""), ("kernel2", "2"))}  # fmt: skip
    sinc = torch.stack([_padded(circular_lowpass_kernel(2.0, 15)) for _ in gt])

    def run(number: int) -> None:
        seed_generators(number)
        model.feed_data({"gt": gt, **kernels, "sinc_kernel": sinc})

    return run


def _kernel(second: str) -> torch.Tensor:
    sigma = PUBLISHED[f"blur_sigma{second}"]
    kernel = random_mixed_kernels(
        PUBLISHED[f"kernel_list{second}"], PUBLISHED[f"kernel_prob{second}"], 15, sigma, sigma
    )
    return _padded(kernel)


def _padded(kernel: np.ndarray) -> torch.Tensor:
    """BasicSR's dataset fills every kernel up to 21 × 21."""
    return torch.from_numpy(np.pad(kernel, (21 - len(kernel)) // 2)).float()


def training_step(gt: torch.Tensor) -> Callable[[int], None]:
    """Forward, L1, backward, Adam."""
    network = build_network(load_any_options(LIGHT)["network_g"]).to(gt.device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    lq = torch.nn.functional.avg_pool2d(gt, SCALE)

    def run(number: int) -> None:
        optimizer.zero_grad()
        (network(lq) - gt).abs().mean().backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    main()
