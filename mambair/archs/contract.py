"""The contract of a network: stated by its class, or found by a trial run."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from mambair.errors import UserError

_MULTIPLES = range(1, 129)  # of the sides, tried in this order
_COMMON_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)  # tried where a trial computes something
_LEAST = 64  # sides of a trial are about this long: more than any network here needs


class ContractError(UserError, ValueError):
    """A network is not one that restores a single picture; says what it does instead."""


@dataclass(frozen=True)
class Contract:
    """The facts about a network that restoring a picture depends on.

    Attributes:
        in_chans: channels of input and output, 3 (RGB) or 1 (gray).
        upscale: scale of the output.
        size_multiple: sides of the input must be multiples of this.
        minimum_size: and at least this long.
    """

    in_chans: int
    upscale: int
    size_multiple: int = 1
    minimum_size: int = 1


def contract_of(net: nn.Module) -> Contract:
    """The contract of a network.

    A network that has the attributes ``in_chans``, ``upscale`` and ``size_multiple`` is believed
    (``minimum_size`` is 1 unless it has that too). Any other, those of BasicSR for example, is
    tried out: on torch's ``meta`` device, where operators only work out shapes, or, if it cannot
    run there, on a small picture.

    Raises:
        ContractError: it does not map a picture ``(B, C, H, W)`` to one of the same channels,
            enlarged by a whole number.

    Examples:
        >>> from torch import nn
        >>> from mambair.archs.contract import contract_of
        >>> contract_of(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)))
        Contract(in_chans=1, upscale=2, size_multiple=1, minimum_size=1)
    """
    in_chans, upscale, multiple = (
        getattr(net, name, None) for name in ("in_chans", "upscale", "size_multiple")
    )
    if isinstance(in_chans, int) and isinstance(upscale, int) and isinstance(multiple, int):
        return Contract(in_chans, upscale, multiple, getattr(net, "minimum_size", 1))
    on_meta = any(each.is_meta for each in net.parameters())
    reason = ""
    for device in ("meta",) if on_meta else ("meta", "cpu"):
        # A copy: some networks move tensors of their own to the device of what they are given.
        trial = copy.deepcopy(net).to(device).eval()
        for channels in _channels(trial):
            for multiple in _MULTIPLES if device == "meta" else _COMMON_MULTIPLES:
                # Odd times, so that twice this multiple does not fit; two sides, not one.
                times = _LEAST // multiple | 1
                try:
                    scale = _scale(trial, channels, multiple * times, multiple * (times + 2))
                except Exception as error:  # whatever a foreign network does with a size
                    # The first reason is that of the likeliest number of channels.
                    reason = reason or str(error).strip().partition("\n")[0] or repr(error)
                else:
                    return Contract(
                        channels, scale, multiple, _minimum_size(trial, channels, multiple, scale)
                    )
    raise ContractError(
        f"{type(net).__name__} does not map one picture (B, C, H, W) to one of as many channels, "
        f"enlarged by a whole number: {reason}"
    )


def _channels(net: nn.Module) -> Iterator[int]:
    """The numbers of channels to try, the likeliest first."""
    first = next((each for each in net.modules() if isinstance(each, nn.Conv2d)), None)
    named = [getattr(net, name, None) for name in ("num_in_ch", "in_channels")]
    wanted = [*named, first.in_channels if first is not None else None, 3, 1]
    yield from dict.fromkeys(each for each in wanted if each in (1, 3))


def _scale(net: nn.Module, channels: int, height: int, width: int) -> int:
    """The factor by which a network enlarges a picture of this size; raises if there is none."""
    first = next(net.parameters(), None)
    device = "meta" if first is None else first.device
    with torch.no_grad():
        output = net(torch.zeros(1, channels, height, width, device=device))
    if not isinstance(output, torch.Tensor):
        raise ContractError(f"it returns a {type(output).__name__}")
    shape = tuple(output.shape)
    scale = shape[-1] // width if len(shape) == 4 else 0
    if not scale or shape != (1, channels, scale * height, scale * width):
        raise ContractError(f"it returns {shape} for {(1, channels, height, width)}")
    return scale


def _minimum_size(net: nn.Module, channels: int, multiple: int, scale: int) -> int:
    least = multiple
    while least < _LEAST:
        with contextlib.suppress(Exception):  # whatever a foreign network does with a size
            if _scale(net, channels, least, least) == scale:
                break
        least += multiple
    return least if least > multiple else 1
