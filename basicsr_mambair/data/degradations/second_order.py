"""The pipeline of Real-ESRGAN: two rounds of blur, resizing, noise and JPEG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.data.degradations.degradation import (
    Drawn,
    TensorDegradation,
    as_probability,
    as_range,
)
from basicsr_mambair.data.degradations.differentiable_jpeg import DifferentiableJpeg
from basicsr_mambair.data.degradations.gaussian_noise import GaussianNoise
from basicsr_mambair.data.degradations.kernel_blur import convolve
from basicsr_mambair.data.degradations.mixed_blur import KINDS, PROBABILITIES, MixedBlur
from basicsr_mambair.data.degradations.per_picture import degrade_each
from basicsr_mambair.data.degradations.poisson_noise import PoissonNoise
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.resizing import METHODS, resize
from basicsr_mambair.data.degradations.sinc_blur import SincBlur

Part = TypeVar("Part", bound=TensorDegradation | GaussianNoise)

_SMALLEST_KERNEL = 7


@register_degradation("second_order")
class SecondOrder(TensorDegradation):
    """Real-ESRGAN's second-order degradation, with the arguments of its option files.

    Two rounds of blur, resizing by a random factor, Gaussian or Poisson noise, and JPEG; a sinc
    filter and the resizing to 1/``scale`` come before or after the second JPEG. The result is
    rounded to 255 steps. Source: Wang et al., Real-ESRGAN (ICCVW 2021), sections 3.2 to 3.4;
    computes what BasicSR's ``RealESRGANModel.feed_data`` computes from the same draws, but each
    picture of a batch has its own, and sharpening the input is left to the caller. The defaults are
    those of the published option files.

    Args:
        scale: whole number by which the sides shrink.
        blur_kernel_size: largest side of the kernels, odd, at least 7; they are drawn from 7 on.
        kernel_list: kinds of kernels; see ``mixed_blur``.
        kernel_prob: one weight for each of them.
        sinc_prob: probability of a sinc kernel instead.
        blur_sigma: range of the widths of the kernels in pixels.
        betag_range: range of the shapes of generalized Gaussians.
        betap_range: range of the shapes of plateaus.
        resize_prob: weights of enlarging, shrinking and keeping the size.
        resize_range: least and largest factor.
        gaussian_noise_prob: probability of Gaussian noise; otherwise it is Poisson's.
        noise_range: range of the standard deviation of Gaussian noise, in gray levels of 255.
        poisson_scale_range: range of the strength of Poisson noise.
        gray_noise_prob: probability of noise that is the same in all colors.
        jpeg_range: range of the quality of JPEG.
        second_blur_prob: probability of the second blur.
        blur_kernel_size2: as in the first round.
        kernel_list2: as in the first round.
        kernel_prob2: as in the first round.
        sinc_prob2: as in the first round.
        blur_sigma2: as in the first round.
        betag_range2: as in the first round.
        betap_range2: as in the first round.
        resize_prob2: as in the first round.
        resize_range2: as in the first round; relative to 1/``scale`` of the picture.
        gaussian_noise_prob2: as in the first round.
        noise_range2: as in the first round.
        poisson_scale_range2: as in the first round.
        gray_noise_prob2: as in the first round.
        jpeg_range2: as in the first round.
        final_sinc_prob: probability of the sinc filter at the end.
    """

    crops_exactly = False
    halo = 18  # as Real-ESRGAN, which degrades 400 pixels and trains with 256 of them
    examples = ({"scale": 4}, {"scale": 2}, {"scale": 1, "resize_range": [0.5, 1.2]})

    def __init__(
        self,
        scale: int,
        blur_kernel_size: int = 21,
        kernel_list: Sequence[str] = KINDS,
        kernel_prob: Sequence[float] = PROBABILITIES,
        sinc_prob: float = 0.1,
        blur_sigma: Sequence[float] = (0.2, 3.0),
        betag_range: Sequence[float] = (0.5, 4.0),
        betap_range: Sequence[float] = (1.0, 2.0),
        resize_prob: Sequence[float] = (0.2, 0.7, 0.1),
        resize_range: Sequence[float] = (0.15, 1.5),
        gaussian_noise_prob: float = 0.5,
        noise_range: Sequence[float] = (1.0, 30.0),
        poisson_scale_range: Sequence[float] = (0.05, 3.0),
        gray_noise_prob: float = 0.4,
        jpeg_range: Sequence[float] = (30.0, 95.0),
        second_blur_prob: float = 0.8,
        blur_kernel_size2: int = 21,
        kernel_list2: Sequence[str] = KINDS,
        kernel_prob2: Sequence[float] = PROBABILITIES,
        sinc_prob2: float = 0.1,
        blur_sigma2: Sequence[float] = (0.2, 1.5),
        betag_range2: Sequence[float] = (0.5, 4.0),
        betap_range2: Sequence[float] = (1.0, 2.0),
        resize_prob2: Sequence[float] = (0.3, 0.4, 0.3),
        resize_range2: Sequence[float] = (0.3, 1.2),
        gaussian_noise_prob2: float = 0.5,
        noise_range2: Sequence[float] = (1.0, 25.0),
        poisson_scale_range2: Sequence[float] = (0.05, 2.5),
        gray_noise_prob2: float = 0.4,
        jpeg_range2: Sequence[float] = (30.0, 95.0),
        final_sinc_prob: float = 0.8,
    ) -> None:
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number of at least 1, got {scale}")
        self.factor = int(scale)
        self.first = _Round(
            "", blur_kernel_size, kernel_list, kernel_prob, sinc_prob, blur_sigma, betag_range,
            betap_range, 1.0, resize_prob, resize_range, gaussian_noise_prob, noise_range,
            poisson_scale_range, gray_noise_prob, jpeg_range,
        )  # fmt: skip
        self.second = _Round(
            "2", blur_kernel_size2, kernel_list2, kernel_prob2, sinc_prob2, blur_sigma2,
            betag_range2, betap_range2, second_blur_prob, resize_prob2, resize_range2,
            gaussian_noise_prob2, noise_range2, poisson_scale_range2, gray_noise_prob2, jpeg_range2,
        )  # fmt: skip
        self.sinc_probability = as_probability(final_sinc_prob, "final_sinc_prob")
        self.sinc = SincBlur(size=(_SMALLEST_KERNEL, 21))

    def draw(self, rng: np.random.Generator) -> Drawn:
        first, second = self.first.draw(rng), self.second.draw(rng)
        end: Drawn = {
            "jpeg_first": bool(rng.random() >= 0.5),
            "method": METHODS[int(rng.integers(3))],
        }
        if rng.random() < self.sinc_probability:
            end["sinc"] = self.sinc.draw(rng)
        return {"first": first, "second": second, "end": end}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        return degrade_each(self._apply, images, drawn)

    def _apply(self, image: Tensor, drawn: Drawn) -> Tensor:
        height, width = image.shape[-2:]
        first, second, end = drawn["first"], drawn["second"], drawn["end"]
        image = self.first.blur(image, first)
        image = _resize_by(image, first["factor"], first["method"])
        image = self.first.compress(self.first.add_noise(image, first), first)
        image = self.second.blur(image, second)
        rows, columns = (
            max(1, int(side / self.factor * second["factor"])) for side in (height, width)
        )
        image = resize(image, rows, columns, second["method"])
        image = self.second.add_noise(image, second)
        if end["jpeg_first"]:
            image = self.second.compress(image, second)
        image = resize(image, height // self.factor, width // self.factor, end["method"])
        if "sinc" in end:
            image = convolve(image, [self.sinc.kernel(end["sinc"])])
        if not end["jpeg_first"]:
            image = self.second.compress(image, second)
        return (image * 255).round().clamp(0, 255) / 255


class _Round:
    """Blur, factor of the size, noise and JPEG of one round; ``suffix`` is that of its keys."""

    def __init__(
        self,
        suffix: str,
        blur_kernel_size: int,
        kernel_list: Sequence[str],
        kernel_prob: Sequence[float],
        sinc_prob: float,
        blur_sigma: Sequence[float],
        betag_range: Sequence[float],
        betap_range: Sequence[float],
        blur_prob: float,
        resize_prob: Sequence[float],
        resize_range: Sequence[float],
        gaussian_noise_prob: float,
        noise_range: Sequence[float],
        poisson_scale_range: Sequence[float],
        gray_noise_prob: float,
        jpeg_range: Sequence[float],
    ) -> None:
        if blur_kernel_size < _SMALLEST_KERNEL:
            raise ValueError(
                f"blur_kernel_size{suffix}: must be at least {_SMALLEST_KERNEL}, "
                f"got {blur_kernel_size}"
            )
        self.blur_probability = as_probability(blur_prob, "second_blur_prob")
        self.resize_probabilities = _three_weights(resize_prob, f"resize_prob{suffix}")
        self.resize_range = as_range(resize_range, f"resize_range{suffix}")
        if not 0.05 <= self.resize_range[0] <= 1 <= self.resize_range[1] <= 8:
            raise ValueError(
                f"resize_range{suffix}: must begin between 0.05 and 1 and end between 1 and 8, "
                f"got {list(resize_range)}"
            )
        self.gaussian_probability = as_probability(
            gaussian_noise_prob, f"gaussian_noise_prob{suffix}"
        )
        # The parts name their own arguments, which are called differently here.
        self._blur = _named(
            {"size": f"blur_kernel_size{suffix}"},
            suffix,
            lambda: MixedBlur(
                kernel_list, kernel_prob, sinc_prob, blur_sigma, betag_range, betap_range,
                (_SMALLEST_KERNEL, blur_kernel_size),
            ),
        )  # fmt: skip
        gray = f"gray_noise_prob{suffix}"
        self._gaussian = _named(
            {"sigma": f"noise_range{suffix}", "gray_probability": gray},
            "",
            lambda: GaussianNoise(noise_range, gray_noise_prob),
        )
        self._poisson = _named(
            {"strength": f"poisson_scale_range{suffix}", "gray_probability": gray},
            "",
            lambda: PoissonNoise(poisson_scale_range, gray_noise_prob),
        )
        self._jpeg = _named(
            {"quality": f"jpeg_range{suffix}"},
            "",
            lambda: DifferentiableJpeg(jpeg_range, transposed=True),
        )

    def draw(self, rng: np.random.Generator) -> Drawn:
        drawn: Drawn = {}
        if rng.random() < self.blur_probability:
            drawn["blur"] = self._blur.draw(rng)
        low, high = self.resize_range
        limits = ((1.0, high), (low, 1.0), (1.0, 1.0))
        direction = int(rng.choice(3, p=self.resize_probabilities))
        drawn["factor"] = float(rng.uniform(*limits[direction]))
        drawn["method"] = METHODS[int(rng.integers(3))]
        if rng.random() < self.gaussian_probability:
            drawn["gaussian"] = self._gaussian.draw(rng)
        else:
            drawn["poisson"] = self._poisson.draw(rng)
        return drawn | self._jpeg.draw(rng)

    def blur(self, image: Tensor, drawn: Drawn) -> Tensor:
        return convolve(image, [self._blur.kernel(drawn["blur"])]) if "blur" in drawn else image

    def add_noise(self, image: Tensor, drawn: Drawn) -> Tensor:
        if "gaussian" in drawn:
            return self._gaussian.apply_batch(image, [drawn["gaussian"]]).clamp(0, 1)
        return self._poisson.apply_batch(image, [drawn["poisson"]])

    def compress(self, image: Tensor, drawn: Drawn) -> Tensor:
        # Clipped, because JPEG turns values outside into visible artifacts.
        return self._jpeg.apply_batch(image.clamp(0, 1), [drawn])


def _resize_by(image: Tensor, factor: float, method: str) -> Tensor:
    """Resizes by a factor that also sets the distance of the samples, as ``scale_factor`` does."""
    if factor == 1:
        return image
    return torch.nn.functional.interpolate(image, scale_factor=factor, mode=method)


def _three_weights(given: Sequence[float], name: str) -> list[float]:
    if len(given) != 3 or min(given) < 0 or not sum(given):
        raise ValueError(f"{name}: must be three numbers of at least 0, got {list(given)}")
    return [each / math.fsum(given) for each in given]


def _named(names: dict[str, str], suffix: str, build: Callable[[], Part]) -> Part:
    """Builds a part; an error names its argument by the key of this pipeline."""
    try:
        return build()
    except ValueError as error:
        own, _, reason = str(error).partition(":")
        raise ValueError(f"{names.get(own, own + suffix)}:{reason}") from error
