"""Repairs of how BasicSR's models read and write files."""

from __future__ import annotations

import os
from typing import Any

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    'a checkpoint that cannot be written is logged and forgotten: "Just ignore it."',
    thread="basicsr/models/base_model.py, save_network, save_training_state",
)
def checkpoint_writes() -> bool:
    """Writes checkpoints atomically; a failure ends the run with an error."""
    from basicsr.models.base_model import BaseModel
    from basicsr.utils.dist_util import master_only

    if not source_has(BaseModel.save_network, "Just ignore it"):
        return False
    from mambair.checkpoint import save_checkpoint

    def save_network(
        self: Any, net: Any, net_label: str, current_iter: int, param_key: Any = "params"
    ) -> None:
        nets = net if isinstance(net, list) else [net]
        keys = param_key if isinstance(param_key, list) else [param_key]
        contents = {}
        for each, key in zip(nets, keys, strict=True):
            state = self.get_bare_model(each).state_dict()
            contents[key] = {
                name.removeprefix("module."): value.cpu() for name, value in state.items()
            }
        # The section that builds it, for those who load the file without the option file.
        section = self.opt.get(net_label.replace("net_", "network_", 1))
        if section is not None:
            contents["network"] = dict(section)
        label = "latest" if current_iter == -1 else current_iter
        path = os.path.join(self.opt["path"]["models"], f"{net_label}_{label}.pth")
        save_checkpoint(contents, path)

    def save_training_state(self: Any, epoch: int, current_iter: int) -> None:
        if current_iter == -1:
            return
        state = {
            "epoch": epoch,
            "iter": current_iter,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
        }
        state |= getattr(self, "extra_training_state", dict)()
        folder = self.opt["path"]["training_states"]
        save_checkpoint(state, os.path.join(folder, f"{current_iter}.state"))

    replace(BaseModel, "save_network", master_only(save_network))
    replace(BaseModel, "save_training_state", master_only(save_training_state))
    return True


@repair(
    "weights that do not fit end in a page of keys; safetensors cannot be read",
    thread="basicsr/models/base_model.py, load_network; MambaIR#9, #21, #22, #70, #116, #135",
)
def checkpoint_reads() -> bool:
    """Reads .pth and .safetensors; says in a few lines what does not fit."""
    from basicsr.models.base_model import BaseModel

    if not source_has(BaseModel.load_network, "torch.load(load_path, map_location=lambda"):
        return False
    from basicsr.utils import get_root_logger

    from mambair.archs.registry import describe_weights
    from mambair.checkpoint import load_into, load_weights

    def load_network(
        self: Any, net: Any, load_path: str, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        net = self.get_bare_model(net)
        weights, key = load_weights(load_path, param_key)
        get_root_logger().info(
            f"Loading {net.__class__.__name__} model from {load_path}, with param key: [{key}]."
        )
        for note in load_into(net, weights, load_path, strict, describe_weights):
            get_root_logger().warning(note)

    replace(BaseModel, "load_network", load_network)
    return True
