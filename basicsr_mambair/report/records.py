"""Records of a measurement: the figures of every picture of a test option file, on disk.

``measurement.jsonl`` holds one line about the measurement and one line for each picture;
``evaluation.py`` writes it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mambair.errors import UserError
from mambair.imaging.errors import PictureError
from mambair.imaging.reading import read_image

FILE = "measurement.jsonl"

Routing = Literal["sampled", "seeded", "argmax"]
_ROUTINGS = {
    "sampled": ("network_g:routing=sampled", "network_g:routing_seed=null"),
    "seeded": ("network_g:routing=sampled", "network_g:routing_seed=0"),
    "argmax": ("network_g:routing=argmax",),
}


class MeasurementError(UserError, RuntimeError):
    """A measurement cannot be run or read; the message names the file and the key."""


@dataclass(frozen=True)
class Variant:
    """Deviations from the option file in a measurement; ``None`` keeps what the file says.

    Attributes:
        routing: ``sampled`` (as published, from PyTorch's generator), ``seeded`` or ``argmax``.
        tile: as ``val.tile``.
        self_ensemble: average over the eight orientations.
    """

    routing: Routing | None = None
    tile: str | None = None
    self_ensemble: bool = False

    @property
    def overrides(self) -> list[str]:
        """The deviations as entries of ``--force_yml``."""
        changes = list(_ROUTINGS[self.routing]) if self.routing else []
        if self.tile is not None:
            # The file's overlap is that of its own tiles.
            changes += [f"val:tile={self.tile}", "val:tile_overlap=null"]
        if self.self_ensemble:
            changes.append("val:self_ensemble=true")
        return changes

    @property
    def suffix(self) -> str:
        """The part of the results' name that tells variants apart."""
        parts = [self.routing, f"tile-{self.tile}" if self.tile is not None else None]
        parts.append("ensemble" if self.self_ensemble else None)
        return "".join(f"_{part}" for part in parts if part)


@dataclass
class PictureResult:
    """Figures of one picture.

    Attributes:
        metrics: figures of the network's result, under the names of ``val.metrics``.
        baseline: figures of bicubic interpolation; at scale 1, of the input.
        seconds: time that the network took, tiles included.
        files: the PNG files ``gt``, ``input``, ``baseline`` and ``result`` in the measurement's
            folder.
        stamp: modification times and sizes of the files that the picture was read from.
    """

    dataset: str
    name: str
    height: int
    width: int
    seconds: float
    metrics: dict[str, float]
    baseline: dict[str, float]
    files: dict[str, str]
    stamp: list[list[int]] = field(default_factory=list)


@dataclass
class Measurement:
    """All figures of an option file.

    Attributes:
        folder: folder that holds the records.
        about: name, option file, published row, scale, network, variant, device, versions, and
            ``counts``: the number of pictures of every data set.
        pictures: in the order of the data sets.
        failures: one line for each picture that could not be read; not recorded, because the next
            run tries them again.
    """

    folder: Path
    about: dict[str, Any]
    pictures: list[PictureResult] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets, in order."""
        return list(dict.fromkeys(each.dataset for each in self.pictures))

    def of(self, dataset: str) -> list[PictureResult]:
        """The pictures of a data set."""
        return [each for each in self.pictures if each.dataset == dataset]

    def mean(self, dataset: str, metric: str, baseline: bool = False) -> float | None:
        """Returns the mean of a metric over a data set; ``None`` if it was not measured."""
        values = [
            (each.baseline if baseline else each.metrics).get(metric) for each in self.of(dataset)
        ]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if values and len(known) == len(values) else None

    @property
    def missing(self) -> int:
        """Number of pictures that have not been measured yet."""
        return int(sum(self.about["counts"].values())) - len(self.pictures)

    @property
    def seconds(self) -> float:
        """Mean time for a picture, in seconds."""
        return float(np.mean([each.seconds for each in self.pictures]))


def plain_name(name: str, scale: int) -> str:
    """Returns the name of the HQ picture by the usual template: ``baby`` for ``babyx2``."""
    return name.removesuffix(f"x{scale}") if scale > 1 else name


def read(folder: str | os.PathLike[str]) -> Measurement:
    """Reads a measurement from its folder.

    Raises:
        MeasurementError: the folder holds no measurement.
    """
    path = Path(folder) / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MeasurementError(f"{folder}: holds no {FILE} of `basicsr report`") from error
    except UnicodeError as error:
        raise MeasurementError(f"{path}: is damaged: {error}") from error
    lines = text.splitlines()
    try:
        if lines and not text.endswith("\n"):  # a run was killed while it wrote this line
            lines.pop()
        about, *pictures = [json.loads(line) for line in lines]
        results = [PictureResult(**each) for each in pictures]
    except (ValueError, TypeError) as error:
        raise MeasurementError(f"{path}: is damaged: {error}") from error
    return Measurement(Path(folder), about, results)


def load_picture(measurement: Measurement, picture: PictureResult, kind: str) -> Any:
    """Reads one of a picture's files, uint8 BGR or gray.

    Raises:
        MeasurementError: the file no longer exists, or is damaged.
    """
    path = measurement.folder / picture.files[kind]
    try:
        return read_image(path)
    except PictureError as error:
        raise MeasurementError(f"{error}; run the measurement again") from error
