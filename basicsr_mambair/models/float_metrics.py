"""Metrics of pictures that are not rounded to the 256 levels of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import basicsr  # noqa: F401  (activates the plugin before anything here is used)
import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from torch import Tensor

from mambair.imaging.pixels import Pixels


def unrounded(tensor: Tensor) -> Pixels:
    """A picture as metrics take it: clipped to [0, 255], BGR or gray, but float32.

    Args:
        tensor: ``(1, C, H, W)``, RGB or gray, in [0, 1].
    """
    picture: Pixels = tensor2img([tensor], out_type=np.float32) * np.float32(255)
    return picture


class FloatMetrics:
    """Means of metrics over the pictures of a validation.

    Args:
        sections: the sections of ``val.metrics`` by name.
    """

    def __init__(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        self.sections = sections
        self.totals = dict.fromkeys(sections, 0.0)
        self.count = 0

    def add(self, visuals: Mapping[str, Tensor]) -> None:
        """Measures a result.

        Args:
            visuals: ``result`` and, where there is one, ``gt``, ``(1, C, H, W)`` in [0, 1].
        """
        pictures = {"img": unrounded(visuals["result"])}
        if "gt" in visuals:
            pictures["img2"] = unrounded(visuals["gt"])
        for name, section in self.sections.items():
            self.totals[name] += float(calculate_metric(pictures, dict(section)))
        self.count += 1

    def means(self) -> dict[str, float]:
        """The means by name; of nothing, 0."""
        return {name: total / max(self.count, 1) for name, total in self.totals.items()}
