"""Option files with one thing wrong."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.damage.checkpoints import STRANGE
from benchmarks.damage.child import Child, Verdict, count
from benchmarks.damage.entries import write_picture
from benchmarks.damage.outcome import Outcome
from tests.conftest import ROOT, tiny_network
from tests.matlab_files import sidd_pair

QUICK, FULL = 60, 4_000
DELETED, MISSPELT = object(), object()
#: What is done to a key, by its name.
MUTATIONS: dict[str, Any] = {"deleted": DELETED, "misspelt": MISSPELT, **STRANGE}
Place = tuple[Any, ...]
Mutation = tuple[str, Place, str]  # file, place, name of what is done


def _training() -> dict[str, Any]:
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


def _adversarial() -> dict[str, Any]:
    """Against a discriminator, with degradations by the model."""
    options = _training()
    options |= {
        "model_type": "RealESRGANModel", "gt_size": 16, "l1_gt_usm": False,
        "percep_gt_usm": False, "gan_gt_usm": False, "high_order_degradation": True,
        "queue_size": 4, "resize_prob": [0.2, 0.7, 0.1], "resize_range": [0.5, 1.5],
        "gaussian_noise_prob": 0.5, "noise_range": [1, 30], "poisson_scale_range": [0.05, 3],
        "gray_noise_prob": 0.4, "jpeg_range": [30, 95], "second_blur_prob": 0.8,
        "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8,
                      "skip_connection": True},
    }  # fmt: skip
    options["datasets"]["train"] = {
        "name": "pictures", "type": "RealESRGANDataset", "dataroot_gt": "HR", "meta_info": None,
        "io_backend": {"type": "disk"}, "crop_size": 24, "use_hflip": True, "use_rot": False,
        "blur_kernel_size": 11, "kernel_list": ["iso", "aniso"], "kernel_prob": [0.6, 0.4],
        "sinc_prob": 0.1, "blur_sigma": [0.2, 3], "betag_range": [0.5, 4], "betap_range": [1, 2],
        "final_sinc_prob": 0.8, "on_bad_image": "skip",
        "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 4,
    }  # fmt: skip
    options["network_g"] = {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 2}
    del options["train"]["mixup"], options["train"]["cutblur"], options["train"]["warm_start"]
    options["train"] |= {
        "optim_d": {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.99]},
        "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "real_label_val": 1.0,
                    "fake_label_val": 0.0, "loss_weight": 0.1},
        "net_d_iters": 1, "net_d_init_iters": 0,
    }  # fmt: skip
    return options


def _progressive() -> dict[str, Any]:
    """Real noise in stages of growing crops, from pairs."""
    options = _training()
    options |= {"model_type": "ImageCleanModel", "scale": 1}
    options["datasets"]["train"] = {
        "name": "pairs", "type": "Dataset_PairedImage", "dataroot_gt": "HR", "dataroot_lq": "HR",
        "filename_tmpl": "{}", "geometric_augs": True, "gt_size": 24, "iters": [2, 2],
        "gt_sizes": [8, 24], "mini_batch_sizes": [2, 1], "on_bad_image": "error",
        "io_backend": {"type": "disk"}, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2,
    }  # fmt: skip
    options["datasets"]["val"] = {
        "name": "blocks", "type": "SIDDBlocksDataset",
        "dataroot_lq": "ValidationNoisyBlocksSrgb.mat",
        "dataroot_gt": "ValidationGtBlocksSrgb.mat",
    }  # fmt: skip
    options["network_g"] = {
        "type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "scale": 1, "num_feat": 8,
        "num_block": 1, "num_grow_ch": 4,
    }  # fmt: skip
    options["train"] = {
        "total_iter": 4, "use_grad_clip": True,
        "mixing_augs": {"mixup": True, "mixup_beta": 1.2, "use_identity": True},
        "optim_g": {"type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4, "betas": [0.9, 0.999]},
        "scheduler": {"type": "CosineAnnealingRestartCyclicLR", "periods": [2, 2],
                      "restart_weights": [1, 1], "eta_mins": [1e-3, 1e-6]},
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1, "reduction": "mean"},
    }  # fmt: skip
    options["val"] = {
        "val_freq": 2, "use_image": False, "window_size": 8, "max_minibatch": 8,
        "submission": False,
        "metrics": {"ssim": {"type": "calculate_ssim_matlab", "crop_border": 0}},
    }  # fmt: skip
    return options


#: Training files, by what they are.
FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "training": _training,
    "adversarial": _adversarial,
    "progressive": _progressive,
}


def paths(section: Any, path: Place = ()) -> Iterator[Place]:
    """The place of every section and value."""
    items = enumerate(section) if isinstance(section, list) else section.items()
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict)):
            yield from paths(value, (*path, key))


def _own_places(file: str) -> list[Place]:
    """The places of a file that the first one does not have, or with another value."""
    first = next(iter(FILES))
    known = {path: repr(_at(FILES[first](), path)) for path in paths(FILES[first]())}
    contents = FILES[file]()
    return [
        path
        for path in paths(contents)
        if file == first or known.get(path) != repr(_at(contents, path))
    ]


def _at(section: Any, path: Place) -> Any:
    for key in path:
        section = section[key]
    return section


def every_mutation() -> list[Mutation]:
    """Everything that is done to one key of one file."""
    return [
        (file, path, name)
        for file in FILES
        for path in _own_places(file)
        for name in MUTATIONS
        if not (name == "misspelt" and isinstance(path[-1], int))
    ]


def mutated(mutation: Mutation) -> dict[str, Any]:
    """The file with one thing changed."""
    file, path, name = mutation
    options = copy.deepcopy(FILES[file]())
    section: Any = options
    for key in path[:-1]:
        section = section[key]
    value = MUTATIONS[name]
    if value is DELETED:
        del section[path[-1]]
    elif value is MISSPELT:
        section[path[-1][:-1] + "q" + path[-1][-1]] = section.pop(path[-1])
    else:
        section[path[-1]] = value
    return options


def reviewed(file: str) -> set[Mutation]:
    """The mutations that are legal, each of which a person has looked at.

    A key with a default may go, one that may be null may be null, free text is free, and a number
    may be any in its range. An unknown key (``path.a``) is reported but not refused, since models
    of other packages have their own.
    """
    places = {".".join(map(str, path)): path for path in paths(FILES[file]())}
    lines = (ROOT / "tests" / "data" / "mutations" / f"{file}.txt").read_text().splitlines()
    return {
        (file, places[place], name)
        for place, names in (line.split(": ") for line in lines)
        for name in names.split(", ")
    }


def surroundings(folder: Path) -> None:
    """Writes the pictures and MATLAB's files that the option files name."""
    for name in "ab":
        write_picture(folder / "HR" / f"{name}.png", 32, 32)
        write_picture(folder / "LR" / f"{name}x2.png", 16, 16)
    sidd_pair(folder, "5", (1, 1, 16, 16, 3))


def load(mutation: Mutation) -> bool:
    """Loads a mutated file in the current directory; returns whether it is accepted.

    Anything but acceptance or an :class:`~basicsr_mambair.options.OptionError` is raised.
    """
    from basicsr_mambair.options import OptionError, load_options

    Path("run.yml").write_text(yaml.safe_dump(mutated(mutation)))
    try:
        load_options("run.yml", is_train=True)
    except OptionError:
        return False
    return True


def load_in(mutation: Mutation, folder: str) -> Verdict:
    """Loads a mutated file; what is accepted has to be legal."""
    os.chdir(folder)
    if not load(mutation):
        return Verdict("named")
    legal = mutation in reviewed(mutation[0])
    return Verdict("survived" if legal else "failed", "" if legal else "is accepted")


def provoke(budget: int, seed: int, folder: Path) -> list[Outcome]:
    """See :class:`benchmarks.damage.outcome.Provoke`."""
    surroundings(folder)
    mutations = every_mutation()
    outcome = Outcome("option files with a key gone, misspelt or of a strange value")
    with Child(60) as child:
        for each in random.Random(seed).sample(mutations, min(budget, len(mutations))):
            count(outcome, child.run(load_in, each, str(folder)), str(each))
    return [outcome]
