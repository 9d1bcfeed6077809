"""The second-order pipeline computes what BasicSR's model computes from the same draws."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.models import realesrgan_model as stock
from basicsr.utils.diffjpeg import DiffJPEG

from basicsr_mambair.data.degradations import Drawn
from basicsr_mambair.data.degradations.degradation import to_batch
from basicsr_mambair.data.degradations.second_order import SecondOrder
from tests.conftest import photograph

JPEG = DiffJPEG(differentiable=False).requires_grad_(False)  # takes seconds to build


class Draws:
    """Hands out prepared draws where BasicSR's model draws from global generators."""

    def __init__(self, pipeline: SecondOrder, drawn: Drawn) -> None:
        self.pipeline = pipeline
        rounds = [drawn["first"], drawn["second"]]
        self.factors = [each["factor"] for each in rounds]
        self.methods = [rounds[0]["method"], rounds[1]["method"], drawn["end"]["method"]]
        self.noise = list(zip([pipeline.first, pipeline.second], rounds, strict=True))
        self.uniform_numbers: list[float] = []
        for number, each in enumerate(rounds):
            if number == 1:  # whether to blur
                self.uniform_numbers.append(0.0 if "blur" in each else 1.0)
            if each["factor"] != 1:
                self.uniform_numbers.append(each["factor"])
            self.uniform_numbers.append(0.0 if "gaussian" in each else 1.0)
        self.uniform_numbers.append(1.0 if drawn["end"]["jpeg_first"] else 0.0)
        self.directions = [
            "up" if factor > 1 else "down" if factor < 1 else "keep" for factor in self.factors
        ]
        self.qualities = [each["quality"] for each in rounds]

    def choices(self, population: list[str], weights: list[float]) -> list[str]:
        return [self.directions.pop(0)]

    def choice(self, population: list[str]) -> str:
        return self.methods.pop(0)

    def uniform(self, *limits: float) -> float:
        return self.uniform_numbers.pop(0)

    def add_noise(self, image: torch.Tensor, **options: Any) -> torch.Tensor:
        part, own = self.noise.pop(0)
        return part.add_noise(image, own)

    def compress(self, image: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
        return JPEG(image, quality=self.qualities.pop(0))


def stock_result(
    pipeline: SecondOrder, drawn: Drawn, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> torch.Tensor:
    """Feeds BasicSR's model, with an input that is not sharpened and a crop of everything."""
    draws = Draws(pipeline, drawn)
    model = object.__new__(stock.RealESRGANModel)
    model.is_train, model.device = True, torch.device("cpu")
    unused = ["noise_range", "poisson_scale_range", "gray_noise_prob", "resize_range"]
    model.opt = {
        "scale": pipeline.factor,
        "gt_size": image.shape[-1],
        "second_blur_prob": 0.5,
        **{f"gaussian_noise_prob{suffix}": 0.5 for suffix in ("", "2")},
        **{f"jpeg_range{suffix}": [0, 0] for suffix in ("", "2")},
        **{f"resize_prob{suffix}": [1] for suffix in ("", "2")},
        **{f"{key}{suffix}": [0, 0] for suffix in ("", "2") for key in unused},
    }
    model.usm_sharpener = lambda gt: gt
    model.jpeger = draws.compress
    model._dequeue_and_enqueue = lambda: None

    def padded(kernel: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.pad(kernel, (21 - len(kernel)) // 2)).float()[None]

    pulse, end = np.ones((1, 1)), drawn["end"]
    kernels = [
        part._blur.kernel(own["blur"]) if "blur" in own else pulse
        for part, own in zip([pipeline.first, pipeline.second],
                             [drawn["first"], drawn["second"]], strict=True)
    ]  # fmt: skip
    sinc = pipeline.sinc.kernel(end["sinc"]) if "sinc" in end else pulse
    with monkeypatch.context() as patch:
        patch.setattr(random, "choices", draws.choices)
        patch.setattr(random, "choice", draws.choice)
        patch.setattr(np.random, "uniform", draws.uniform)
        patch.setattr(stock, "random_add_gaussian_noise_pt", draws.add_noise)
        patch.setattr(stock, "random_add_poisson_noise_pt", draws.add_noise)
        model.feed_data(
            {
                "gt": image,
                "kernel1": padded(kernels[0]),
                "kernel2": padded(kernels[1]),
                "sinc_kernel": padded(sinc),
            }
        )
    assert not (draws.uniform_numbers or draws.methods or draws.directions or draws.qualities)
    return model.lq


@pytest.mark.parametrize("scale", [2, 4])
def test_it_is_basicsrs(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = SecondOrder(scale, resize_range=[0.5, 1.5], resize_range2=[0.5, 1.2])
    image = to_batch(photograph("astronaut", 128, 128))
    rng = np.random.default_rng(scale)
    errors = []
    for _ in range(8):
        drawn = pipeline.draw(rng)
        expected = stock_result(pipeline, drawn, image, monkeypatch)
        errors.append((pipeline.apply_batch(image, [drawn]) - expected).abs())
    # Rounding to coefficients of JPEG and to 255 steps may fall to either side; a single
    # coefficient changes a whole block.
    shares = torch.stack([(error > 1e-5).float().mean() for error in errors])
    assert shares.mean() < 0.02 and (shares > 0).sum() < 4
    assert torch.stack(errors).mean() < 1e-4


def test_every_branch_is_drawn_as_often_as_asked() -> None:
    pipeline, rng = SecondOrder(4), np.random.default_rng(0)
    draws = [pipeline.draw(rng) for _ in range(2000)]

    def part(condition: Any) -> float:
        return sum(map(condition, draws)) / len(draws)

    for share, condition in [
        (0.2, lambda d: d["first"]["factor"] > 1),
        (0.1, lambda d: d["first"]["factor"] == 1),
        (0.3, lambda d: d["second"]["factor"] > 1),
        (1.0, lambda d: "blur" in d["first"]),
        (0.8, lambda d: "blur" in d["second"]),
        (0.1, lambda d: d["first"]["blur"]["kind"] == "sinc"),
        (0.9 * 0.45, lambda d: d["first"]["blur"]["kind"] == "iso"),
        (0.5, lambda d: "gaussian" in d["first"]),
        (0.5, lambda d: d["end"]["jpeg_first"]),
        (0.8, lambda d: "sinc" in d["end"]),
        (1 / 3, lambda d: d["end"]["method"] == "area"),
    ]:
        assert part(condition) == pytest.approx(share, abs=0.04)
    sizes = {d["first"]["blur"]["size"] for d in draws}
    assert sizes == set(range(7, 22, 2))
    assert all(30 <= d["second"]["quality"] <= 95 for d in draws)
