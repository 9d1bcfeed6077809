"""The frame of networks that are a U: four levels, each of half the size and twice the channels.

"Restormer: Efficient Transformer for High-Resolution Image Restoration", Zamir et al., CVPR 2022,
arXiv 2111.09881, section 3; MambaIR uses it for real noise. State-dict keys are those of the
published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from mambair.archs.blocks import run_blocks
from mambair.archs.padding import crop, mirror_to_multiple
from mambair.archs.selective_ssm import ScanNetwork

LEVELS = 4
MULTIPLE = 2 ** (LEVELS - 1)  # of the sides: every level halves them


class RestorationUNet(ScanNetwork):
    """Everything around the blocks of a U-shaped restoration network.

    Any size is accepted: the network pads its input and crops its output.

    Args:
        inp_channels: channels of the input.
        out_channels: channels of the output, the same unless ``dual_pixel_task``.
        dim: channels C of the first level; the others have 2C, 4C and 8C.
        num_blocks: blocks of the four levels; encoder and decoder of a level have as many.
        num_refinement_blocks: blocks after the decoder, at full size and 2C channels.
        bias: biases of the last convolution and of those that join decoder and encoder.
        dual_pixel_task: the input is a left and a right view of one scene, which the output is not
            added to; its first features are added to the last instead.
        block: makes one block over ``(B, H, W, C)`` from the number of its level (0 to 3) and its
            channels; called in the order in which a picture passes through the blocks.
        use_checkpoint: recompute blocks in the backward pass: less memory, more time.
        padded_to: multiple of which the network makes the sides of its input, itself one of 8.

    Raises:
        ValueError: arguments that do not fit together.
    """

    size_multiple: ClassVar[int] = 1  # of the input: any size from 1×1 is accepted
    upscale: ClassVar[int] = 1

    def __init__(
        self,
        inp_channels: int,
        out_channels: int,
        dim: int,
        num_blocks: Sequence[int],
        num_refinement_blocks: int,
        bias: bool,
        dual_pixel_task: bool,
        block: Callable[[int, int], nn.Module],
        use_checkpoint: bool,
        padded_to: int = MULTIPLE,
    ) -> None:
        super().__init__()
        check_levels("num_blocks", num_blocks)
        if dim % 2:
            raise ValueError(f"dim must be even, got {dim}: a level halves its channels to shrink")
        if not dual_pixel_task and inp_channels != out_channels:
            raise ValueError(
                f"out_channels must be inp_channels, {inp_channels}, got {out_channels}: the input "
                "is added to the output (unless dual_pixel_task)"
            )
        if not dual_pixel_task:  # two views are not a picture, so the contract is not stated
            self.in_chans = inp_channels
        self.dual_pixel_task = dual_pixel_task
        self.use_checkpoint = use_checkpoint
        self.padded_to = padded_to

        def blocks(level: int, channels: int, depth: int) -> nn.ModuleList:
            return nn.ModuleList(block(level, channels) for _ in range(depth))

        first, second, third, fourth = (dim * 2**index for index in range(LEVELS))
        self.patch_embed = _PatchEmbed(inp_channels, first)
        self.encoder_level1 = blocks(0, first, num_blocks[0])
        self.down1_2 = _Downsample(first)
        self.encoder_level2 = blocks(1, second, num_blocks[1])
        self.down2_3 = _Downsample(second)
        self.encoder_level3 = blocks(2, third, num_blocks[2])
        self.down3_4 = _Downsample(third)
        self.latent = blocks(3, fourth, num_blocks[3])
        self.up4_3 = _Upsample(fourth)
        self.reduce_chan_level3 = nn.Conv2d(fourth, third, 1, bias=bias)
        self.decoder_level3 = blocks(2, third, num_blocks[2])
        self.up3_2 = _Upsample(third)
        self.reduce_chan_level2 = nn.Conv2d(third, second, 1, bias=bias)
        self.decoder_level2 = blocks(1, second, num_blocks[1])
        self.up2_1 = _Upsample(second)
        # The features of the first level are joined to its encoder's and stay 2C wide.
        self.decoder_level1 = blocks(0, second, num_blocks[0])
        self.refinement = blocks(0, second, num_refinement_blocks)
        if dual_pixel_task:
            self.skip_conv = nn.Conv2d(first, second, 1, bias=bias)
        self.output = nn.Conv2d(second, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Restores a batch.

        Args:
            x: ``(B, inp_channels, H, W)`` in [0, 1], any size from 1×1.

        Returns:
            ``(B, out_channels, H, W)``, not clamped.
        """
        height, width = x.shape[-2:]
        # As the published test pads the network's input, so that any size gives its result.
        padded = mirror_to_multiple(x, self.padded_to, edge=False)
        of_level = self._block_arguments(padded)
        first = self.patch_embed(padded)  # (B, C, H, W)
        encoded1 = self._run(self.encoder_level1, first, of_level[0])
        encoded2 = self.down1_2(encoded1)  # (B, 2C, H/2, W/2)
        encoded2 = self._run(self.encoder_level2, encoded2, of_level[1])
        encoded3 = self.down2_3(encoded2)  # (B, 4C, H/4, W/4)
        encoded3 = self._run(self.encoder_level3, encoded3, of_level[2])
        latent = self.down3_4(encoded3)  # (B, 8C, H/8, W/8)
        latent = self._run(self.latent, latent, of_level[3])
        joined = self.reduce_chan_level3(torch.cat([self.up4_3(latent), encoded3], 1))
        decoded = self._run(self.decoder_level3, joined, of_level[2])  # (B, 4C, H/4, W/4)
        joined = self.reduce_chan_level2(torch.cat([self.up3_2(decoded), encoded2], 1))
        decoded = self._run(self.decoder_level2, joined, of_level[1])  # (B, 2C, H/2, W/2)
        joined = torch.cat([self.up2_1(decoded), encoded1], 1)  # (B, 2C, H, W)
        decoded = self._run(self.decoder_level1, joined, of_level[0])
        decoded = self._run(self.refinement, decoded, of_level[0])
        if self.dual_pixel_task:
            decoded = decoded + self.skip_conv(first)
        y = crop(self.output(decoded), height, width)
        return y if self.dual_pixel_task else y + x

    def _block_arguments(self, x: Tensor) -> Sequence[tuple[Any, ...]]:
        """Further arguments of the blocks of every level for a forward pass on ``x``."""
        return [()] * LEVELS

    def _run(self, level: nn.ModuleList, x: Tensor, arguments: tuple[Any, ...]) -> Tensor:
        """The blocks of a level, over ``(B, C, H, W)``."""
        tokens = rearrange(x, "b c h w -> b h w c")
        tokens = run_blocks(level, tokens, self.use_checkpoint, arguments)
        return rearrange(tokens, "b h w c -> b c h w")


def check_levels(name: str, values: Sequence[int]) -> None:
    """Raises a ``ValueError`` unless an argument has a number of at least 1 for every level."""
    if len(values) != LEVELS:
        raise ValueError(f"{name} must be {LEVELS} numbers, one a level, got {values}")
    if min(values) < 1:
        raise ValueError(f"{name} must be at least 1 a level, got {values}")


class _PatchEmbed(nn.Module):
    """The first convolution, under its published name; it never has a bias."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj(x)
        return y


class _Downsample(nn.Module):
    """``(B, C, H, W)`` to ``(B, 2C, H/2, W/2)``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        conv = nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False)
        self.body = nn.Sequential(conv, nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


class _Upsample(nn.Module):
    """``(B, C, H, W)`` to ``(B, C/2, 2H, 2W)``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        conv = nn.Conv2d(dim, dim * 2, 3, padding=1, bias=False)
        self.body = nn.Sequential(conv, nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y
