"""LPIPS and DISTS (:mod:`basicsr_mambair.classifiers` says what they need)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from basicsr_mambair.classifiers import (
    LPIPS_CLASSIFIERS,
    dists_network,
    lpips_network,
    require_dists,
    require_lpips,
)
from basicsr_mambair.metrics.preparation import comparable
from basicsr_mambair.options.fields import declares, option
from basicsr_mambair.options.sections import MetricOptions
from basicsr_mambair.registering import registers_in
from mambair.imaging.pixels import Pixels


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
        PerceptualUnavailableError: torchmetrics or the weights of the classifier are missing.
    """
    if net not in LPIPS_CLASSIFIERS:
        known = list(LPIPS_CLASSIFIERS)
        raise ValueError(f"calculate_lpips: net must be one of {known}, got {net!r}")
    pictures = comparable("calculate_lpips", img, img2, crop_border, input_order)
    restored, truth = (_as_tensor(each) * 2 - 1 for each in pictures)
    with torch.no_grad():
        return float(_lpips(net)(restored, truth))


@registers_in(METRIC_REGISTRY)
def calculate_dists(
    img: Pixels, img2: Pixels, crop_border: int, input_order: str = "HWC", **kwargs: Any
) -> float:
    """DISTS (Ding et al., IEEE TPAMI 2020, arXiv 2004.07728); lower is better.

    Arguments and errors are those of :func:`calculate_lpips`; the classifier is VGG16.
    """
    pictures = comparable("calculate_dists", img, img2, crop_border, input_order)
    restored, truth = (_as_tensor(each) for each in pictures)
    with torch.no_grad():
        return float(_dists()(restored, truth))


def _check_lpips(section: Mapping[str, Any]) -> None:
    require_lpips(str(section.get("net", LpipsOptions.net)))


def _check_dists(section: Mapping[str, Any]) -> None:
    require_dists()


# Option files are checked by these before anything runs.
declares(calculate_lpips, LpipsOptions, _check_lpips)
declares(calculate_dists, MetricOptions, _check_dists)


def _as_tensor(image: Pixels) -> Tensor:
    """Converts pixels to ``(1, 3, H, W)``, RGB in [0, 1]; gray becomes three equal channels."""
    rgb = np.broadcast_to(image[..., ::-1], (*image.shape[:2], 3)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(rgb, np.float32))[None] / 255


@cache
def _lpips(net: str) -> Any:
    return lpips_network(net)


@cache
def _dists() -> Any:
    return dists_network()
