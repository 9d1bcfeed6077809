"""The losses of a training run: one for each ``*_opt`` section of ``train``."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import basicsr  # noqa: F401  (activates the plugin before anything here is used)
import torch
from basicsr.losses import build_loss
from torch import Tensor, nn

_SUFFIX = "_opt"
# BasicSR's own names in the log; another section NAME_opt is logged as l_NAME.
_LOGGED_AS = {"pixel": ("l_pix",), "perceptual": ("l_percep", "l_style")}
# Sections that mean nothing without a discriminator, and types that need its output.
_ADVERSARIAL_SECTIONS = ("gan_opt", "ldl_opt", "feature_matching_opt")
_ADVERSARIAL_TYPES = ("GANLoss", "MultiScaleGANLoss", "RelativisticGANLoss", "LDLLoss")


def loss_sections(train: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the sections of ``train`` that name a loss, by their keys."""
    return {
        key: section
        for key, section in train.items()
        if key.endswith(_SUFFIX) and isinstance(section, Mapping)
    }


def check_loss_sections(train: Mapping[str, Any]) -> None:
    """Raises ``ValueError``, beginning with the key, for losses that cannot be computed."""
    sections = loss_sections(train)
    for key, section in sections.items():
        if key in _ADVERSARIAL_SECTIONS or section.get("type") in _ADVERSARIAL_TYPES:
            raise ValueError(
                f"{key}: needs a discriminator, which model_type SRGANModel, ESRGANModel or "
                "RealESRGANModel trains too; RestorationModel trains only the restoring network"
            )
    if not sections:
        raise ValueError("pixel_opt: is missing; training needs at least one loss")


class TrainingLosses(nn.Module):
    """Computes every loss that ``train`` names.

    A loss gets the output and the ground truth; one whose ``forward`` has no target (total
    variation) gets the output alone. Its weight is an argument of its own (``loss_weight``).

    Args:
        train: the section ``train`` of the options.

    Raises:
        ValueError: a loss needs a discriminator, or no loss is named; begins with the key.
    """

    def __init__(self, train: Mapping[str, Any]) -> None:
        super().__init__()
        check_loss_sections(train)
        self.losses = nn.ModuleDict(
            {
                key.removesuffix(_SUFFIX): build_loss(dict(section))
                for key, section in loss_sections(train).items()
            }
        )
        self._with_target = {name: _takes_target(loss) for name, loss in self.losses.items()}

    def forward(self, output: Tensor, gt: Tensor) -> OrderedDict[str, Tensor]:
        """Computes the weighted losses of an output, in the order of the options.

        Args:
            output: ``(B, C, H, W)``, as the network returns it.
            gt: ``(B, C, H, W)`` in [0, 1].

        Returns:
            Scalars by their names in the log: ``l_pix``, ``l_percep``, ``l_style``, ``l_NAME``.
        """
        computed: OrderedDict[str, Tensor] = OrderedDict()
        for name, loss in self.losses.items():
            result = loss(output, gt) if self._with_target[name] else loss(output)
            for logged, value in zip(_names(name), _values(result), strict=False):
                if value is not None:
                    if value.ndim:
                        raise ValueError(
                            f"train.{name}{_SUFFIX}: {type(loss).__name__} returns "
                            f"{tuple(value.shape)} where one number is expected (reduction: mean)"
                        )
                    computed[logged] = value
        return computed

    def total(self, computed: Mapping[str, Tensor]) -> Tensor:
        """Returns the sum of the losses, which training minimizes."""
        return torch.stack(list(computed.values())).sum()


def _names(section: str) -> Iterator[str]:
    """Yields names for the parts of a loss: l_NAME, l_NAME_2, …"""
    yield from _LOGGED_AS.get(section, (f"l_{section}",))
    number = 2
    while True:
        yield f"l_{section}_{number}"
        number += 1


def _values(result: Any) -> tuple[Tensor | None, ...]:
    return result if isinstance(result, tuple) else (result,)


def _takes_target(loss: nn.Module) -> bool:
    """Returns whether ``forward`` has a parameter for the ground truth after the output."""
    parameters = list(inspect.signature(loss.forward).parameters.values())
    if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):
        return True
    positional = [
        each.name
        for each in parameters
        if each.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(positional) > 1 and positional[1] != "weight"
