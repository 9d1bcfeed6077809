"""LPIPS and DISTS, computed by torchmetrics (Apache-2.0), an optional extra.

Their own small weights come with torchmetrics: those of LPIPS are BSD-2-Clause (Zhang et al.),
those of DISTS MIT (Ding et al.). The classifiers behind them are torchvision's, trained on
ImageNet; users fetch their files, nothing is downloaded here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from basicsr_mambair.metrics.preparation import comparable
from basicsr_mambair.options.fields import declares, option
from basicsr_mambair.options.sections import MetricOptions
from basicsr_mambair.registering import registers_in
from mambair.errors import UserError
from mambair.imaging.pixels import Pixels

_CLASSIFIERS = {
    "alex": "AlexNet_Weights",
    "vgg": "VGG16_Weights",
    "squeeze": "SqueezeNet1_1_Weights",
}


class MetricUnavailableError(UserError, RuntimeError):
    """A metric needs a missing package or file; the message says which, and where to get it."""


@dataclass
class LpipsOptions(MetricOptions):
    """Keys of `calculate_lpips`."""

    net: Literal["alex", "vgg", "squeeze"] = option(
        "alex", doc="Classifier behind LPIPS; papers report `alex`."
    )


@registers_in(METRIC_REGISTRY)
def calculate_lpips(
    img: Pixels,
    img2: Pixels,
    crop_border: int,
    input_order: str = "HWC",
    net: str = "alex",
    **kwargs: Any,
) -> float:
    """LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924), version 0.1; lower is better.

    Args:
        img: restored picture, [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``; BGR if C is 3.
        img2: ground truth of the same shape.
        crop_border: pixels cut off at every edge.
        input_order: ``"HWC"`` or ``"CHW"``.
        net: classifier: ``"alex"`` (as papers report it), ``"vgg"`` or ``"squeeze"``.
        kwargs: ignored; BasicSR passes keys of the option file that are not for the function.

    Raises:
        ValueError: shapes that differ, or an unknown order or classifier.
        MetricUnavailableError: torchmetrics or the weights of the classifier are missing.
    """
    if net not in _CLASSIFIERS:
        raise ValueError(f"calculate_lpips: net must be one of {list(_CLASSIFIERS)}, got {net!r}")
    pictures = comparable("calculate_lpips", img, img2, crop_border, input_order)
    return _measure(_lpips(net), pictures)


@registers_in(METRIC_REGISTRY)
def calculate_dists(
    img: Pixels, img2: Pixels, crop_border: int, input_order: str = "HWC", **kwargs: Any
) -> float:
    """DISTS (Ding et al., IEEE TPAMI 2020, arXiv 2004.07728); lower is better.

    Arguments and errors are those of :func:`calculate_lpips`; the classifier is VGG16.
    """
    pictures = comparable("calculate_dists", img, img2, crop_border, input_order)
    return _measure(_dists(), pictures)


def _check_lpips(section: Mapping[str, Any]) -> None:
    _require_weights("LPIPS", str(section.get("net", LpipsOptions.net)))


def _check_dists(section: Mapping[str, Any]) -> None:
    _require_weights("DISTS", "vgg")


# Option files are checked by these before anything runs.
declares(calculate_lpips, LpipsOptions, _check_lpips)
declares(calculate_dists, MetricOptions, _check_dists)


def _as_tensor(image: Pixels) -> Tensor:
    """Converts pixels to ``(1, 3, H, W)``, RGB in [0, 1]; gray becomes three equal channels."""
    rgb = np.broadcast_to(image[..., ::-1], (*image.shape[:2], 3)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(rgb, np.float32))[None] / 255


@cache
def _lpips(net: str) -> Any:
    _require_weights("LPIPS", net)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(cast(Any, net), normalize=True)


@cache
def _dists() -> Any:
    _require_weights("DISTS", "vgg")
    from torchmetrics.image.dists import DeepImageStructureAndTextureSimilarity

    return DeepImageStructureAndTextureSimilarity()


def _measure(metric: Any, pictures: tuple[Pixels, Pixels]) -> float:
    with torch.no_grad():
        value = float(metric(*(_as_tensor(each) for each in pictures)))
    metric.reset()
    return value


def _require_weights(metric: str, net: str) -> None:
    """Checks that torchvision will find the classifier's file, so that nothing is downloaded."""
    import torchvision

    if importlib.util.find_spec("torchmetrics") is None:
        raise MetricUnavailableError(
            f"{metric} needs torchmetrics: pip install 'basicsr-mambair[perceptual]'"
        )
    if net not in _CLASSIFIERS:
        raise MetricUnavailableError(f"{metric}: net must be one of {list(_CLASSIFIERS)}: {net!r}")
    url = getattr(torchvision.models, _CLASSIFIERS[net]).DEFAULT.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not file.is_file():
        raise MetricUnavailableError(f"{metric} needs {file}; download it from {url}")
