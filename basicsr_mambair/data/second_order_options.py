"""Real-ESRGAN's degradation by its own option keys, which its files spread over two sections.

The blurs are in the section of the dataset, the rest at the top of the file. Both are arguments of
the degradation ``second_order``; here is where they come together, and their published values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr_mambair.options.stock import degradation_options, kernel_options, with_fields

_KERNELS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
_KERNEL_PROB = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]

# Wang et al. 2021 (arXiv 2107.10833, §4.1), as in the option files of Real-ESRGAN.
PUBLISHED: dict[str, Any] = {
    "blur_kernel_size": 21,
    "kernel_list": _KERNELS,
    "kernel_prob": _KERNEL_PROB,
    "sinc_prob": 0.1,
    "blur_sigma": [0.2, 3],
    "betag_range": [0.5, 4],
    "betap_range": [1, 2],
    "blur_kernel_size2": 21,
    "kernel_list2": _KERNELS,
    "kernel_prob2": _KERNEL_PROB,
    "sinc_prob2": 0.1,
    "blur_sigma2": [0.2, 1.5],
    "betag_range2": [0.5, 4],
    "betap_range2": [1, 2],
    "final_sinc_prob": 0.8,
    "resize_prob": [0.2, 0.7, 0.1],
    "resize_range": [0.15, 1.5],
    "gaussian_noise_prob": 0.5,
    "noise_range": [1, 30],
    "poisson_scale_range": [0.05, 3],
    "gray_noise_prob": 0.4,
    "jpeg_range": [30, 95],
    "second_blur_prob": 0.8,
    "resize_prob2": [0.3, 0.4, 0.3],
    "resize_range2": [0.3, 1.2],
    "gaussian_noise_prob2": 0.5,
    "noise_range2": [1, 25],
    "poisson_scale_range2": [0.05, 2.5],
    "gray_noise_prob2": 0.4,
    "jpeg_range2": [30, 95],
}

_BLURS = kernel_options() | kernel_options("2")
_STAGES = degradation_options() | degradation_options("2")


def with_blur_options(base: type) -> type:
    """A section with the keys of both blurs, whose defaults are the published values."""
    return _with_defaults(base, _BLURS)


def with_stage_options(base: type) -> type:
    """A section with the keys of both stages but their blurs, with the published values."""
    return _with_defaults(base, _STAGES)


def _with_defaults(base: type, declared: Mapping[str, Any]) -> type:
    return with_fields(
        base,
        {
            name: (kind, {**arguments, "default": PUBLISHED[name]})
            for name, (kind, arguments) in declared.items()
        },
    )


def second_order_section(top: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``{type: second_order, …}`` that an option file of Real-ESRGAN means.

    Args:
        top: the options at the top of the file.
        dataset: the section of the training data.
    """
    section: dict[str, Any] = {"type": "second_order", **PUBLISHED}
    section |= {name: top[name] for name in PUBLISHED if top.get(name) is not None}
    section |= {name: dataset[name] for name in PUBLISHED if dataset.get(name) is not None}
    return section
