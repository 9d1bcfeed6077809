"""Small training runs in this process, that can be stopped at any iteration."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (activates the plugin)
import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.registry import MODEL_REGISTRY

from basicsr_mambair.runs.metrics import read_metrics
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.run import train
from mambair.checkpoint import load_checkpoint


class Stopped(BaseException):
    """Takes the place of whatever ends a process between two iterations."""


def contents(total: int = 9, **changes: Any) -> dict[str, Any]:
    """Options of a run over the fixture ``pairs``: a state every three iterations.

    Args:
        total: iterations.
        changes: values by dotted path, dots written as ``__``.
    """
    options: dict[str, Any] = {
        "name": "run", "model_type": "RestorationModel", "scale": 2, "manual_seed": 3,
        "datasets": {
            "train": {
                "type": "DegradedImageDataset", "dataroot_gt": "HR", "gt_size": 16,
                "degradation": [{"type": "gaussian_noise", "sigma": 5}, {"type": "bicubic"}],
                "num_worker_per_gpu": 0, "batch_size_per_gpu": 4, "dataset_enlarge_ratio": 3,
            },
            "val": {"type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR",
                    "filename_tmpl": "{}x2"},
        },
        "network_g": {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4,
                      "num_block": 1, "upscale": 2},
        "train": {
            "ema_decay": 0.9, "total_iter": total, "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"val_freq": 4, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 3},
    }  # fmt: skip
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = options
        for each in sections:
            section = section.setdefault(each, {})
        section[key] = value
    return options


def folder_for(pairs: Path, name: str) -> Path:
    """A folder of the fixture ``pairs`` that holds a copy of its pictures."""
    for part in ("HR", "LR"):
        shutil.copytree(pairs / part, pairs / name / part)
    return pairs / name


class Runs:
    """Runs one after the other in one folder.

    Attributes:
        losses: losses by iteration.
        figures: figures of validation by iteration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.losses: dict[int, dict[str, float]] = {}
        self.figures: dict[int, dict[str, float]] = {}

    @property
    def own(self) -> Path:
        return self.folder / "experiments" / "run"

    def train(
        self, options: Mapping[str, Any], stop_after: int | None = None, resume: bool = False
    ) -> None:
        """Trains; ``stop_after`` ends it abruptly after the step of an iteration."""
        file = self.folder / "run.yml"
        file.write_text(yaml.safe_dump(dict(options)))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more would wait for each other: the network is tiny
        try:
            model = MODEL_REGISTRY.get(options["model_type"])
            with pytest.MonkeyPatch.context() as patch, _watched(patch, self, stop_after, model):
                patch.chdir(self.folder)
                train(RunArguments(str(file), auto_resume=resume))
        finally:
            torch.set_num_threads(threads)

    def end(self) -> dict[str, Any]:
        """What a run leaves: weights, training state, losses and figures."""
        latest = load_checkpoint(self.own / "models" / "net_g_latest.pth")
        states = {int(path.stem): path for path in (self.own / "training_states").glob("*.state")}
        return {
            "weights": latest,
            "others": [load_checkpoint(p) for p in (self.own / "models").glob("net_d_latest.pth")],
            "state": load_checkpoint(states[max(states)]),
            "losses": self.losses,
            "figures": self.figures,
        }


def figures(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``metrics.jsonl`` without what depends on the machine."""
    records = read_metrics(folder)
    return [{key: value for key, value in each.items() if key != "speed"} for each in records]


@contextmanager
def _watched(patch: pytest.MonkeyPatch, runs: Runs, stop_after: int | None, model: Any) -> Any:
    step, validate = model.optimize_parameters, model.validation

    def optimize_parameters(self: Any, current_iter: int) -> None:
        step(self, current_iter)
        runs.losses[current_iter] = dict(self.log_dict)
        if current_iter == stop_after:
            raise Stopped

    def validation(self: Any, loader: Any, current_iter: int, *rest: Any) -> None:
        validate(self, loader, current_iter, *rest)
        runs.figures[current_iter] = dict(self.metric_results)

    patch.setattr(model, "optimize_parameters", optimize_parameters)
    patch.setattr(model, "validation", validation)
    try:
        yield
    except Stopped:
        assert stop_after is not None


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """Where two nested values are not the same bit for bit."""
    if torch.is_tensor(first) or isinstance(first, np.ndarray):
        same = torch.equal(torch.as_tensor(first), torch.as_tensor(second))
        return [] if same else [place]
    if isinstance(first, Mapping):
        if first.keys() != second.keys():
            return [f"{place}: {first.keys() ^ second.keys()}"]
        return [d for key in first for d in differences(first[key], second[key], f"{place}.{key}")]
    if isinstance(first, (list, tuple)):
        if len(first) != len(second):
            return [f"{place}: lengths"]
        pairs = enumerate(zip(first, second, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{place}[{i}]")]
    return [] if first == second else [f"{place}: {first!r} and {second!r}"]
