"""Real-ESRGAN's degradation by its own option keys, which its files spread over two sections.

The blurs are in the section of the dataset, the rest at the top of the file. Both are arguments of
the degradation ``second_order``; here is where they come together, and their published values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr_mambair.data.degradations.second_order import SecondOrder
from basicsr_mambair.options.calls import parameters_of
from basicsr_mambair.options.stock import degradation_options, kernel_options, with_fields

# Wang et al. 2021 (arXiv 2107.10833, §4.1), as in the option files of Real-ESRGAN.
PUBLISHED: dict[str, Any] = {
    name: list(each.default) if isinstance(each.default, tuple) else each.default
    for name, each in parameters_of(SecondOrder).items()
    if name != "scale"
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
