"""Option files with one thing wrong: refused by name, or legal, and then they run.

Every key of a small training file is deleted, misspelt and given values of the wrong kind. Nothing
but an :class:`OptionError` may come of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from basicsr_mambair.options import OptionError, load_options, surroundings
from tests.conftest import photograph, tiny_network

DELETED = object()
MISSPELT = object()
MUTATIONS = {
    "deleted": DELETED,
    "misspelt": MISSPELT,
    "null": None,
    "negative": -3,
    "zero": 0,
    "huge": 10**12,
    "nan": math.nan,
    "inf": math.inf,
    "text": "seven",
    "text of a truth value": "false",
    "list": [1, "x"],
    "nested": {"a": {"b": 1}},
    "true": True,
    "fraction": 0.37,
    "empty text": "",
}


def contents() -> dict[str, Any]:
    """A training file that names many keys."""
    return {
        "name": "run",
        "model_type": "MambaIRv2Model",
        "scale": 2,
        "num_gpu": "auto",
        "manual_seed": 3,
        "find_unused_parameters": False,
        "datasets": {
            "train": {
                "name": "pictures",
                "type": "DegradedImageDataset",
                "dataroot_gt": "HR",
                "include": "*",
                "exclude": ["*.txt"],
                "degradation": [
                    {"type": "gaussian_noise", "sigma": [0, 10]},
                    {"type": "bicubic", "scale": 2},
                    {"type": "jpeg", "quality": 60},
                ],
                "gray": False,
                "cache_in_memory": True,
                "io_backend": {"type": "disk"},
                "gt_size": 16,
                "use_hflip": True,
                "use_rot": True,
                "mean": [0, 0, 0],
                "std": [1, 1, 1],
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 4,
                "prefetch_mode": None,
                "num_prefetch_queue": 1,
                "pin_memory": False,
                "persistent_workers": False,
            },
            "val": {
                "name": "held",
                "type": "PairedImageDataset",
                "dataroot_gt": "HR",
                "dataroot_lq": "LR",
                "filename_tmpl": "{}x2",
                "task": "SR",
            },
        },
        "network_g": tiny_network(
            img_size=16, img_range=1.0, in_chans=3, qkv_bias=True, routing="sampled",
            convffn_kernel_size=3, resi_connection="1conv", scan_backend="auto",
        ),
        "path": {
            "pretrain_network_g": None,
            "strict_load_g": True,
            "param_key_g": "params",
            "resume_state": None,
        },
        "train": {
            "total_iter": 4,
            "warmup_iter": -1,
            "ema_decay": 0.9,
            "ema_start": 1,
            "ema_warmup": True,
            "mixup": {"probability": 0.5, "beta": 1.2},
            "cutblur": {"probability": 0.5, "ratio": 0.7},
            "grad_clip_norm": 1.0,
            "gradient_accumulation": 2,
            "warm_start": "bicubic",
            "amp": "bf16",
            "compile": False,
            "optim_g": {
                "type": "Adam", "lr": 1e-3, "weight_decay": 0, "betas": [0.9, 0.99],
                "amsgrad": False,
            },
            "scheduler": {
                "type": "CosineAnnealingRestartLR",
                "periods": [4],
                "restart_weights": [1],
                "eta_min": 1e-7,
            },
            "pixel_opt": {
                "type": "CharbonnierLoss", "loss_weight": 1.0, "reduction": "mean", "eps": 1e-6,
            },
        },
        "val": {
            "val_freq": 2,
            "save_img": False,
            "suffix": None,
            "tile": 16,
            "tile_overlap": 4,
            "baseline": "bicubic",
            "self_ensemble": False,
            "metrics": {
                "psnr": {
                    "type": "calculate_psnr", "crop_border": 2, "test_y_channel": True,
                    "better": "higher",
                },
            },
        },
        "logger": {
            "print_freq": 1,
            "save_checkpoint_freq": 2,
            "use_tb_logger": False,
            "wandb": {"project": None, "resume_id": None},
        },
        "dist_params": {"backend": "gloo", "port": 29500},
    }  # fmt: skip


def paths(section: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every section and value."""
    items = enumerate(section) if isinstance(section, list) else section.items()
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict)):
            yield from paths(value, (*path, key))


def mutated(path: tuple[Any, ...], mutation: object) -> dict[str, Any]:
    """The file with one thing changed."""
    options = copy.deepcopy(contents())
    section: Any = options
    for key in path[:-1]:
        section = section[key]
    if mutation is DELETED:
        del section[path[-1]]
    elif mutation is MISSPELT:
        if isinstance(path[-1], str):
            section[path[-1][:-1] + "q" + path[-1][-1]] = section.pop(path[-1])
    else:
        section[path[-1]] = mutation
    return options


ALL = list(paths(contents()))

# What may be changed without being refused, each reviewed: a key with a default may go, one that
# may be null may be null, free text is free, and a number may be any in its range. An unknown
# key (``path.a``) is reported but not refused, since models of other packages have their own.
ACCEPTED = {
    place: set(names.split(", "))
    for place, names in (
        line.split(": ")
        for line in """
name: text, text of a truth value
num_gpu: deleted, zero
manual_seed: deleted, null, zero
find_unused_parameters: deleted, true
datasets.train.name: deleted, text, text of a truth value
datasets.train.include: deleted
datasets.train.exclude: deleted, null, text, text of a truth value, empty text
datasets.train.degradation: deleted, null
datasets.train.degradation.0: deleted
datasets.train.degradation.0.sigma: zero, fraction
datasets.train.degradation.1.scale: deleted
datasets.train.degradation.2: deleted
datasets.train.gray: deleted, true
datasets.train.cache_in_memory: deleted, true
datasets.train.io_backend: deleted, null
datasets.train.io_backend.type: deleted
datasets.train.use_hflip: deleted, true
datasets.train.use_rot: deleted, true
datasets.train.mean: deleted, null
datasets.train.std: deleted, null
datasets.train.num_worker_per_gpu: deleted, zero
datasets.train.dataset_enlarge_ratio: deleted, fraction
datasets.train.prefetch_mode: deleted, null
datasets.train.num_prefetch_queue: deleted
datasets.train.pin_memory: deleted, true
datasets.train.persistent_workers: deleted
datasets.val: deleted
datasets.val.name: deleted, text, text of a truth value
datasets.val.filename_tmpl: deleted
datasets.val.task: deleted
network_g.upscale: deleted
network_g.embed_dim: deleted
network_g.d_state: deleted
network_g.window_size: deleted
network_g.inner_rank: deleted
network_g.num_tokens: deleted
network_g.mlp_ratio: deleted, fraction
network_g.img_size: deleted
network_g.img_range: deleted, fraction
network_g.in_chans: deleted
network_g.qkv_bias: deleted, true
network_g.routing: deleted
network_g.convffn_kernel_size: deleted
network_g.resi_connection: deleted
network_g.scan_backend: deleted
path: deleted, null, nested
path.pretrain_network_g: deleted, null
path.strict_load_g: deleted, true
path.param_key_g: deleted, null, text, text of a truth value, empty text
path.resume_state: deleted, null
train.warmup_iter: deleted, zero, huge
train.ema_decay: fraction
train.ema_start: deleted, zero
train.ema_warmup: deleted, true
train.mixup: deleted, null
train.mixup.probability: deleted, zero, fraction
train.mixup.beta: deleted, fraction
train.cutblur: deleted, null
train.cutblur.probability: deleted, zero, fraction
train.cutblur.ratio: deleted, fraction
train.grad_clip_norm: deleted, null, huge, fraction
train.gradient_accumulation: deleted
train.warm_start: deleted, null
train.amp: deleted, null
train.compile: deleted, null, true
train.optim_g.lr: deleted, fraction
train.optim_g.weight_decay: deleted, zero, fraction
train.optim_g.betas: deleted
train.optim_g.amsgrad: deleted, true
train.scheduler.periods: deleted
train.scheduler.restart_weights: deleted
train.scheduler.eta_min: deleted, zero, fraction
train.pixel_opt.loss_weight: deleted, zero, fraction
train.pixel_opt.reduction: deleted
train.pixel_opt.eps: deleted, fraction
val: deleted, null
val.val_freq: huge
val.save_img: deleted, true
val.suffix: deleted, null, text, text of a truth value, empty text
val.tile: deleted, null, zero, huge
val.tile_overlap: deleted, null, zero
val.baseline: deleted, null
val.self_ensemble: deleted, true
val.metrics: deleted, null
val.metrics.psnr: deleted, misspelt
val.metrics.psnr.crop_border: zero
val.metrics.psnr.test_y_channel: deleted, true
val.metrics.psnr.better: deleted
logger: deleted, null, nested
logger.print_freq: deleted, huge
logger.save_checkpoint_freq: deleted, huge
logger.use_tb_logger: deleted, true
logger.wandb: deleted, null
logger.wandb.project: deleted, null, text, text of a truth value
logger.wandb.resume_id: deleted, null, text, text of a truth value, empty text
dist_params: deleted, null, nested
dist_params.backend: deleted
dist_params.port: deleted
""".strip().splitlines()
    )
}

# Each place meets a third of the mutations; neighboring places meet the others.
CASES = [
    (path, name)
    for index, path in enumerate(ALL)
    for number, name in enumerate(MUTATIONS)
    if (index + number) % 3 == 0 and not (name == "misspelt" and isinstance(path[-1], int))
]
EVERY = [
    (path, name)
    for path in ALL
    for name in MUTATIONS
    if not (name == "misspelt" and isinstance(path[-1], int))
]


@pytest.fixture
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture = photograph("coffee", 32, 32)
    for folder, suffix, image in (("HR", "", picture), ("LR", "x2", picture[::2, ::2])):
        (tmp_path / folder).mkdir()
        for name in "ab":
            assert cv2.imwrite(str(tmp_path / folder / f"{name}{suffix}.png"), image)
    # Extras: what is accepted must not depend on whether they are installed here.
    monkeypatch.setattr(surroundings, "_is_installed", lambda package: True)


def load(options: dict[str, Any]) -> None:
    Path("run.yml").write_text(yaml.safe_dump(options))
    load_options("run.yml", is_train=True)


def accepted(cases: list[tuple[tuple[Any, ...], str]]) -> set[str]:
    """The mutations that are not refused; anything but an option error is an error of the test."""
    found = set()
    for path, name in cases:
        try:
            load(mutated(path, MUTATIONS[name]))
        except OptionError:
            continue
        found.add(f"{dotted(path)}: {name}")
    return found


def expected(cases: list[tuple[tuple[Any, ...], str]]) -> set[str]:
    return {
        f"{dotted(path)}: {name}" for path, name in cases if name in ACCEPTED.get(dotted(path), ())
    }


def dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_pictures")
def test_nothing_but_option_errors_comes_of_a_slip() -> None:
    load(contents())
    assert accepted(CASES) == expected(CASES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_pictures")
def test_every_slip_at_every_place() -> None:
    assert accepted(EVERY) == expected(EVERY)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_pictures")
def test_what_is_accepted_is_built() -> None:
    """A sample: the model, the data sets and one sample of each."""
    from basicsr.data import build_dataset
    from basicsr.models import build_model

    taken = [
        case
        for case in EVERY
        if case[1] in ACCEPTED.get(dotted(case[0]), ())
        and case[0][-1] != "filename_tmpl"  # names of pictures are compared by the data set itself
    ]
    for path, name in taken[::9]:
        Path("run.yml").write_text(yaml.safe_dump(mutated(path, MUTATIONS[name])))
        options = load_options("run.yml", is_train=True)
        root = {key: str(Path(key).resolve()) for key in ("models", "training_states")}
        options |= {"is_train": True, "dist": False, "rank": 0, "num_gpu": 0}
        options["path"] |= root
        build_model(options)
        for key, section in options["datasets"].items():
            dataset = build_dataset({**section, "phase": key, "scale": 2})
            assert dataset[0]["gt"].ndim == 3, (path, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_pictures")
@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("datasets.train.use_hflip", "false"),
        ("datasets.train.io_backend", 5),
        ("datasets.train.io_backend.tyqpe", "disk"),
        ("datasets.train.degradation", {"type": "gaussian_noise", "sigma": math.nan}),
        ("datasets.train.persistent_workers", True),
        ("datasets.train.prefetch_mode", "gpu"),
        ("datasets.train.gt_size", 4096),
        ("datasets.train.dataroot_gt", ""),
        ("train.optim_g.lr", 0),
        ("train.optim_g.lr", math.nan),
        ("train.optim_g.type", ["Adam"]),
        ("train.optim_g.amsgrad", "false"),
        ("train.ema_decay", 1),
        ("train.scheduler.periods", [2]),
        ("train.scheduler.restart_weights", [1, 1]),
        ("train.pixel_opt", None),
        ("train.pixel_opt.reduction", "none"),
        ("train.warm_start", True),
        ("network_g.d_state", 0),
        ("network_g.embed_dim", -4),
        ("network_g.embed_dim", 20),
        ("network_g.img_range", 0),
        ("network_g.depths", [10**12]),
        ("val.metrics.psnr.crop_border", -1),
        ("val.save_img", "false"),
        ("name", ""),
        ("name", "../../x"),
        ("logger.wandb.project", " "),
    ],
)
def test_what_cannot_work_is_refused_with_its_line(where: str, value: object) -> None:
    options: dict[str, Any] = contents()
    *parents, last = where.split(".")
    section = options
    for key in parents:
        section = section[key]
    section[last] = value
    with pytest.raises(OptionError, match=r"^run\.yml:\d+: ") as raised:
        load(options)
    assert all(problem.source for problem in raised.value.problems)
