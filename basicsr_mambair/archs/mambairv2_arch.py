"""MambaIRv2 and MambaIRv2Light.

"MambaIRv2: Attentive State Space Restoration", Guo et al., CVPR 2025, arXiv 2411.15269.
State-dict keys are those of the checkpoints published by the authors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_mambair.archs.attentive_ssm import Routing, SelectiveScan
from basicsr_mambair.archs.feedforward import ConvFFN, GatedConvFFN
from basicsr_mambair.archs.mambairv2_blocks import AttentiveBlock, FeedForward, Stage
from basicsr_mambair.archs.window_attention import relative_position_index
from basicsr_mambair.ops.selective_scan import backend_names
from basicsr_mambair.utils.arguments import suggests_arguments

_RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
_HEAD_CHANNELS = 64  # of the classic and the real-world reconstruction

Upsampler = Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv", ""]


class _PatchEmbed(nn.Module):
    def __init__(self, dim: int, patch_norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if patch_norm else None


@suggests_arguments
class MambaIRv2(nn.Module):
    """Attentive state-space restoration network.

    Args:
        img_size: side of the training input; only ``ape`` depends on it.
        patch_size: must be 1; kept because the published option files may name it.
        in_chans: colours of input and output, 3 (RGB) or 1 (gray).
        embed_dim: channels C.
        depths: blocks of every stage.
        d_state: state size N.
        num_heads: attention heads of every stage.
        window_size: window side w of the attention.
        inner_rank: rank r of the prompt dictionary.
        num_tokens: prompts T in the dictionary.
        convffn_kernel_size: side of the FFN's depthwise kernel, odd.
        mlp_ratio: inner width of FFN and scan over C.
        qkv_bias: whether the projection to queries, keys and values has a bias.
        ape: add a learned absolute position embedding.
        patch_norm: LayerNorm before the first stage.
        use_checkpoint: recompute blocks in the backward pass: less memory, more time.
        upscale: scale of the output.
        img_range: factor of the normalised input, 1 in every published network.
        upsampler: reconstruction: ``"pixelshuffle"`` (classic SR), ``"pixelshuffledirect"``
            (light SR), ``"nearest+conv"`` (real-world SR, ×4), ``""`` (denoising, JPEG artefacts).
        resi_connection: convolution after a stage: ``"1conv"`` or ``"3conv"``.
        routing: how tokens choose their prompt in ``eval()``: ``"sampled"`` or ``"argmax"``
            (without noise). Training always samples, from PyTorch's global generator.
        routing_seed: seed of the sampled routing in ``eval()``: the same picture gives the same
            result every time, and no generator is read or advanced. ``None``: draw from PyTorch's
            global generator, as the published code does.
        scan_backend: backend of the selective scan, ``"auto"`` or a name, see
            :func:`basicsr_mambair.ops.selective_scan`.

    Raises:
        TypeError: an unknown argument; names the nearest known one.
        ValueError: arguments that do not fit together.
    """

    feed_forward: FeedForward = ConvFFN
    mean: Tensor
    relative_position_index_SA: Tensor  # noqa: N815  (a key of the published checkpoints)

    def __init__(
        self,
        img_size: int = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 48,
        depths: Sequence[int] = (6, 6, 6, 6),
        d_state: int = 8,
        num_heads: Sequence[int] = (4, 4, 4, 4),
        window_size: int = 16,
        inner_rank: int = 32,
        num_tokens: int = 64,
        convffn_kernel_size: int = 5,
        mlp_ratio: float = 2.0,
        qkv_bias: bool = True,
        ape: bool = False,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: Upsampler = "",
        resi_connection: Literal["1conv", "3conv"] = "1conv",
        routing: Literal["sampled", "argmax"] = "sampled",
        routing_seed: int | None = 0,
        scan_backend: str = "auto",
    ) -> None:
        super().__init__()
        if not upsampler and upscale == 2:
            upscale = 1  # what the published defaults, 2 and no upsampler, mean
        _check_arguments(
            patch_size, embed_dim, depths, num_heads, convffn_kernel_size, upscale, upsampler
        )
        self.in_chans = in_chans
        self.embed_dim = embed_dim
        self.window_size = window_size
        self.upscale = upscale
        self.img_range = img_range
        self.upsampler = upsampler
        self.set_routing(routing, routing_seed)
        self.set_training_noise("global")

        mean = torch.tensor(_RGB_MEAN if in_chans == 3 else (0.0,) * in_chans)
        self.register_buffer("mean", mean.view(1, in_chans, 1, 1), persistent=False)
        self.register_buffer("relative_position_index_SA", relative_position_index(window_size))

        self.conv_first = _conv(in_chans, embed_dim)
        self.patch_embed = _PatchEmbed(embed_dim, patch_norm)
        self.absolute_pos_embed: nn.Parameter | None = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.empty(1, img_size**2, embed_dim))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)

        self.layers = nn.ModuleList()
        for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            blocks = [
                AttentiveBlock(
                    dim=embed_dim,
                    d_state=d_state,
                    num_heads=heads,
                    window_size=window_size,
                    shift=0 if j % 2 == 0 else window_size // 2,
                    inner_rank=inner_rank,
                    num_tokens=num_tokens,
                    convffn_kernel_size=convffn_kernel_size,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    feed_forward=self.feed_forward,
                    block_index=sum(depths[:stage]) + j,
                )
                for j in range(depth)
            ]
            conv = _residual_conv(embed_dim, resi_connection)
            self.layers.append(Stage(blocks, conv, use_checkpoint))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = _residual_conv(embed_dim, resi_connection)
        self._build_reconstruction()

        self.apply(_init_weights)
        self.set_scan_backend(scan_backend)

    def set_routing(
        self, routing: Literal["sampled", "argmax"], routing_seed: int | None = 0
    ) -> None:
        """Changes how tokens choose their prompt in ``eval()``; see the class's arguments."""
        if routing not in ("sampled", "argmax"):
            raise ValueError(f"routing must be 'sampled' or 'argmax', got {routing!r}")
        self.routing = routing
        self.routing_seed = routing_seed

    def set_training_noise(self, noise: Literal["global", "fused"]) -> None:
        """Changes where the Gumbel noise of training comes from.

        Args:
            noise: ``"global"`` (at first): PyTorch's global generator, one tensor a block, the draw
                of the published code; ``"fused"``: one number of that generator a forward pass, and
                a hash of it and the element, which a kernel computes where it is used.
        """
        if noise not in ("global", "fused"):
            raise ValueError(f"training noise must be 'global' or 'fused', got {noise!r}")
        self.training_noise = noise

    def set_scan_backend(self, backend: str) -> None:
        """Changes the backend of the selective scan in every block; see the class's arguments."""
        if backend not in ("auto", *backend_names()):
            names = ["auto", *backend_names()]
            raise ValueError(f"scan_backend must be one of {names}, got {backend!r}")
        for module in self.modules():
            if isinstance(module, SelectiveScan):
                module.backend = backend

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
        x = _mirror_to_multiple(x, self.window_size)
        x = (x - self.mean) * self.img_range
        x = self._reconstruct(x, self.conv_first(x))
        x = x / self.img_range + self.mean
        return x[..., : height * self.upscale, : width * self.upscale]

    def _current_routing(self, device: torch.device) -> Routing:
        if self.training and self.training_noise == "fused":
            seed = torch.randint(-(2**31), 2**31 - 1, (1,), dtype=torch.int32, device=device)
            return Routing("fresh", seed)
        if self.training:
            return Routing("global")
        if self.routing == "argmax":
            return Routing("argmax")
        if self.routing_seed is None:
            return Routing("global")
        return Routing("seeded", self.routing_seed)

    def _body(self, x: Tensor) -> Tensor:
        """Features ``(B, C, H, W)`` through stages and norm, H and W multiples of the window."""
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C)
        if self.patch_embed.norm is not None:
            x = self.patch_embed.norm(x)
        if self.absolute_pos_embed is not None:
            x = x + self._position_embedding(x.shape[1], x.shape[2])
        routing = self._current_routing(x.device)
        for stage in self.layers:
            x = stage(x, self.relative_position_index_SA, routing)
        return self.norm(x).permute(0, 3, 1, 2)

    def _position_embedding(self, height: int, width: int) -> Tensor:
        """Absolute position embedding ``(1, H, W, C)``, resampled to the size of the input."""
        assert self.absolute_pos_embed is not None
        side = math.isqrt(self.absolute_pos_embed.shape[1])
        embedding = self.absolute_pos_embed.unflatten(1, (side, side))
        if (height, width) == (side, side):
            return embedding
        resized = F.interpolate(
            embedding.permute(0, 3, 1, 2), (height, width), mode="bicubic", align_corners=False
        )
        return resized.permute(0, 2, 3, 1)

    def _reconstruct(self, x: Tensor, first: Tensor) -> Tensor:
        """Body, long skip and upsampling of the normalised input and its first features."""
        features = self.conv_after_body(self._body(first)) + first
        if self.upsampler == "pixelshuffle":
            return self.conv_last(self.upsample(self.conv_before_upsample(features)))
        if self.upsampler == "pixelshuffledirect":
            return self.upsample(features)
        if self.upsampler == "nearest+conv":
            features = self.conv_before_upsample(features)
            for conv in (self.conv_up1, self.conv_up2):
                features = F.interpolate(features, scale_factor=2, mode="nearest")
                features = F.leaky_relu(conv(features), 0.2)
            return self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))
        return x + self.conv_last(features)


class MambaIRv2Light(MambaIRv2):
    """MambaIRv2 with the gated FFN of the light super-resolution models.

    Arguments, input and output are those of :class:`MambaIRv2`.
    """

    feed_forward = GatedConvFFN


def _check_arguments(
    patch_size: int,
    embed_dim: int,
    depths: Sequence[int],
    num_heads: Sequence[int],
    convffn_kernel_size: int,
    upscale: int,
    upsampler: str,
) -> None:
    if patch_size != 1:
        raise ValueError(f"patch_size must be 1, got {patch_size}")
    if len(depths) != len(num_heads):
        raise ValueError(
            f"depths {list(depths)} and num_heads {list(num_heads)} need one entry a stage each"
        )
    for heads in num_heads:
        if embed_dim % heads:
            raise ValueError(f"embed_dim {embed_dim} is no multiple of num_heads {heads}")
    if convffn_kernel_size % 2 == 0:
        raise ValueError(f"convffn_kernel_size must be odd, got {convffn_kernel_size}")
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


def _residual_conv(dim: int, kind: str) -> nn.Module:
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


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _mirror_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pads right and bottom to a multiple by mirroring with the edge pixel, as often as needed."""
    for dim in (-2, -1):
        size = x.shape[dim]
        padded = (size + multiple - 1) // multiple * multiple
        # A compiled or exported network must not depend on whether the size fits.
        if torch.compiler.is_compiling() or padded != size:
            index = torch.arange(padded, device=x.device) % (2 * size)
            index = torch.where(index < size, index, 2 * size - 1 - index)
            x = x.index_select(dim, index)
    return x
