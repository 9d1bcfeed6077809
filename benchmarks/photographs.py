r"""Photographs, degraded as telephones or cameras do and restored: figures and crops at 1:1.

    python benchmarks/photographs.py FOLDER --scale 2 --sheet sheet.png
    python benchmarks/photographs.py FOLDER --task camera --sheet sheet.png
    python benchmarks/photographs.py FOLDER --task camera \
      --degradation '{type: camera_noise, shot: 0.001, read: 0.00001}'

Every picture of the folders is degraded with a seed of its own, its place in the list, and
restored in several ways: bicubic and Lanczos interpolation (at scale 1, nothing), this project's
weights for clean pictures or even noise, and those for the task. Prints the mean PSNR on Y and SSIM
of each; the sheet shows the part of each picture with most detail, one pixel for one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import basicsr_mambair  # noqa: F401  (before BasicSR)

# isort: split
import cv2
import numpy as np
import yaml
from basicsr.metrics import calculate_psnr, calculate_ssim
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import mambair
from basicsr_mambair.data.degradations import build_degradation
from mambair.imaging.comparison import most_detailed_window
from mambair.imaging.listing import list_pictures
from mambair.imaging.pixels import Pixels, to_uint8
from mambair.imaging.reading import decode_picture
from mambair.imaging.resizing import crop_to_multiple, imresize, repeat_pixels
from mambair.imaging.writing import write_image

SIDE = 224  # of the parts that the sheet shows
DEGRADATIONS = {"photo": "phone", "camera": "camera_noise"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", help="folders of pictures; pkg://package/folder too")
    parser.add_argument("--include", nargs="+", default=["*"], help="patterns of file names")
    parser.add_argument("--task", default="photo", choices=DEGRADATIONS)
    parser.add_argument("--scale", type=int, choices=(1, 2, 4), help="of photo; 2 by default")
    parser.add_argument("--degradation", type=yaml.safe_load, help="instead of that of the task")
    parser.add_argument("--gray", action="store_true", help="read as gray")
    parser.add_argument("--weights", help="instead of those for the task")
    parser.add_argument("--sheet", type=Path, help="PNG file for the crops")
    arguments = parser.parse_args()
    if arguments.task == "camera" and arguments.scale not in (None, 1):
        parser.error("--task camera does not enlarge")
    scale = 1 if arguments.task == "camera" else arguments.scale or 2
    methods = restorers(arguments.task, scale, arguments.weights)
    section = arguments.degradation or {"type": DEGRADATIONS[arguments.task]}
    degrade = build_degradation(section, scale)
    paths = [path for folder in arguments.folders
             for path in list_pictures(folder, arguments.include)]  # fmt: skip
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    rows = []
    for seed, path in enumerate(tqdm(paths)):
        truth = decode_picture(path.read_bytes(), str(path), gray=arguments.gray)
        truth = crop_to_multiple(truth, scale)
        low = to_uint8(degrade(truth, np.random.default_rng(seed)))  # as in a file
        results = {name: restore(low) for name, restore in methods.items()}
        for name, image in results.items():
            shared = dict(crop_border=scale, test_y_channel=not arguments.gray)
            scores[name].append(
                (calculate_psnr(image, truth, **shared), calculate_ssim(image, truth, **shared))
            )
        enlarged = [] if scale == 1 else [repeat_pixels(low, scale)]
        rows.append([*enlarged, *results.values(), truth])
    for name, each in scores.items():
        psnr, ssim = np.mean(each, axis=0)
        print(f"{name:<12} {psnr:.2f} dB  {ssim:.4f}")
    if arguments.sheet:
        first = [] if scale == 1 else ["input"]
        write_image(sheet(rows, [*first, *methods, "truth"]), arguments.sheet)


def restorers(task: str, scale: int, weights: str | None) -> dict[str, Callable[[Pixels], Pixels]]:
    """The ways of restoring uint8 ``(H, W, C)``, by their names."""
    own = mambair.load(weights) if weights else mambair.load(task=task, scale=scale)
    if scale == 1:
        others = {"input": lambda low: low, "denoising": _network(mambair.load(task="denoising"))}
    else:
        others = {
            "bicubic": lambda low: imresize(low, scale),
            "Lanczos": lambda low: _lanczos(low, scale),
            "sr": _network(mambair.load(task="sr", scale=scale)),
        }
    return {**others, task: _network(own)}


def _network(model: mambair.Restorer) -> Callable[[Pixels], Pixels]:
    def restore(low: Pixels) -> Pixels:
        gray = low.shape[2] == 1
        restored = model(low[..., 0] if gray else low[..., ::-1].copy())
        return restored[..., None] if gray else restored[..., ::-1]

    return restore


def _lanczos(low: Pixels, scale: int) -> Pixels:
    height, width, channels = low.shape
    picture = Image.fromarray(low[..., 0] if channels == 1 else low)
    resized = picture.resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    return np.asarray(resized).reshape(height * scale, width * scale, channels)


def sheet(rows: list[list[Pixels]], captions: list[str]) -> Pixels:
    """One row a picture, one column a version; uint8 BGR."""
    font = ImageFont.load_default(size=16)
    canvas = Image.new("RGB", (len(captions) * (SIDE + 6), 26 + len(rows) * (SIDE + 6)), "white")
    draw = ImageDraw.Draw(canvas)
    for column, caption in enumerate(captions):
        draw.text((column * (SIDE + 6) + 4, 3), caption, fill="black", font=font)
    for number, row in enumerate(rows):
        colored = [cv2.cvtColor(e, cv2.COLOR_GRAY2BGR) if e.shape[2] == 1 else e for e in row]
        top, left, height, width = most_detailed_window(colored[-1], SIDE)
        for column, image in enumerate(colored):
            part = image[top : top + height, left : left + width, ::-1]
            place = (column * (SIDE + 6), 26 + number * (SIDE + 6))
            canvas.paste(Image.fromarray(np.ascontiguousarray(part)), place)
    return np.asarray(canvas)[..., ::-1]


if __name__ == "__main__":
    main()
