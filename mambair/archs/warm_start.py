"""Initial weights with which a light network is a bicubic interpolation.

A network that begins there needs no training to be as good as what it is compared with, so the
first iterations already improve on that. The network stays an ordinary one: every parameter is
trained, and only values differ from another initialization.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import nn

from mambair.imaging.resizing import cubic

_REACH = 2  # bicubic enlargement looks at most two pixels to each side


class LightNetwork(Protocol):
    """The layers around the body of a :class:`~mambair.archs.restoration_net.RestorationNet`."""

    in_chans: int
    upscale: int
    embed_dim: int

    @property
    def upsampler(self) -> str: ...
    @property
    def conv_first(self) -> nn.Conv2d: ...
    @property
    def conv_after_body(self) -> nn.Module: ...
    @property
    def upsample(self) -> nn.Sequential: ...
    @property
    def conv_last(self) -> nn.Conv2d: ...


@torch.no_grad()
def start_at_bicubic(net: LightNetwork) -> None:
    """Sets the weights outside the body so that the network interpolates bicubically.

    ``conv_first`` copies the 3×3 neighbors of a pixel into channels, ``upsample.0`` combines them
    with 5×5 weights of the cubic kernel (a = −0.5), and ``conv_after_body`` begins at zero, so that
    the body adds nothing yet. Within two pixels of the border the kernel meets zeros instead of
    mirrored pixels. A network of scale 1 returns its input at first: ``conv_last`` begins at zero.

    Args:
        net: a network with ``upsampler: pixelshuffledirect``, one ``resi_connection`` convolution
            and at least 9 channels a color, or with ``upsampler: ''``.

    Raises:
        ValueError: another network.
    """
    colors, scale = net.in_chans, net.upscale
    if not net.upsampler:  # scale 1, where the network adds to its input
        net.conv_last.weight.zero_()
        if net.conv_last.bias is not None:
            net.conv_last.bias.zero_()
        return
    after_body = net.conv_after_body
    if net.upsampler != "pixelshuffledirect" or not isinstance(after_body, nn.Conv2d):
        raise ValueError(
            "a bicubic start needs upsampler 'pixelshuffledirect' and resi_connection '1conv'"
        )
    if net.embed_dim < 9 * colors:
        raise ValueError(f"a bicubic start needs embed_dim {9 * colors}, got {net.embed_dim}")

    first = net.conv_first
    upsample = net.upsample[0]
    assert isinstance(upsample, nn.Conv2d) and upsample.bias is not None and first.bias is not None
    first.weight[: 9 * colors] = 0
    first.bias[: 9 * colors] = 0
    upsample.weight.zero_()
    upsample.bias.zero_()
    after_body.weight.zero_()
    if after_body.bias is not None:
        after_body.bias.zero_()

    phases = _phase_weights(scale)  # (scale, 5)
    for color in range(colors):
        for y in range(-1, 2):
            for x in range(-1, 2):
                first.weight[_channel(y, x, color, colors), color, 1 + y, 1 + x] = 1
        for phase_y in range(scale):
            for phase_x in range(scale):
                out = (color * scale + phase_y) * scale + phase_x  # as PixelShuffle reads it
                for tap_y in range(-_REACH, _REACH + 1):
                    for tap_x in range(-_REACH, _REACH + 1):
                        # a tap is a step of the second kernel and, beyond ±1, one of the first
                        step_y, step_x = np.clip((tap_y, tap_x), -1, 1)
                        channel = _channel(tap_y - step_y, tap_x - step_x, color, colors)
                        upsample.weight[out, channel, 1 + step_y, 1 + step_x] += float(
                            phases[phase_y, tap_y + _REACH] * phases[phase_x, tap_x + _REACH]
                        )


def _channel(y: int, x: int, color: int, colors: int) -> int:
    """Feature channel that holds the neighbor at ``(y, x)``."""
    return int(((y + 1) * 3 + x + 1) * colors + color)


def _phase_weights(scale: int) -> np.ndarray:
    """Weights ``(scale, 5)`` of the neighbors −2 … 2 for every position between two pixels."""
    offset = (np.arange(scale) + 0.5) / scale - 0.5
    distance = np.abs(offset[:, None] - np.arange(-_REACH, _REACH + 1))
    return cubic(distance)
