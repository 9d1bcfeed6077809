"""MambaIRv2UNet: the blocks of MambaIRv2 in the shape of a U. This project's own design.

The authors of MambaIRv2 announced a U-shaped network and published none; nothing here is theirs but
the block ("MambaIRv2: Attentive State Space Restoration", Guo et al., CVPR 2025, arXiv 2411.15269,
section 3.2). The frame is Restormer's, as MambaIRUNet has it. ``docs/design/mambairv2_unet.md``
says why windows and prompts are what they are on each level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from mambair.archs.attentive_ssm import Routing
from mambair.archs.blocks import init_linear
from mambair.archs.detection import detect_unet, width_ratio
from mambair.archs.feedforward import ConvFFN
from mambair.archs.mambairv2_blocks import AttentiveBlock
from mambair.archs.registry import register_arch
from mambair.archs.routed_network import RoutedNetwork
from mambair.archs.unet import LEVELS, MULTIPLE, RestorationUNet, check_levels
from mambair.ops.window_attention import relative_position_index
from mambair.signatures import suggests_arguments

_FIRST_BLOCKS = ("encoder_level1.0", "encoder_level2.0", "encoder_level3.0", "latent.0")


@register_arch
@suggests_arguments
class MambaIRv2UNet(RoutedNetwork, RestorationUNet):
    """The blocks of MambaIRv2 on four levels, as Restormer arranges its own.

    This project's own design, not the authors'. Lists have one entry for each level, of full, half,
    quarter and eighth size. The decoder of the first level and the refinement are twice as wide as
    the encoder of the first level, and have twice as many heads; otherwise they are like it.

    Args:
        inp_channels: channels of the input, 3 (RGB) or 1 (gray), or 6 (two RGB views) with
            ``dual_pixel_task``.
        out_channels: channels of the output.
        dim: channels C of the first level; the others have 2C, 4C and 8C.
        num_blocks: blocks of the four levels; encoder and decoder of a level have as many.
        num_refinement_blocks: blocks after the decoder.
        num_heads: attention heads of the four levels.
        window_size: window sides of the four levels, in tokens of the level. The input is padded
            so that all levels divide into windows: to multiples of 32 by default.
        num_tokens: prompts in the dictionaries of the four levels.
        inner_rank: ranks of these dictionaries.
        d_state: state size N of the scans.
        mlp_ratio: inner width of FFN and scan over the channels of the level.
        convffn_kernel_size: side of the FFN's depthwise kernel, odd.
        qkv_bias: whether the projection to queries, keys and values has a bias.
        bias: biases of the last convolution and of those that join decoder and encoder.
        dual_pixel_task: the input is a left and a right view of one scene.
        use_checkpoint: recompute blocks in the backward pass: less memory, more time.
        routing: how tokens choose their prompt in ``eval()``: ``"sampled"`` or ``"argmax"``
            (without noise). Training always samples.
        routing_seed: seed of the sampled routing in ``eval()``; ``None``: draw from PyTorch's
            global generator.
        scan_backend: backend of the selective scan, ``"auto"`` or a name, see
            :func:`mambair.ops.selective_scan`.

    Raises:
        TypeError: an unknown argument; names the nearest known one.
        ValueError: arguments that do not fit together.
    """

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 6),
        num_refinement_blocks: int = 4,
        num_heads: Sequence[int] = (2, 4, 8, 16),
        window_size: Sequence[int] = (8, 8, 8, 4),
        num_tokens: Sequence[int] = (64, 32, 16, 8),
        inner_rank: Sequence[int] = (32, 16, 16, 8),
        d_state: int = 16,
        mlp_ratio: float = 1.5,
        convffn_kernel_size: int = 5,
        qkv_bias: bool = True,
        bias: bool = False,
        dual_pixel_task: bool = False,
        use_checkpoint: bool = False,
        routing: Literal["sampled", "argmax"] = "sampled",
        routing_seed: int | None = 0,
        scan_backend: str = "auto",
    ) -> None:
        for name, values in (
            ("num_heads", num_heads),
            ("window_size", window_size),
            ("num_tokens", num_tokens),
            ("inner_rank", inner_rank),
        ):
            check_levels(name, values)
        for level, heads in enumerate(num_heads):
            if dim * 2**level % heads:
                raise ValueError(
                    f"num_heads {heads} of level {level + 1} does not divide its "
                    f"{dim * 2**level} channels"
                )
        if convffn_kernel_size % 2 == 0:
            raise ValueError(f"convffn_kernel_size must be odd, got {convffn_kernel_size}")
        built = [0] * LEVELS

        def block(level: int, channels: int) -> AttentiveBlock:
            number, built[level] = built[level], built[level] + 1
            window = window_size[level]
            return AttentiveBlock(
                dim=channels,
                d_state=d_state,
                num_heads=num_heads[level] * channels // (dim * 2**level),
                window_size=window,
                # Every other block that a picture meets at a size, whether encoder or decoder.
                shift=0 if number % 2 == 0 else window // 2,
                inner_rank=inner_rank[level],
                num_tokens=num_tokens[level],
                convffn_kernel_size=convffn_kernel_size,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                feed_forward=ConvFFN,
                block_index=sum(built) - 1,
            )

        padded_to = math.lcm(MULTIPLE, *(w * 2**level for level, w in enumerate(window_size)))
        super().__init__(
            inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, bias,
            dual_pixel_task, block, use_checkpoint, padded_to,
        )  # fmt: skip
        for window in set(window_size):
            index = relative_position_index(window)
            self.register_buffer(_index_name(window), index, persistent=False)
        self.window_size = tuple(window_size)
        self.set_routing(routing, routing_seed)
        self.apply(init_linear)
        self.set_scan_backend(scan_backend)

    @classmethod
    def detect(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Constructor arguments of a state dict; ``None``: it is another network's."""
        first = _FIRST_BLOCKS[0]
        kernel = state.get(f"{first}.convffn1.dwconv.depthwise_conv.0.weight")
        if kernel is None or f"{first}.assm.selectiveScan.A_logs" not in state:
            return None
        frame = detect_unet(state)
        widest = state["latent.0.convffn1.fc1.weight"].shape[0]
        tables = [state[f"{each}.win_mhsa.relative_position_bias_table"] for each in _FIRST_BLOCKS]
        dictionaries = [state[f"{each}.assm.embeddingB.weight"] for each in _FIRST_BLOCKS]
        return {
            **frame,
            "num_heads": [table.shape[1] for table in tables],
            "window_size": [(math.isqrt(table.shape[0]) + 1) // 2 for table in tables],
            "num_tokens": [each.shape[0] for each in dictionaries],
            "inner_rank": [each.shape[1] for each in dictionaries],
            "d_state": state[f"{first}.embeddingA.weight"].shape[1],
            # The widest level says most about the ratio: each level rounds its own width down.
            "mlp_ratio": width_ratio(widest, 8 * frame["dim"]),
            "convffn_kernel_size": kernel.shape[-1],
            "qkv_bias": f"{first}.wqkv.bias" in state,
        }

    def _block_arguments(self, x: Tensor) -> list[tuple[Tensor, Routing]]:
        routing = self._current_routing(x.device)
        return [(getattr(self, _index_name(window)), routing) for window in self.window_size]


def _index_name(window: int) -> str:
    """Of the buffer with the relative positions in a window, which levels may share."""
    return f"relative_position_index_{window}"
