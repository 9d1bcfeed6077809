"""The pictures that a test option file names, one by one, and the state of their files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr_mambair.runs.fingerprint import listed_files
from basicsr_mambair.training.loaders import SampleError, SeededDataset
from mambair.imaging.targets import UniqueNames


@dataclass(frozen=True)
class Item:
    """A picture of a data set: its index, a unique name, and the state of its files."""

    index: int
    name: str
    stamp: list[list[int]]


class Items:
    """The pictures of a data set in order, under unique names."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[Item]:
        names = UniqueNames()
        for index in range(len(self.dataset)):
            paths = _files_of(self.dataset, index)
            name = names.take(Path(paths[0]).stem)
            yield Item(index, name, [_stamp(path) for path in paths])


def _files_of(dataset: Any, index: int) -> list[str]:
    """Returns the files of LQ and GT; reads the picture only if the dataset lists no files."""
    listed = listed_files(dataset, index)
    if listed is None:
        entry = dataset[index]
        listed = [str(entry.get("lq_path") or entry["gt_path"]), str(entry.get("gt_path"))]
    return listed


def _stamp(path: str) -> list[int]:
    """Returns time and size of a file; of the file that holds it, for a part of one."""
    for place in (Path(path), *Path(path).parents):
        if place.is_file():
            status = place.stat()
            return [status.st_mtime_ns, status.st_size]
    return []  # a key of an LMDB


def open_dataset(section: dict[str, Any]) -> Any:
    """The dataset of a section of ``datasets``; its errors name the picture."""
    from basicsr.data import build_dataset

    return SeededDataset(build_dataset(section), 0, by_index=True)


def has_truth(dataset: Any) -> bool:
    """Looks at the first picture that can be read; what cannot be is reported when measured."""
    for index in range(len(dataset)):
        try:
            return "gt" in dataset[index]
        except SampleError:
            continue
    return True


def quietly(function: Any, argument: Any) -> Any:
    """Calls a function without BasicSR's log: the progress bar is enough here."""
    from basicsr.utils import get_root_logger

    logger = get_root_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        return function(argument)
    finally:
        logger.setLevel(level)
