"""Repairs of BasicSR's own Real-ESRGAN models."""

from __future__ import annotations

import functools
from typing import Any

import torch

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "RealESRGANModel and RealESRNetModel call .cuda() whatever the device",
    thread="basicsr/models/realesrgan_model.py:27-45, realesrnet_model.py:26-44",
)
def realesrgan_without_gpu() -> bool:
    """Lets both models build and fill their training pair pool on the device of the model."""
    from basicsr.models.realesrgan_model import RealESRGANModel
    from basicsr.models.realesrnet_model import RealESRNetModel
    from basicsr.utils import DiffJPEG, USMSharp

    models = [
        cls for cls in (RealESRGANModel, RealESRNetModel) if source_has(cls.__init__, ".cuda()")
    ]
    for cls in models:
        replace(cls, "__init__", _with_helpers_on_device(cls.__init__))
        replace(cls, "_dequeue_and_enqueue", _with_pool_on_device(cls._dequeue_and_enqueue))
    if models:
        replace(DiffJPEG, "cuda", _stay)
        replace(USMSharp, "cuda", _stay)
    return bool(models)


def _stay(self: torch.nn.Module, device: Any = None) -> torch.nn.Module:
    """Stands in for ``.cuda()`` until the model moves its helpers to its own device."""
    return self


def _with_helpers_on_device(original: Any) -> Any:
    @functools.wraps(original)
    def __init__(self: Any, opt: dict[str, Any]) -> None:
        original(self, opt)
        self.jpeger = self.jpeger.to(self.device)
        self.usm_sharpener = self.usm_sharpener.to(self.device)

    return __init__


def _with_pool_on_device(original: Any) -> Any:
    """Creates the pool where the batch lives, before BasicSR does it with ``.cuda()``."""

    def _dequeue_and_enqueue(self: Any) -> None:
        if not hasattr(self, "queue_lr"):
            batch = self.lq.shape[0]
            if self.queue_size % batch:
                raise ValueError(
                    f"queue_size {self.queue_size} must be a multiple of the batch size {batch}"
                )
            self.queue_lr = self.lq.new_zeros(self.queue_size, *self.lq.shape[1:])
            self.queue_gt = self.gt.new_zeros(self.queue_size, *self.gt.shape[1:])
            self.queue_ptr = 0
        original(self)

    return _dequeue_and_enqueue
