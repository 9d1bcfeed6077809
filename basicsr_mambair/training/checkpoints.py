"""Reads and writes the files of a run: networks and training states."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from basicsr_mambair.options.sections import LoggerOptions
from basicsr_mambair.training.writing import snapshot, write_healthy
from mambair.archs.registry import describe_weights
from mambair.checkpoint import SECTION_KEY, load_into, load_weights


def save_network(
    model: Any, net: Any, net_label: str, current_iter: int | str, param_key: Any = "params"
) -> None:
    """Writes networks and the option section that builds them, completely or not at all.

    In a run of :mod:`.loop` they are written in its thread, from a snapshot. With
    ``logger.save_safetensors`` the weights to use, averaged if there are such, are written again as
    safetensors, beside the file and after it.

    Args:
        model: a model of BasicSR.
        net: a network or a list of them (weights and their moving average).
        net_label: ``net_g``, ``net_d``, …
        current_iter: iteration, or another end of the name; −1 is the latest.
        param_key: entry of the weights, or a list of entries.

    Raises:
        CheckpointError: the weights are not finite, or a file could not be written.
    """
    nets = net if isinstance(net, list) else [net]
    keys = param_key if isinstance(param_key, list) else [param_key]
    contents = {}
    for each, key in zip(nets, keys, strict=True):
        state = model.get_bare_model(each).state_dict()
        contents[key] = {name.removeprefix("module."): value for name, value in state.items()}
    # The section that builds it, for those who load the file without the option file.
    section = model.opt.get(net_label.replace("net_", "network_", 1))
    if section is not None:
        contents[SECTION_KEY] = dict(section)
    label = "latest" if current_iter == -1 else current_iter
    path = os.path.join(model.opt["path"]["models"], f"{net_label}_{label}.pth")
    _write(model, contents, path, tuple(keys))
    logger = model.opt.get("logger") or {}  # a measurement has none
    if logger.get("save_safetensors", LoggerOptions.save_safetensors):
        used = {key: contents[key] for key in (keys[-1], SECTION_KEY) if key in contents}
        _write(model, used, str(Path(path).with_suffix(".safetensors")), (keys[-1],))


def save_training_state(model: Any, epoch: int, current_iter: int | str) -> None:
    """Writes optimizers, schedulers and further state of a model, completely or not at all.

    In a run of :mod:`.loop` it is written in its thread, from a snapshot, after the networks.

    Raises:
        CheckpointError: the optimizers' state is not finite, or a file could not be written.
    """
    if not isinstance(current_iter, int) or current_iter == -1:  # weights alone
        return
    state = {
        "epoch": epoch,
        "iter": current_iter,
        "optimizers": [optimizer.state_dict() for optimizer in model.optimizers],
        "schedulers": [scheduler.state_dict() for scheduler in model.schedulers],
    }
    state |= getattr(model, "extra_training_state", dict)()
    run_state = getattr(model, "run_state", None)
    if run_state is not None:
        state |= run_state.contents(model, current_iter)
    folder = model.opt["path"]["training_states"]
    _write(model, state, os.path.join(folder, f"{current_iter}.state"), ("optimizers",))


def _write(model: Any, contents: dict[str, Any], path: str, checked: tuple[str, ...]) -> None:
    writer = getattr(model, "checkpoint_writer", None)
    if writer is None:
        write_healthy(snapshot(contents), path, checked)
    else:
        writer.write(contents, path, checked)


def load_network(
    model: Any, net: Any, load_path: str, strict: bool = True, param_key: str | None = "params"
) -> None:
    """Reads weights into a network; the log says from which entry, and what does not fit.

    Raises:
        CheckpointError: the file cannot be read, or with ``strict`` does not fit the network.
    """
    from basicsr.utils import get_root_logger

    net = model.get_bare_model(net)
    weights, key = load_weights(load_path, param_key)
    get_root_logger().info(
        f"Loading {net.__class__.__name__} model from {load_path}, with param key: [{key}]."
    )
    for note in load_into(net, weights, load_path, strict, describe_weights):
        get_root_logger().warning(note)
