"""MambaIRUNet: MambaIR in the shape of a U, for the noise of real cameras.

"MambaIR: A Simple Baseline for Image Restoration with State-Space Model", Guo et al., ECCV 2024,
arXiv 2402.15648, section 4 (real image denoising). State-dict keys are those of the checkpoint
published by the authors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mambair.archs.blocks import init_linear
from mambair.archs.detection import detect_unet, width_ratio
from mambair.archs.registry import register_arch
from mambair.archs.unet import RestorationUNet
from mambair.archs.vision_block import SQUEEZE, VisionStateSpaceBlock, check_drop_path
from mambair.signatures import suggests_arguments

_D_STATE = 16
_EPS = 1e-5  # of both LayerNorms of a block, unlike those of MambaIR


@register_arch
@suggests_arguments
class MambaIRUNet(RestorationUNet):
    """The blocks of MambaIR on four levels, as Restormer arranges its own.

    Args:
        inp_channels: channels of the input, 3 (RGB) or 1 (gray), or 6 (two RGB views) with
            ``dual_pixel_task``.
        out_channels: channels of the output.
        dim: channels C of the first level, at least 30; the others have 2C, 4C and 8C.
        num_blocks: blocks of the four levels.
        mlp_ratio: inner width of the scan over the channels of its level.
        num_refinement_blocks: blocks after the decoder.
        drop_path_rate: stochastic depth (Huang et al., ECCV 2016) of every block in training.
        bias: biases of the last convolution and of those that join decoder and encoder.
        dual_pixel_task: the input is a left and a right view of one scene. The published code
            cannot run this; it is built here as its paper (Restormer) describes it.
        use_checkpoint: recompute blocks in the backward pass: less memory, more time.
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
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        mlp_ratio: float = 2.0,
        num_refinement_blocks: int = 4,
        drop_path_rate: float = 0.0,
        bias: bool = False,
        dual_pixel_task: bool = False,
        use_checkpoint: bool = False,
        scan_backend: str = "auto",
    ) -> None:
        if dim < SQUEEZE:
            raise ValueError(
                f"dim must be at least {SQUEEZE}, by which the channel attention divides it, "
                f"got {dim}"
            )
        check_drop_path(drop_path_rate)

        def block(_level: int, channels: int) -> VisionStateSpaceBlock:
            hidden_dim = int(channels * mlp_ratio)
            return VisionStateSpaceBlock(
                channels, _D_STATE, hidden_dim, light=False, drop_path=drop_path_rate, eps=_EPS
            )

        super().__init__(
            inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, bias,
            dual_pixel_task, block, use_checkpoint,
        )  # fmt: skip
        self.apply(init_linear)
        self.set_scan_backend(scan_backend)

    @classmethod
    def detect(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Constructor arguments of a state dict; ``None``: it is another network's."""
        if "encoder_level1.0.self_attention.A_logs" not in state:
            return None
        frame = detect_unet(state)
        # The widest level says most about the ratio: each level rounds its own width down.
        widest = state["latent.0.self_attention.out_norm.weight"].shape[0]
        return {**frame, "mlp_ratio": width_ratio(widest, 8 * frame["dim"])}
