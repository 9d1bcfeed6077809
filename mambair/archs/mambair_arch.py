"""MambaIR, the first version: four scans a block instead of one.

"MambaIR: A Simple Baseline for Image Restoration with State-Space Model", Guo et al., ECCV 2024,
arXiv 2402.15648. State-dict keys are those of the checkpoints published by the authors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mambair.archs.blocks import init_linear
from mambair.archs.detection import detect_frame, width_ratio
from mambair.archs.registry import register_arch
from mambair.archs.restoration_net import (
    ResidualConnection,
    RestorationNet,
    Stage,
    Upsampler,
    residual_conv,
)
from mambair.archs.vision_block import VisionStateSpaceBlock, check_drop_path
from mambair.signatures import suggests_arguments


@register_arch
@suggests_arguments
class MambaIR(RestorationNet):
    """The state-space restoration network that MambaIRv2 is compared with.

    Args:
        img_size: side of the training input; kept because option files name it.
        patch_size: must be 1; kept because option files may name it.
        in_chans: colors of input and output, 3 (RGB) or 1 (gray).
        embed_dim: channels C.
        depths: blocks of every stage.
        d_state: state size N.
        mlp_ratio: inner width of the scan over C.
        drop_path_rate: stochastic depth (Huang et al., ECCV 2016) of the last block in training; it
            grows linearly from 0 at the first.
        patch_norm: LayerNorm before the first stage.
        use_checkpoint: recompute blocks in the backward pass: less memory, more time.
        upscale: scale of the output.
        img_range: factor of the normalized input, 1 in every published network.
        upsampler: reconstruction, see :class:`RestorationNet`; ``"pixelshuffledirect"`` also
            means the light channel attention.
        resi_connection: convolution after a stage: ``"1conv"`` or ``"3conv"``.
        scan_backend: backend of the selective scan, ``"auto"`` or a name, see
            :func:`mambair.ops.selective_scan`.

    Raises:
        TypeError: an unknown argument; names the nearest known one.
        ValueError: arguments that do not fit together.
    """

    def __init__(
        self,
        img_size: int = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 96,
        depths: Sequence[int] = (6, 6, 6, 6),
        d_state: int = 16,
        mlp_ratio: float = 2.0,
        drop_path_rate: float = 0.1,
        patch_norm: bool = True,
        use_checkpoint: bool = False,
        upscale: int = 2,
        img_range: float = 1.0,
        upsampler: Upsampler = "",
        resi_connection: ResidualConnection = "1conv",
        scan_backend: str = "auto",
    ) -> None:
        super().__init__(
            in_chans, embed_dim, patch_norm, upscale, img_range, upsampler, resi_connection
        )
        if patch_size != 1:
            raise ValueError(f"patch_size must be 1, got {patch_size}")
        light = upsampler == "pixelshuffledirect"
        hidden_dim = int(embed_dim * mlp_ratio)
        check_drop_path(drop_path_rate)
        last = max(sum(depths) - 1, 1)
        drops = iter([drop_path_rate * index / last for index in range(sum(depths))])
        for depth in depths:
            blocks: list[nn.Module] = [
                VisionStateSpaceBlock(embed_dim, d_state, hidden_dim, light, next(drops))
                for _ in range(depth)
            ]
            conv = residual_conv(embed_dim, resi_connection)
            self.layers.append(Stage(blocks, conv, use_checkpoint, "blocks"))
        self.apply(init_linear)
        self.set_scan_backend(scan_backend)

    @classmethod
    def detect(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Constructor arguments of a state dict; ``None``: it is another network's."""
        scan = "layers.0.residual_group.blocks.0.self_attention"
        if f"{scan}.A_logs" not in state:
            return None
        frame = detect_frame(state, "blocks")
        hidden_dim = state[f"{scan}.out_norm.weight"].shape[0]
        return {
            **frame,
            "d_state": state[f"{scan}.A_logs"].shape[1],
            "mlp_ratio": width_ratio(hidden_dim, frame["embed_dim"]),
        }
