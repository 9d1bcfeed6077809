"""The frame that MambaIR and MambaIRv2 share: normalization, stages, long skip, reconstruction.

State-dict keys are those of the checkpoints published by the authors of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.archs.blocks import run_blocks
from mambair.archs.feedforward import convolve_tokens
from mambair.archs.padding import crop, mirror_to_multiple
from mambair.archs.selective_ssm import ScanNetwork

_RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
_HEAD_CHANNELS = 64  # of the classic and the real-world reconstruction

Upsampler = Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv", ""]
ResidualConnection = Literal["1conv", "3conv"]


class _PatchEmbed(nn.Module):
    def __init__(self, dim: int, patch_norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if patch_norm else None


class RestorationNet(ScanNetwork):
    """Everything around the stages of a restoration network.

    A subclass fills ``layers`` with stages and says in :meth:`_stage_arguments` what their blocks
    need in addition to the features. Any size is accepted: the network pads its input and crops
    its output.

    Args:
        in_chans: colors of input and output, 3 (RGB) or 1 (gray).
        embed_dim: channels C.
        patch_norm: LayerNorm before the first stage.
        upscale: scale of the output.
        img_range: factor of the normalized input.
        upsampler: reconstruction: ``"pixelshuffle"`` (classic SR), ``"pixelshuffledirect"``
            (light SR), ``"nearest+conv"`` (real-world SR, ×4), ``""`` (denoising, JPEG artifacts).
        resi_connection: convolution after the body: ``"1conv"`` or ``"3conv"``.
        padded_to: multiple of which the network makes the sides of its input.

    Raises:
        ValueError: arguments that do not fit together.
    """

    mean: Tensor
    size_multiple: ClassVar[int] = 1  # of the input: any size from 1×1 is accepted

    def __init__(
        self,
        in_chans: int,
        embed_dim: int,
        patch_norm: bool,
        upscale: int,
        img_range: float,
        upsampler: Upsampler,
        resi_connection: ResidualConnection,
        padded_to: int = 1,
    ) -> None:
        super().__init__()
        if not upsampler and upscale == 2:
            upscale = 1  # what the published defaults, 2 and no upsampler, mean
        _check_scale(upscale, upsampler)
        self.in_chans = in_chans
        self.embed_dim = embed_dim
        self.upscale = upscale
        self.img_range = img_range
        self.upsampler = upsampler
        self.padded_to = padded_to

        mean = torch.tensor(_RGB_MEAN if in_chans == 3 else (0.0,) * in_chans)
        self.register_buffer("mean", mean.view(1, in_chans, 1, 1), persistent=False)
        self.conv_first = _conv(in_chans, embed_dim)
        self.patch_embed = _PatchEmbed(embed_dim, patch_norm)
        self.layers = nn.ModuleList()
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = residual_conv(embed_dim, resi_connection)
        self._build_reconstruction()

    def warm_start(self, kind: Literal["bicubic"]) -> None:
        """Sets initial weights with which the network interpolates bicubically.

        Args:
            kind: ``"bicubic"``, the only one so far.

        Raises:
            ValueError: another kind, or a network that cannot; see
                :func:`mambair.archs.warm_start.start_at_bicubic`.
        """
        from mambair.archs.warm_start import start_at_bicubic

        if kind != "bicubic":
            raise ValueError(f"warm_start must be 'bicubic', got {kind!r}")
        start_at_bicubic(self)

    def sharding_units(self) -> Iterable[nn.Module]:
        """The modules whose weights are gathered one after the other where they are shared out."""
        return self.layers

    def _build_reconstruction(self) -> None:
        """Creates the convolutions after the body, under their published names."""
        upscale, embed_dim, out_chans = self.upscale, self.embed_dim, self.in_chans
        if self.upsampler == "pixelshuffle":
            self.conv_before_upsample = _conv_leaky_relu(embed_dim, _HEAD_CHANNELS)
            factors = [3] if upscale == 3 else [2] * int(math.log2(upscale))
            self.upsample = nn.Sequential()
            for factor in factors:
                self.upsample.append(_conv(_HEAD_CHANNELS, _HEAD_CHANNELS * factor**2))
                self.upsample.append(nn.PixelShuffle(factor))
            self.conv_last = _conv(_HEAD_CHANNELS, out_chans)
        elif self.upsampler == "pixelshuffledirect":
            self.upsample = nn.Sequential(
                _conv(embed_dim, upscale**2 * out_chans), nn.PixelShuffle(upscale)
            )
        elif self.upsampler == "nearest+conv":
            self.conv_before_upsample = _conv_leaky_relu(embed_dim, _HEAD_CHANNELS)
            self.conv_up1 = _conv(_HEAD_CHANNELS, _HEAD_CHANNELS)
            self.conv_up2 = _conv(_HEAD_CHANNELS, _HEAD_CHANNELS)
            self.conv_hr = _conv(_HEAD_CHANNELS, _HEAD_CHANNELS)
            self.conv_last = _conv(_HEAD_CHANNELS, out_chans)
        else:
            self.conv_last = _conv(embed_dim, out_chans)

    def forward(self, x: Tensor) -> Tensor:
        """Restores a batch.

        Args:
            x: ``(B, in_chans, H, W)`` in [0, 1], RGB or gray, any size from 1×1.

        Returns:
            ``(B, in_chans, upscale·H, upscale·W)``, not clamped.
        """
        height, width = x.shape[-2:]
        x = mirror_to_multiple(x, self.padded_to)
        x = (x - self.mean) * self.img_range
        x = self._reconstruct(x, self.conv_first(x))
        x = x / self.img_range + self.mean
        return crop(x, height * self.upscale, width * self.upscale)

    def _stage_arguments(self, x: Tensor) -> tuple[Any, ...]:
        """Further arguments of every block for a forward pass on features like ``x``."""
        return ()

    def _embed(self, x: Tensor) -> Tensor:
        """Features ``(B, H, W, C)`` as the first stage takes them."""
        if self.patch_embed.norm is not None:
            x = self.patch_embed.norm(x)
        return x

    def _body(self, x: Tensor) -> Tensor:
        """Features ``(B, C, H, W)`` through stages and norm."""
        x = self._embed(x.permute(0, 2, 3, 1))  # (B, H, W, C)
        arguments = self._stage_arguments(x)
        for stage in self.layers:
            x = stage(x, *arguments)
        features: Tensor = self.norm(x)
        return features.permute(0, 3, 1, 2)

    def _reconstruct(self, x: Tensor, first: Tensor) -> Tensor:
        """Body, long skip and upsampling of the normalized input and its first features."""
        features = self.conv_after_body(self._body(first)) + first
        result: Tensor
        if self.upsampler == "pixelshuffle":
            result = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        elif self.upsampler == "pixelshuffledirect":
            result = self.upsample(features)
        elif self.upsampler == "nearest+conv":
            features = self.conv_before_upsample(features)
            for conv in (self.conv_up1, self.conv_up2):
                features = F.interpolate(features, scale_factor=2, mode="nearest")
                features = F.leaky_relu(conv(features), 0.2)
            result = self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))
        else:
            result = x + self.conv_last(features)
        return result


class _BlockList(nn.Module):
    def __init__(self, name: str, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.add_module(name, nn.ModuleList(blocks))


class Stage(nn.Module):
    """Blocks and a convolution, with a residual connection around them.

    Args:
        blocks: the blocks, in order, over ``(B, H, W, C)``.
        conv: convolution after the blocks.
        use_checkpoint: recompute every block in the backward pass instead of keeping its
            activations.
        list_name: name of the list of blocks in the state dict.
    """

    def __init__(
        self,
        blocks: list[nn.Module],
        conv: nn.Module,
        use_checkpoint: bool,
        list_name: Literal["layers", "blocks"],
    ) -> None:
        super().__init__()
        self.residual_group = _BlockList(list_name, blocks)
        self.conv = conv
        self.use_checkpoint = use_checkpoint
        self.list_name = list_name

    def forward(self, x: Tensor, *arguments: Any) -> Tensor:
        """``(B, H, W, C)`` to the same; the arguments go to every block."""
        blocks = self.residual_group.get_submodule(self.list_name).children()
        y = run_blocks(blocks, x, self.use_checkpoint, arguments)
        return convolve_tokens(self.conv, y) + x


def _check_scale(upscale: int, upsampler: str) -> None:
    power_of_two = upscale >= 1 and upscale & (upscale - 1) == 0
    possible = {
        "pixelshuffle": (power_of_two or upscale == 3, "a power of 2, or 3"),
        "pixelshuffledirect": (upscale >= 1, "at least 1"),
        "nearest+conv": (upscale == 4, "4"),
        "": (upscale == 1, "1"),
    }
    if upsampler not in possible:
        raise ValueError(f"upsampler must be one of {list(possible)}, got {upsampler!r}")
    fits, wanted = possible[upsampler]
    if not fits:
        raise ValueError(f"upscale must be {wanted} with upsampler {upsampler!r}, got {upscale}")


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _conv_leaky_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, out_channels), nn.LeakyReLU(0.01, inplace=True))


def residual_conv(dim: int, kind: str) -> nn.Module:
    """The convolution after a stage: one 3×3, or three with a bottleneck of C/4."""
    if kind == "1conv":
        return _conv(dim, dim)
    if kind == "3conv":
        return nn.Sequential(
            _conv(dim, dim // 4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(dim // 4, dim // 4, 1),
            nn.LeakyReLU(0.2, inplace=True),
            _conv(dim // 4, dim),
        )
    raise ValueError(f"resi_connection must be '1conv' or '3conv', got {kind!r}")
