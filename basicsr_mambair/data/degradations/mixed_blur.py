"""The blur of Real-ESRGAN: a kernel of a kind that is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from basicsr_mambair.data.degradations.anisotropic_blur import AnisotropicBlur
from basicsr_mambair.data.degradations.degradation import Drawn, as_probability, as_range
from basicsr_mambair.data.degradations.generalized_gaussian_blur import GeneralizedGaussianBlur
from basicsr_mambair.data.degradations.isotropic_blur import IsotropicBlur
from basicsr_mambair.data.degradations.kernel_blur import Kernel, KernelBlur
from basicsr_mambair.data.degradations.plateau_blur import PlateauBlur
from basicsr_mambair.data.degradations.registry import register_degradation
from basicsr_mambair.data.degradations.sinc_blur import sinc_kernel

KINDS = (
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso",
)  # fmt: skip
PROBABILITIES = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)


@register_degradation("mixed_blur")
class MixedBlur(KernelBlur):
    """Blur by a Gaussian, generalized Gaussian, plateau or sinc kernel; clipped to [0, 1].

    The kernels of Wang et al., Real-ESRGAN (ICCVW 2021), drawn as BasicSR's ``RealESRGANDataset``
    draws them: a sinc kernel begins at π/3, from a side of 13 on at π/5.

    Args:
        kernel_list: kinds to draw from: ``iso``, ``aniso``, ``generalized_iso``,
            ``generalized_aniso``, ``plateau_iso``, ``plateau_aniso``.
        kernel_prob: one weight for each of them.
        sinc_prob: probability of a sinc kernel instead.
        blur_sigma: range of the widths in pixels.
        betag_range: range of the shapes of generalized Gaussians.
        betap_range: range of the shapes of plateaus.
        size: side of the kernel, odd, or a range of odd sides to draw it from.
    """

    examples = ({}, {"kernel_list": ["plateau_aniso"], "kernel_prob": [1], "sinc_prob": 0})
    identity = ({"kernel_list": ["iso"], "kernel_prob": [1], "sinc_prob": 0, "blur_sigma": [0, 0]},)

    def __init__(
        self,
        kernel_list: Sequence[str] = KINDS,
        kernel_prob: Sequence[float] = PROBABILITIES,
        sinc_prob: float = 0.1,
        blur_sigma: Sequence[float] = (0.2, 3.0),
        betag_range: Sequence[float] = (0.5, 4.0),
        betap_range: Sequence[float] = (1.0, 2.0),
        size: int | Sequence[int] = (7, 21),
    ) -> None:
        super().__init__(size)
        if not kernel_list or any(kind not in KINDS for kind in kernel_list):
            raise ValueError(
                f"kernel_list: must be among {', '.join(KINDS)}, got {list(kernel_list)}"
            )
        if len(kernel_prob) != len(kernel_list) or min(kernel_prob) < 0 or not sum(kernel_prob):
            raise ValueError(
                f"kernel_prob: must be {len(kernel_list)} numbers of at least 0, not all of them "
                f"0, got {list(kernel_prob)}"
            )
        self.kinds = list(kernel_list)
        self.probabilities = [each / sum(kernel_prob) for each in kernel_prob]
        self.sinc_probability = as_probability(sinc_prob, "sinc_prob")
        # The blurs would name their own arguments.
        as_range(blur_sigma, "blur_sigma")
        for name, shapes in (("betag_range", betag_range), ("betap_range", betap_range)):
            if as_range(shapes, name)[0] == 0:
                raise ValueError(f"{name}: must begin above 0, got {list(shapes)}")
        self.blurs: dict[str, KernelBlur] = {
            "iso": IsotropicBlur(blur_sigma, size),
            "aniso": AnisotropicBlur(blur_sigma, size),
            "generalized_iso": GeneralizedGaussianBlur(blur_sigma, betag_range, size, True),
            "generalized_aniso": GeneralizedGaussianBlur(blur_sigma, betag_range, size, False),
            "plateau_iso": PlateauBlur(blur_sigma, betap_range, size, True),
            "plateau_aniso": PlateauBlur(blur_sigma, betap_range, size, False),
        }

    def draw(self, rng: np.random.Generator) -> Drawn:
        if rng.random() < self.sinc_probability:
            size = self.draw_size(rng)
            lowest = math.pi / (3 if size < 13 else 5)
            return {"kind": "sinc", "size": size, "cutoff": float(rng.uniform(lowest, math.pi))}
        kind = self.kinds[int(rng.choice(len(self.kinds), p=self.probabilities))]
        return {"kind": kind, **self.blurs[kind].draw(rng)}

    def kernel(self, drawn: Drawn) -> Kernel:
        if drawn["kind"] == "sinc":
            return sinc_kernel(drawn["size"], drawn["cutoff"])
        return self.blurs[drawn["kind"]].kernel(drawn)

    def apply_batch(self, images: Tensor, drawn: Sequence[Drawn]) -> Tensor:
        return super().apply_batch(images, drawn).clamp(0, 1)
