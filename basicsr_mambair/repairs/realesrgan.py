"""Repairs that models of Real-ESRGAN's kind need: BasicSR's, pip's ``realesrgan``, HAT's."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "models of Real-ESRGAN's kind call .cuda() whatever their device",
    thread="basicsr/models/realesrgan_model.py:27-45, realesrnet_model.py:26-44; realesrgan 0.3.0",
)
def cuda_on_device_of_model() -> bool:
    """In methods of models that train on a CPU, lets ``.cuda()`` mean the device of the model.

    Every model derives from ``BaseModel``, those of other packages too, whether they were imported
    before or will be. Only their methods that name ``cuda`` change, only while they run, in their
    thread alone, and only if the model's device is not a GPU. Everywhere else ``.cuda()`` is
    PyTorch's.
    """
    from basicsr.models import realesrgan_model, realesrnet_model  # noqa: F401
    from basicsr.models.base_model import BaseModel

    affected = [cls for cls in _descendants(BaseModel) if any(_methods_naming_cuda(cls))]
    if not affected:
        return False
    for cls in affected:
        for name, method in _methods_naming_cuda(cls):
            replace(cls, name, _on_own_device(method))

    def __init_subclass__(cls: type, /, **arguments: Any) -> None:
        super(BaseModel, cls).__init_subclass__(**arguments)
        for name, method in _methods_naming_cuda(cls):
            setattr(cls, name, _on_own_device(method))

    replace(BaseModel, "__init_subclass__", classmethod(__init_subclass__))
    return True


class _CudaMeans(TorchFunctionMode):
    """Answers ``tensor.cuda()``, and so ``module.cuda()``, with the device of a model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.Tensor.cuda:
            device = getattr(self.model, "device", None)  # none before BaseModel.__init__
            if device is not None and torch.device(device).type != "cuda":
                return args[0].to(device)
        return func(*args, **(kwargs or {}))


def _on_own_device(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def on_own_device(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(getattr(self, "device", None), "type", None) == "cuda":
            return method(self, *args, **kwargs)
        with _CudaMeans(self):
            return method(self, *args, **kwargs)

    return on_own_device


def _methods_naming_cuda(cls: type) -> Iterator[tuple[str, types.FunctionType]]:
    for name, method in list(vars(cls).items()):
        if inspect.isfunction(method) and "cuda" in inspect.unwrap(method).__code__.co_names:
            yield name, method


def _descendants(cls: type) -> Iterator[type]:
    subclasses: list[type] = cls.__subclasses__()
    for each in subclasses:
        yield each
        yield from _descendants(each)


@repair(
    "filter2D fails on the channels-last pictures that DiffJPEG returns on a CPU (.view)",
    thread="basicsr/utils/img_process_util.py:25, 30",
)
def filtering_any_strides() -> bool:
    """Filters pictures of any memory layout."""
    from basicsr.utils import img_process_util

    original = img_process_util.filter2D
    if not source_has(original, ".view(1, b * c, ph, pw)"):
        return False

    @functools.wraps(original)
    def filter2D(img: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        filtered: torch.Tensor = original(img.contiguous(), kernel.contiguous())
        return filtered

    replace(img_process_util, "filter2D", filter2D)
    return True


@repair(
    "basicsr.losses.losses, which realesrgan 0.3.0 and others import, was split in 1.4.2",
    thread="basicsr/losses/; realesrgan's own tests",
)
def former_losses() -> bool:
    """Offers the losses under the former module name as well."""
    name = "basicsr.losses.losses"
    if importlib.util.find_spec(name) is not None:
        return False
    from basicsr.losses import basic_loss, gan_loss

    module = types.ModuleType(name)
    for source in (basic_loss, gan_loss):
        vars(module).update(
            {key: each for key, each in vars(source).items() if not key.startswith("__")}
        )
    sys.modules[name] = module
    return True
