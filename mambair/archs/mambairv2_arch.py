"""MambaIRv2 and MambaIRv2Light.

"MambaIRv2: Attentive State Space Restoration", Guo et al., CVPR 2025, arXiv 2411.15269.
State-dict keys are those of the checkpoints published by the authors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mambair.archs.attentive_ssm import Routing
from mambair.archs.blocks import init_linear
from mambair.archs.detection import detect_frame, width_ratio
from mambair.archs.feedforward import ConvFFN, GatedConvFFN
from mambair.archs.mambairv2_blocks import AttentiveBlock
from mambair.archs.registry import register_arch
from mambair.archs.restoration_net import (
    ResidualConnection,
    RestorationNet,
    Stage,
    Upsampler,
    residual_conv,
)
from mambair.archs.routed_network import RoutedNetwork
from mambair.ops.window_attention import relative_position_index
from mambair.signatures import suggests_arguments

_BLOCK = "layers.0.residual_group.layers.0"


@register_arch
@suggests_arguments
class MambaIRv2(RoutedNetwork, RestorationNet):
    """Attentive state-space restoration network.

    Args:
        img_size: side of the training input; only ``ape`` depends on it.
        patch_size: must be 1; kept because the published option files may name it.
        in_chans: colors of input and output, 3 (RGB) or 1 (gray).
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
        img_range: factor of the normalized input, 1 in every published network.
        upsampler: reconstruction: ``"pixelshuffle"`` (classic SR), ``"pixelshuffledirect"``
            (light SR), ``"nearest+conv"`` (real-world SR, ×4), ``""`` (denoising, JPEG artifacts).
        resi_connection: convolution after a stage: ``"1conv"`` or ``"3conv"``.
        routing: how tokens choose their prompt in ``eval()``: ``"sampled"`` or ``"argmax"``
            (without noise). Training always samples, from PyTorch's global generator.
        routing_seed: seed of the sampled routing in ``eval()``: the same picture gives the same
            result every time, and no generator is read or advanced. ``None``: draw from PyTorch's
            global generator, as the published code does.
        scan_backend: backend of the selective scan, ``"auto"`` or a name, see
            :func:`mambair.ops.selective_scan`.

    Raises:
        TypeError: an unknown argument; names the nearest known one.
        ValueError: arguments that do not fit together.
    """

    feed_forward: ClassVar[type[ConvFFN] | type[GatedConvFFN]] = ConvFFN
    _ffn_kernel: ClassVar[str] = "dwconv.depthwise_conv.0.weight"  # of this FFN alone
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
        resi_connection: ResidualConnection = "1conv",
        routing: Literal["sampled", "argmax"] = "sampled",
        routing_seed: int | None = 0,
        scan_backend: str = "auto",
    ) -> None:
        super().__init__(
            in_chans,
            embed_dim,
            patch_norm,
            upscale,
            img_range,
            upsampler,
            resi_connection,
            padded_to=window_size,
        )
        _check_arguments(patch_size, embed_dim, depths, num_heads, convffn_kernel_size)
        self.window_size = window_size
        self.set_routing(routing, routing_seed)

        self.register_buffer("relative_position_index_SA", relative_position_index(window_size))
        self.absolute_pos_embed: nn.Parameter | None = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.empty(1, img_size**2, embed_dim))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)

        for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            blocks: list[nn.Module] = [
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
            conv = residual_conv(embed_dim, resi_connection)
            self.layers.append(Stage(blocks, conv, use_checkpoint, "layers"))

        self.apply(init_linear)
        self.set_scan_backend(scan_backend)

    @classmethod
    def detect(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Constructor arguments of a state dict; ``None``: it is another network's."""
        kernel = state.get(f"{_BLOCK}.convffn1.{cls._ffn_kernel}")
        if kernel is None or f"{_BLOCK}.assm.selectiveScan.A_logs" not in state:
            return None
        frame = detect_frame(state, "layers")
        hidden_dim = state[f"{_BLOCK}.convffn1.fc1.weight"].shape[0]
        inner_rank, d_state = state[f"{_BLOCK}.embeddingA.weight"].shape
        bias_tables = [
            state[f"layers.{i}.residual_group.layers.0.win_mhsa.relative_position_bias_table"]
            for i in range(len(frame["depths"]))
        ]
        arguments: dict[str, Any] = {
            **frame,
            "d_state": d_state,
            "num_heads": [table.shape[1] for table in bias_tables],
            "window_size": (math.isqrt(bias_tables[0].shape[0]) + 1) // 2,
            "inner_rank": inner_rank,
            "num_tokens": state[f"{_BLOCK}.assm.embeddingB.weight"].shape[0],
            "convffn_kernel_size": kernel.shape[-1],
            "mlp_ratio": width_ratio(hidden_dim, frame["embed_dim"]),
            "qkv_bias": f"{_BLOCK}.wqkv.bias" in state,
            "ape": "absolute_pos_embed" in state,
        }
        if arguments["ape"]:
            arguments["img_size"] = math.isqrt(state["absolute_pos_embed"].shape[1])
        return arguments

    def _stage_arguments(self, x: Tensor) -> tuple[Tensor, Routing]:
        return self.relative_position_index_SA, self._current_routing(x.device)

    def _embed(self, x: Tensor) -> Tensor:
        x = super()._embed(x)
        if self.absolute_pos_embed is None:
            return x
        return x + self._position_embedding(x.shape[1], x.shape[2])

    def _position_embedding(self, height: int, width: int) -> Tensor:
        """Absolute position embedding ``(1, H, W, C)``, resampled to the size of the input."""
        assert self.absolute_pos_embed is not None
        side = math.isqrt(self.absolute_pos_embed.shape[1])
        embedding = self.absolute_pos_embed.view(1, side, side, -1)
        if (height, width) == (side, side):
            return embedding
        resized: Tensor = F.interpolate(
            embedding.permute(0, 3, 1, 2), (height, width), mode="bicubic", align_corners=False
        )
        return resized.permute(0, 2, 3, 1)


@register_arch
class MambaIRv2Light(MambaIRv2):
    """MambaIRv2 with the gated FFN of the light super-resolution models.

    Arguments, input and output are those of :class:`MambaIRv2`.
    """

    feed_forward = GatedConvFFN
    _ffn_kernel = "sg.conv.weight"


def _check_arguments(
    patch_size: int,
    embed_dim: int,
    depths: Sequence[int],
    num_heads: Sequence[int],
    convffn_kernel_size: int,
) -> None:
    if patch_size != 1:
        raise ValueError(f"patch_size must be 1, got {patch_size}")
    if len(depths) != len(num_heads):
        raise ValueError(
            f"depths {list(depths)} and num_heads {list(num_heads)} need one entry a stage each"
        )
    for heads in num_heads:
        if embed_dim % heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {heads}")
    if convffn_kernel_size % 2 == 0:
        raise ValueError(f"convffn_kernel_size must be odd, got {convffn_kernel_size}")
