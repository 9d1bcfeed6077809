"""The first samples of a dataset of an option file, as its training or measurement meets them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr_mambair.options.progressive import Stages
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.loaders import SeededDataset
from basicsr_mambair.training.preparation import prepare_run
from basicsr_mambair.training.sampling import Place, RunSampler
from mambair.errors import UserError
from mambair.imaging.pixels import Pixels, to_uint8

_PAIR_LOSSES = ("pixel_opt", "gan_opt")  # a model is built with these alone


class PreviewError(UserError):
    """A dataset cannot be shown; the message says which, and why."""


@dataclass(frozen=True)
class Sample:
    """A sample of a dataset.

    Attributes:
        name: its picture.
        gt: the true picture, uint8 ``(H, W, C)`` in BGR or gray; ``None`` if it has none.
        lq: the input of the network.
        drawn: what was drawn for it, as plain values; ``None`` if that is not known.
    """

    name: str
    gt: Pixels | None
    lq: Pixels
    drawn: Any


@dataclass(frozen=True)
class Preview:
    """Samples of a dataset, and where they come from.

    Attributes:
        dataset: the key of the dataset in the option file.
        seed: seed of the run.
        samples: its first samples.
    """

    dataset: str
    seed: int
    samples: list[Sample]


def preview_samples(
    option_file: str,
    is_train: bool,
    *,
    dataset: str | None = None,
    count: int = 8,
    seed: int | None = None,
    overrides: list[str] | None = None,
) -> Preview:
    """Reads the first samples of a dataset as a run with the same seed reads them.

    The inputs of a model that degrades true pictures itself are made by that model, in a batch of
    ``count`` pictures.

    Args:
        option_file: the YAML file.
        is_train: whether it is one for training.
        dataset: key or name of the dataset; by default the training data, or the first.
        count: number of samples.
        seed: seed of the run; by default the option file's ``manual_seed``, or 0.
        overrides: as of ``--force_yml``.

    Raises:
        OptionError: something in the file is wrong.
        PreviewError: there is no such dataset, or it cannot be read.
    """
    arguments = RunArguments(opt=option_file, force_yml=list(overrides or []))
    options = prepare_run(arguments, Path.cwd(), is_train, check_files=False)
    key = _find(options["datasets"], dataset, option_file)
    if seed is None:
        seed = 0 if options.get("seed_was_drawn") else options["manual_seed"]
    options["manual_seed"] = seed
    where = f"{option_file}: datasets.{key}"
    try:
        found = _read(options["datasets"][key], seed, count)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise PreviewError(f"{where}: {_reason(error)}") from error
    if not found:
        raise PreviewError(f"{where}: holds no sample")
    if all("lq" in each for each in found):
        pairs = [_pair(each, options["datasets"][key]) for each in found]
        return Preview(key, seed, pairs)
    if key.split("_")[0] != "train" or not is_train:
        raise PreviewError(f"{where}: has no input for a network")
    return Preview(key, seed, _degraded_by_model(options, found, where))


def _find(datasets: Mapping[str, Any], wanted: str | None, option_file: str) -> str:
    if wanted is None:
        return "train" if "train" in datasets else next(iter(datasets))
    for key, section in datasets.items():
        if wanted in (key, section.get("name")):
            return key
    names = ", ".join(f"{key} ({section.get('name')})" for key, section in datasets.items())
    raise PreviewError(f"{option_file}: there is no dataset {wanted!r}; it has {names}")


def _read(section: dict[str, Any], seed: int, count: int) -> list[dict[str, Any]]:
    from basicsr.data import build_dataset

    dataset = SeededDataset(build_dataset(section), seed, by_index=True)
    places: list[Place]
    if section["phase"] == "train":
        ratio = section.get("dataset_enlarge_ratio", 1)
        first = Stages.of(section).at(1)
        stages = Stages.single(count, first.gt_size)
        places = next(iter(RunSampler(len(dataset), ratio, seed, stages, 1)))
    else:
        places = [Place(index, index) for index in range(min(count, len(dataset)))]
    return [dataset[place] for place in places]


def _pair(sample: Mapping[str, Any], section: Mapping[str, Any]) -> Sample:
    drawn = sample.get("drawn")
    gt = sample.get("gt")
    return Sample(
        _name(sample),
        None if gt is None else _pixels(gt, section),
        _pixels(sample["lq"], section),
        None if drawn is None else json.loads(drawn),
    )


def _degraded_by_model(
    options: dict[str, Any], found: list[dict[str, Any]], where: str
) -> list[Sample]:
    from basicsr.models import build_model
    from torch.utils.data import default_collate

    # Losses look at the pair later; those with weights of their own need not be loaded.
    options["train"] = {
        key: None if key.endswith("_opt") and key not in _PAIR_LOSSES else value
        for key, value in options["train"].items()
    }
    options["path"] = {
        key: None if "pretrain_network" in key else value for key, value in options["path"].items()
    }
    options["queue_size"] = len(found)  # the pool of pairs lets the first batches through
    try:
        model = build_model(options)
        model.feed_data(default_collate(found))
    except (OSError, ValueError, KeyError, AttributeError, AssertionError, RuntimeError) as error:
        raise PreviewError(
            f"{where}: {options['model_type']} cannot make inputs of it: {_reason(error)}"
        ) from error
    draws = getattr(model, "drawn", None) or [None] * len(found)
    return [
        Sample(_name(each), _pixels(gt, {}), _pixels(lq, {}), drawn)
        for each, gt, lq, drawn in zip(found, model.gt, model.lq, draws, strict=True)
    ]


def _reason(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _name(sample: Mapping[str, Any]) -> str:
    path = next((sample[key] for key in ("gt_path", "lq_path", "key") if key in sample), "")
    return Path(str(path)).name


def _pixels(tensor: Tensor, section: Mapping[str, Any]) -> Pixels:
    """uint8 ``(H, W, C)`` of ``(C, H, W)``, or of the middle frame of ``(T, C, H, W)``."""
    tensor = tensor.detach().cpu().float()
    if tensor.ndim == 4:
        tensor = tensor[len(tensor) // 2]
    for key, neutral in (("std", 1.0), ("mean", 0.0)):
        value = torch.tensor(section.get(key) or neutral).view(-1, 1, 1)
        tensor = tensor * value if key == "std" else tensor + value
    pixels: Pixels = tensor.numpy().transpose(1, 2, 0)
    return np.ascontiguousarray(to_uint8(pixels)[..., ::-1])
