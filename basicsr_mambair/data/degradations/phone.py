"""Everyday photographs: a small blur, mild noise, sharpening, and a JPEG."""

from __future__ import annotations

from collections.abc import Sequence

from basicsr_mambair.data.degradations.anisotropic_blur import AnisotropicBlur
from basicsr_mambair.data.degradations.chain import Chain
from basicsr_mambair.data.degradations.degradation import as_probability, as_range
from basicsr_mambair.data.degradations.gaussian_noise import GaussianNoise
from basicsr_mambair.data.degradations.jpeg_compression import JpegCompression
from basicsr_mambair.data.degradations.random_downscale import RandomDownscale
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.sharpen import Sharpen
from basicsr_mambair.data.degradations.sometimes import Sometimes


@register_degradation("phone")
class Phone(Chain):
    """A picture as a telephone or a web page keeps it; this project's own pipeline.

    In order: blur by an oriented Gaussian whose widths, in pixels of the result, are drawn from
    ``blur_sigma``; downscaling by area, bilinear or bicubic; Gaussian noise, gray or colored, up to
    ``noise_sigma``; sharpening; JPEG. Noise and sharpening are each left out of some pictures. Much
    milder than the pipelines of Real-ESRGAN and BSRGAN, so that a network trained with it keeps
    what a picture shows.

    Args:
        scale: whole number by which the sides shrink.
        blur_sigma: range of the widths of the blur.
        noise_sigma: range of the standard deviation of the noise, in gray levels of 255.
        noise_probability: of noise.
        sharpen_amount: range of the strength of sharpening.
        sharpen_probability: of sharpening.
        quality: range of the quality of the JPEG.
    """

    examples = ({"scale": 1}, {"scale": 2}, {"scale": 4})

    def __init__(
        self,
        scale: int,
        blur_sigma: Sequence[float] = (0.1, 0.8),
        noise_sigma: Sequence[float] = (0.0, 10.0),
        noise_probability: float = 0.7,
        sharpen_amount: Sequence[float] = (0.1, 0.8),
        sharpen_probability: float = 0.4,
        quality: Sequence[int] = (40, 95),
    ) -> None:
        # The parts would name their own arguments.
        as_range(blur_sigma, "blur_sigma")
        as_range(noise_sigma, "noise_sigma")
        as_probability(noise_probability, "noise_probability")
        as_range(sharpen_amount, "sharpen_amount")
        as_probability(sharpen_probability, "sharpen_probability")
        wide = [float(sigma) * scale for sigma in blur_sigma]
        size = 2 * max(1, round(3 * wide[1])) + 1
        super().__init__(
            [
                AnisotropicBlur(wide, size),
                RandomDownscale(scale),
                Sometimes(GaussianNoise(noise_sigma, gray_probability=0.4), noise_probability),
                Sometimes(Sharpen(sharpen_amount, [0.5, 1.2]), sharpen_probability),
                JpegCompression(quality),
            ]
        )
