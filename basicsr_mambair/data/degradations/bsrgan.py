"""The pipeline of BSRGAN: degradations in random order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from basicsr_mambair.data.degradations.anisotropic_blur import AnisotropicBlur
from basicsr_mambair.data.degradations.camera_noise import CameraNoise
from basicsr_mambair.data.degradations.correlated_noise import CorrelatedNoise
from basicsr_mambair.data.degradations.degradation import (
    Degradation,
    Drawn,
    TensorDegradation,
    as_probability,
    as_range,
)
from basicsr_mambair.data.degradations.gaussian_noise import GaussianNoise
from basicsr_mambair.data.degradations.isotropic_blur import IsotropicBlur
from basicsr_mambair.data.degradations.jpeg_compression import JpegCompression
from basicsr_mambair.data.degradations.one_of import OneOf
from basicsr_mambair.data.degradations.per_picture import degrade_each
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.resizing import METHODS, resize
from basicsr_mambair.data.degradations.sometimes import Sometimes

_SIZES = (7, 21)
_RESIZE, _RESIZE_BACK = "resize", "resize_back"


@register_degradation("bsrgan")
class Bsrgan(TensorDegradation):
    """The shuffled degradation of BSRGAN, clipped to [0, 1].

    Two blurs, a resizing by a random factor, the resizing to 1/``scale``, Gaussian noise (0.4
    color, 0.4 gray, 0.2 correlated), JPEG and camera noise, in an order drawn for every picture in
    which the final resizing follows the random one; then a last JPEG. Source: Zhang et al.,
    Designing a Practical Degradation Model (ICCV 2021), section 3. Camera noise is this project's
    ``camera_noise``, without the mosaic of the paper's.

    Args:
        scale: whole number by which the sides shrink.
        blur_sigma: range of the widths of round Gaussians, in pixels; by default 0.1 to 2 + 0.2
            ``scale``.
        anisotropic_sigma: range of the two widths of oriented ones, which half of the blurs are; by
            default 0.5 to 4 + ``scale``.
        resize_probability: of the random resizing.
        resize_range: range of its factor.
        noise_sigma: range of the standard deviation of Gaussian noise, in gray levels of 255.
        jpeg_probability: of the JPEG within the order.
        camera_probability: of camera noise.
        quality: range of the quality of both JPEGs.
    """

    crops_exactly = False
    halo = 24
    examples = ({"scale": 4}, {"scale": 2}, {"scale": 1})

    def __init__(
        self,
        scale: int,
        blur_sigma: Sequence[float] | None = None,
        anisotropic_sigma: Sequence[float] | None = None,
        resize_probability: float = 0.75,
        resize_range: Sequence[float] = (0.25, 1.0),
        noise_sigma: Sequence[float] = (1.0, 25.0),
        jpeg_probability: float = 0.75,
        camera_probability: float = 0.25,
        quality: Sequence[int] = (30, 95),
    ) -> None:
        if scale < 1 or int(scale) != scale:
            raise ValueError(f"scale: must be a whole number of at least 1, got {scale}")
        self.factor = int(scale)
        self.resize_probability = as_probability(resize_probability, "resize_probability")
        as_probability(jpeg_probability, "jpeg_probability")
        as_probability(camera_probability, "camera_probability")
        self.resize_range = as_range(resize_range, "resize_range")
        if not 0.05 <= self.resize_range[0] <= self.resize_range[1] <= 8:
            raise ValueError(f"resize_range: must be between 0.05 and 8, got {list(resize_range)}")
        round_sigma = as_range(blur_sigma or (0.1, 2 + 0.2 * scale), "blur_sigma")
        oriented_sigma = as_range(anisotropic_sigma or (0.5, 4.0 + scale), "anisotropic_sigma")
        noise_sigma = as_range(noise_sigma, "noise_sigma")
        blur = OneOf([IsotropicBlur(round_sigma, _SIZES), AnisotropicBlur(oriented_sigma, _SIZES)])
        noise = OneOf(
            [
                GaussianNoise(noise_sigma),
                GaussianNoise(noise_sigma, gray_probability=1),
                CorrelatedNoise(noise_sigma),
            ],
            probabilities=(0.4, 0.4, 0.2),
        )
        self.last = JpegCompression(quality)
        self.steps: dict[str, Degradation] = {
            "blur": blur,
            "blur2": blur,
            "noise": noise,
            "jpeg": Sometimes(JpegCompression(quality), jpeg_probability),
            "camera": Sometimes(CameraNoise(), camera_probability),
        }

    def draw(self, rng: np.random.Generator) -> Drawn:
        order = [*self.steps, _RESIZE, _RESIZE_BACK]
        rng.shuffle(order)
        early, late = sorted((order.index(_RESIZE), order.index(_RESIZE_BACK)))
        order[early], order[late] = _RESIZE, _RESIZE_BACK
        steps: list[Drawn] = []
        for name in order:
            own = (
                self._draw_size(name, rng) if name not in self.steps else self.steps[name].draw(rng)
            )
            steps.append({"step": name, **own})
        return {"steps": steps, "last": self.last.draw(rng)}

    def _draw_size(self, name: str, rng: np.random.Generator) -> Drawn:
        method = METHODS[int(rng.integers(3))]
        factor, resized = float(rng.uniform(*self.resize_range)), rng.random()
        if name == _RESIZE_BACK or resized >= self.resize_probability:
            return {"method": method}
        return {"method": method, "factor": factor}

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        return degrade_each(self._apply, images, drawn)

    def _apply(self, image: Tensor, drawn: Drawn) -> Tensor:
        height, width = image.shape[-2:]
        for step in drawn["steps"]:
            name = step["step"]
            if name == _RESIZE:
                factor = step.get("factor", 1)
                rows, columns = (max(1, int(side * factor)) for side in (height, width))
                image = resize(image, rows, columns, step["method"])
            elif name == _RESIZE_BACK:
                image = resize(image, height // self.factor, width // self.factor, step["method"])
            else:
                image = self.steps[name].apply_batch(image, [step])
            image = image.clamp(0, 1)
        return self.last.apply_batch(image, [drawn["last"]])
