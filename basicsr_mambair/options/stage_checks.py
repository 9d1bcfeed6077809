"""Checks of progressive learning: the stages themselves, and crops that the networks take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basicsr_mambair.options.checks import Context
from basicsr_mambair.options.fields import fields_of
from basicsr_mambair.options.progressive import ProgressiveOptions, stage_problems

if TYPE_CHECKING:
    from mambair.archs.contract import Contract


def check_stages(
    context: Context, section: dict[str, Any], declared: type | None, scale: int
) -> None:
    """Notes what is wrong with the stages in the section of a training's dataset.

    Args:
        context: the context of the file.
        section: ``datasets.train``.
        declared: type of the section; ``None`` for a class that declares none.
        scale: factor by which the network enlarges.
    """
    problems, path = context.problems, ("datasets", "train")
    given = [key for key in fields_of(ProgressiveOptions) if section.get(key) is not None]
    if given and declared is not None and given[0] not in fields_of(declared):
        problems.add((*path, given[0]), f"{section['type']} does not read crops of several sizes")
        return
    for key, text in stage_problems(section, scale):
        problems.add((*path, key), text)


def _stage_sizes(context: Context) -> list[int]:
    """The sides of the crops of a training's stages, those that are numbers."""
    datasets = context.options.get("datasets")
    section = datasets.get("train") if isinstance(datasets, dict) else None
    sizes = section.get("gt_sizes") if isinstance(section, dict) else None
    if not context.is_train or not isinstance(sizes, list):
        return []
    return [size for size in sizes if isinstance(size, int) and size > 0]


def check_multiples(context: Context, contract: Contract | None, name: str) -> None:
    """The crops of every stage must have sides that the network takes.

    Args:
        context: the context of the file.
        contract: that of the network; ``None`` where it cannot be built or tried out here. Then
            ``val.window_size``, which pads pictures for it, says what it needs.
        name: its class, for the message.
    """
    sizes, val, scale = _stage_sizes(context), context.options.get("val"), 1
    multiple = val.get("window_size") if isinstance(val, dict) else None
    if isinstance(context.options.get("scale"), int):
        scale = context.options["scale"]
    if contract is not None:
        multiple, scale = contract.size_multiple, contract.upscale
    if not isinstance(multiple, int) or multiple <= 1:
        return  # multiples of the scale are the dataset's business
    wrong = [size for size in sizes if size % (multiple * scale)]
    if wrong:
        text = f"must be multiples of {multiple * scale}, which {name} needs, got {wrong[0]}"
        context.problems.add(("datasets", "train", "gt_sizes"), text)


def check_judged(context: Context, net: Any, channels: int) -> None:
    """A discriminator must take the crops of every stage; on ``meta`` that costs nothing.

    Args:
        context: the context of the file.
        net: the discriminator.
        channels: colors that it judges.
    """
    import torch

    for size in _stage_sizes(context):
        try:
            net.to("meta").eval()(torch.empty(1, channels, size, size, device="meta"))
        except NotImplementedError:  # an operator that needs memory says nothing about sizes
            return
        except Exception as error:  # whatever a discriminator does with a size
            text = f"{type(net).__name__} does not take crops of {size}×{size}: {_said(error)}"
            context.problems.add(("datasets", "train", "gt_sizes"), text)
            return


def _said(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
