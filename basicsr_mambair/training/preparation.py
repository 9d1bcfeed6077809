"""Turns options into those of a run: processes, seeds, devices and folders."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path
from typing import Any

import torch

from basicsr_mambair.options import load_options
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.share import check_launched


def prepare_run(
    arguments: RunArguments, root: str | Path, is_train: bool, *, check_files: bool = True
) -> dict[str, Any]:
    """Does everything that BasicSR's ``parse_options`` does, for checked options.

    Args:
        arguments: the command line.
        root: folder under which ``experiments/`` or ``results/`` is written, unless
            ``path.experiments_root`` or ``path.results_root`` names another parent.
        is_train: True for training, False for testing.
        check_files: whether the files and packages that the options name must be there.

    Returns:
        The options as BasicSR's pipelines and models read them.

    Raises:
        PeerError: the launcher has not started this process.
        OptionError: see :func:`load_options`; no process group exists by then.
    """
    check_launched(arguments.launcher)
    options = load_options(
        arguments.opt,
        is_train=is_train,
        overrides=arguments.force_yml,
        only=arguments.only,
        check_files=check_files,
        fetch=check_files,
    )
    options["is_train"] = is_train
    options["auto_resume"] = arguments.auto_resume
    if arguments.debug and not options["name"].startswith("debug"):
        options["name"] = f"debug_{options['name']}"

    _launch(options, arguments.launcher)
    if options.get("manual_seed") is None:
        options["manual_seed"] = _draw_seed(options["dist"])
        options["seed_was_drawn"] = True  # a run that continues keeps its own
    from basicsr.utils import set_random_seed

    set_random_seed(options["manual_seed"] + options["rank"])
    _fit_to_machine(options)
    _complete_datasets(options)
    _set_folders(options, Path(root))
    if is_train and "debug" in options["name"]:
        options["logger"].update(print_freq=1, save_checkpoint_freq=8)
        if options.get("val") is not None:
            options["val"]["val_freq"] = 8
    return options


def _launch(options: dict[str, Any], launcher: str) -> None:
    from basicsr.utils.dist_util import get_dist_info, init_dist

    options["dist"] = launcher != "none"
    if options["dist"]:
        parameters = dict(options.get("dist_params") or {}) if launcher == "slurm" else {}
        if options["num_gpu"] == 0:
            parameters["backend"] = "gloo"
        init_dist(launcher, **parameters)
    options["rank"], options["world_size"] = get_dist_info()


def _draw_seed(distributed: bool) -> int:
    """A seed, the same in every process: it decides which sample stands where."""
    drawn = [random.randint(1, 10000)]
    if distributed:
        torch.distributed.broadcast_object_list(drawn)
    return drawn[0]


def _fit_to_machine(options: dict[str, Any]) -> None:
    """Adapts options that need more GPUs than there are; warns if ``num_gpu`` is lowered."""
    available = torch.cuda.device_count()
    if options["num_gpu"] == "auto":
        options["num_gpu"] = available
    elif options["num_gpu"] > available and not options["dist"]:
        warnings.warn(
            f"num_gpu is {options['num_gpu']}; this machine has {available}, which are used",
            stacklevel=2,
        )
        options["num_gpu"] = available
    if available == 0:
        options["num_gpu"] = 0
        for dataset in options["datasets"].values():
            dataset["pin_memory"] = False
            if dataset.get("prefetch_mode") == "cuda":
                dataset["prefetch_mode"] = None


def _complete_datasets(options: dict[str, Any]) -> None:
    for key, dataset in options["datasets"].items():
        dataset["phase"] = key.split("_")[0]
        if "scale" in options:
            dataset["scale"] = options["scale"]
        for root in ("dataroot_gt", "dataroot_lq"):
            value = dataset.get(root)
            if isinstance(value, str):
                dataset[root] = os.path.expanduser(value)
            elif isinstance(value, list):
                dataset[root] = [os.path.expanduser(each) for each in value]


def _set_folders(options: dict[str, Any], root: Path) -> None:
    path = options["path"]
    for key, value in path.items():
        if value is not None and ("resume_state" in key or "pretrain_network" in key):
            path[key] = os.path.expanduser(value)
    kind = "experiments" if options["is_train"] else "results"
    parent = Path(os.path.expanduser(path.get(f"{kind}_root") or root / kind))
    own = parent / options["name"]
    # BasicSR creates a folder for every entry that it does not recognize.
    for other in ("experiments_root", "results_root", "root"):
        path.pop(other, None)
    path[f"{kind}_root"] = str(own)
    path["log"] = str(own)
    path["visualization"] = str(own / "visualization")
    if options["is_train"]:
        path["models"] = str(own / "models")
        path["training_states"] = str(own / "training_states")
