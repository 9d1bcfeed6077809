"""Choice of the device by the two arguments that the original has for it."""

from __future__ import annotations

import warnings

import torch

from mambair.inference.device import pick_device
from realesrgan_compat.errors import UpsamplerError


def choose_device(
    device: torch.device | str | None = None, gpu_id: int | str | None = None
) -> torch.device:
    """The device that runs the network.

    Args:
        device: a device, or its name.
        gpu_id: without ``device``: the number of a CUDA device. Where CUDA is missing there is a
            warning and the default device runs, because programs written for the original pass a
            number everywhere.

    Returns:
        The device; without either argument the first of CUDA, XPU and MPS, else the CPU.

    Raises:
        UpsamplerError: there are CUDA devices, but none of this number.
        ValueError: there is no device of this name.
    """
    if device is not None:
        return pick_device(device) if isinstance(device, str) else device
    if gpu_id is None or gpu_id == "":
        return pick_device()
    try:
        return pick_device(f"cuda:{gpu_id}")
    except ValueError as error:
        if torch.cuda.is_available():  # another GPU than the one asked for would be a surprise
            raise UpsamplerError(f"gpu_id {gpu_id}: {error}") from error
        fallback = pick_device()
        warnings.warn(f"gpu_id {gpu_id}: {error}; {fallback} runs", stacklevel=3)
        return fallback
