"""Networks against camera noise: means and spread over the seeds that they were trained with.

    python benchmarks/camera_comparison.py pkg://skimage/data datasets/Kodak24 --include '*.png'

Every picture of the folders gets the noise ``camera_noise`` with a seed of its own, its place in
the list, and is restored by the finished runs ``camera_comparison_NETWORK_SEED`` under
``experiments/``. Prints, for each folder, PSNR on RGB and on Y and SSIM on RGB: the mean over the
pictures, averaged over the seeds, and its standard deviation between them; before them those of the
noisy pictures and of this project's weights for Gaussian noise.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

import basicsr_mambair  # noqa: F401  (before BasicSR)

# isort: split
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim
from tqdm import tqdm

import mambair
from basicsr_mambair.data.degradations import build_degradation
from mambair.imaging.listing import list_pictures
from mambair.imaging.pixels import Pixels, to_uint8
from mambair.imaging.reading import decode_picture

Restore = Callable[[Pixels], Pixels]
HEADINGS = ("PSNR, RGB", "PSNR, Y", "SSIM")
PLACES = (2, 2, 4)  # behind the point
_RUN = "camera_comparison"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", help="folders of pictures; pkg://package/folder too")
    parser.add_argument("--include", nargs="+", default=["*"], help="patterns of file names")
    parser.add_argument(
        "--middle", type=int, metavar="SIDE", help="take only the middle SIDE × SIDE pixels of each"
    )
    parser.add_argument("--experiments", type=Path, default=Path("experiments"))
    arguments = parser.parse_args()
    runs = finished_runs(arguments.experiments)
    if not runs:
        sys.exit(
            f"{arguments.experiments}: holds no finished run {_RUN}_NETWORK_SEED; "
            "docs/real_denoising.md has the commands that train them"
        )
    camera = build_degradation({"type": "camera_noise"}, 1)
    methods: dict[str, list[Restore]] = {
        "input": [lambda noisy: noisy],
        "tiny_denoising": [_restorer(mambair.load(task="denoising"))],
        **{
            f"{network} ({len(files)})": [_restorer(mambair.load(file)) for file in files]
            for network, files in runs.items()
        },
    }
    for folder in arguments.folders:
        scores = measure(
            list_pictures(folder, arguments.include), camera, methods, arguments.middle
        )
        print(f"\n{folder}\n\n| network (seeds) | {' | '.join(HEADINGS)} |\n{'| --- ' * 4}|")
        for name, by_seed in scores.items():
            print(f"| {name} | {' | '.join(_cells(by_seed))} |")


def finished_runs(experiments: Path) -> dict[str, list[Path]]:
    """Weights of the runs that came to their end, by network and in the order of their seeds."""
    found: dict[str, dict[int, Path]] = {}
    for folder in experiments.glob(f"{_RUN}_*_*"):
        name = re.fullmatch(rf"{_RUN}_(\w+)_(\d+)", folder.name)
        latest = folder / "models" / "net_g_latest.pth"  # written at the end of a training
        if name is None:
            continue
        if not latest.is_file():
            print(f"{folder}: has not come to its end, and is left out", file=sys.stderr)
            continue
        found.setdefault(name[1], {})[int(name[2])] = latest
    return {network: [of[seed] for seed in sorted(of)] for network, of in sorted(found.items())}


def measure(
    paths: list[Path],
    camera: Callable[..., Pixels],
    methods: dict[str, list[Restore]],
    middle: int | None = None,
) -> dict[str, np.ndarray]:
    """Means over the pictures, ``(seeds, 3)`` for each method, in the order of ``HEADINGS``."""
    scores: dict[str, list[list[tuple[float, ...]]]] = {name: [] for name in methods}
    for seed, path in enumerate(tqdm(paths)):
        truth = _middle_of(decode_picture(path.read_bytes(), str(path), gray=False), middle)
        noisy = to_uint8(camera(truth, np.random.default_rng(seed)))  # as in a file
        for name, restorers in methods.items():
            results = [restore(noisy) for restore in restorers]
            scores[name].append([_score(result, truth) for result in results])
    return {name: np.mean(each, axis=0) for name, each in scores.items()}


def _middle_of(picture: Pixels, side: int | None) -> Pixels:
    if side is None:
        return picture
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _score(result: Pixels, truth: Pixels) -> tuple[float, ...]:
    return (
        calculate_psnr(result, truth, crop_border=0),
        calculate_psnr(result, truth, crop_border=0, test_y_channel=True),
        calculate_ssim(result, truth, crop_border=0),
    )


def _cells(by_seed: np.ndarray) -> list[str]:
    means = by_seed.mean(axis=0)
    if len(by_seed) == 1:
        return [f"{mean:.{places}f}" for mean, places in zip(means, PLACES, strict=True)]
    deviations = by_seed.std(axis=0, ddof=1)
    return [
        f"{mean:.{places}f} ± {deviation:.{places}f}"
        for mean, deviation, places in zip(means, deviations, PLACES, strict=True)
    ]


def _restorer(model: mambair.Restorer) -> Restore:
    return lambda noisy: model(noisy[..., ::-1].copy())[..., ::-1]


if __name__ == "__main__":
    main()
