"""What the frames of all networks here do with their blocks: initialize and run them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_blocks(
    blocks: Iterable[nn.Module], x: Tensor, use_checkpoint: bool, arguments: tuple[Any, ...] = ()
) -> Tensor:
    """Applies blocks one after the other.

    Args:
        blocks: modules over ``(B, H, W, C)``.
        x: ``(B, H, W, C)``.
        use_checkpoint: recompute every block in the backward pass instead of keeping its
            activations.
        arguments: further arguments of every block.

    Returns:
        ``(B, H, W, C)``.
    """
    for block in blocks:
        if use_checkpoint and torch.is_grad_enabled():
            # The random state is restored for the second run: it must draw the same routes.
            x = checkpoint(partial(_call, block, arguments), x, use_reentrant=False)
        else:
            x = block(x, *arguments)
    return x


def _call(block: nn.Module, arguments: tuple[Any, ...], x: Tensor) -> Tensor:
    y: Tensor = block(x, *arguments)
    return y


def init_linear(module: nn.Module) -> None:
    """Truncated normal weights, σ 0.02, and no bias, for a linear layer; others are unchanged."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
