"""What processes that train one model decide together."""

from __future__ import annotations

from functools import cache
from typing import Any


def any_process(flag: bool, distributed: bool, device: Any) -> bool:
    """Returns whether a flag is set in any process; all of them must ask.

    Args:
        flag: that of this process.
        distributed: whether there are others.
        device: device of the model.
    """
    if not distributed:
        return flag
    import torch

    flags = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
    return bool(flags.item())


@cache
def cpu_group() -> Any:
    """Returns a group of all processes for tensors and objects on the CPU; all must ask first."""
    import torch

    if torch.distributed.get_backend() == "gloo":
        return torch.distributed.group.WORLD
    return torch.distributed.new_group(backend="gloo")
