"""Choice of the device that a network runs on."""

from __future__ import annotations

import torch

_ACCELERATORS = ("cuda", "xpu", "mps")  # in the order in which "auto" tries them


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: ``"auto"``: the first of CUDA, XPU and MPS that this machine has, else the CPU; or a
            device of torch's: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"xpu"``, ``"mps"``.

    Raises:
        ValueError: there is no such device here; says why.

    Examples:
        >>> from mambair.inference.device import pick_device
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        name = next((each for each in _ACCELERATORS if _is_available(each)), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"{name!r} is not a device; auto, cpu, cuda, xpu and mps are") from error
    if device.type in _ACCELERATORS and not _is_available(device.type):
        built_for_it = device.type != "cuda" or torch.version.cuda or torch.version.hip
        why = "" if built_for_it else " (this torch is built without CUDA)"
        raise ValueError(f"there is no {device.type.upper()} device here{why}")
    if device.type == "meta":
        raise ValueError("meta: tensors of this device hold no values")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"{name}: {str(error).strip().splitlines()[0]}") from error
    return device


def _is_available(kind: str) -> bool:
    module = torch.backends.mps if kind == "mps" else getattr(torch, kind)
    return bool(module.is_available())
