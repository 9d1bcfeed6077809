"""Repairs of distributed launch without a GPU."""

from __future__ import annotations

import os
from typing import Any

import torch

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "--launcher divides by the number of GPUs and supports only nccl; processes that torchrun has "
    "restarted look for those before them",
    thread="basicsr/utils/dist_util.py, _init_dist_pytorch, _init_dist_slurm",
)
def process_group_without_gpu() -> bool:
    """Uses gloo if there is no GPU or gloo is requested; gives every restart its own store."""
    from basicsr.utils import dist_util

    if not source_has(dist_util._init_dist_pytorch, "rank % num_gpus"):
        return False
    original_pytorch, original_slurm = dist_util._init_dist_pytorch, dist_util._init_dist_slurm

    def _init_dist_pytorch(backend: str, **kwargs: Any) -> None:
        kwargs = {**_place_in_group(), **kwargs}
        if torch.cuda.is_available() and backend != "gloo":
            original_pytorch(backend, **kwargs)
        else:
            torch.distributed.init_process_group(backend="gloo", **kwargs)

    def _init_dist_slurm(backend: str, port: int | None = None) -> None:
        if torch.cuda.is_available() and backend != "gloo":
            original_slurm(backend, port)
            return
        os.environ.setdefault("MASTER_PORT", str(port or 29500))
        os.environ.setdefault("MASTER_ADDR", _first_slurm_host())
        os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
        os.environ["RANK"] = os.environ["SLURM_PROCID"]
        torch.distributed.init_process_group(backend="gloo")

    replace(dist_util, "_init_dist_pytorch", _init_dist_pytorch)
    replace(dist_util, "_init_dist_slurm", _init_dist_slurm)
    return True


def _place_in_group() -> dict[str, Any]:
    """The arguments of ``init_process_group`` for a process that torchrun has started.

    With a static rendezvous (``--master_port``), the store outlives a restart, and holds addresses
    of processes that are gone. So each attempt has keys of its own.
    """
    if "TORCHELASTIC_RESTART_COUNT" not in os.environ:
        return {}
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, processes = next(rendezvous("env://"))
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    store = PrefixStore(f"attempt_{attempt}", store)
    return {"store": store, "rank": rank, "world_size": processes}


def _first_slurm_host() -> str:
    import subprocess

    command = ["scontrol", "show", "hostname", os.environ["SLURM_NODELIST"]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]


@repair(
    "DistributedDataParallel is always given a CUDA device",
    thread="basicsr/models/base_model.py, model_to_device",
)
def ddp_without_gpu() -> bool:
    """Wraps the network without device ids where it lives on the CPU."""
    from basicsr.models.base_model import BaseModel
    from torch.nn.parallel import DistributedDataParallel

    if not source_has(BaseModel.model_to_device, "device_ids=[torch.cuda.current_device()]"):
        return False
    original = BaseModel.model_to_device

    def model_to_device(self: Any, net: torch.nn.Module) -> Any:
        if not self.opt["dist"] or self.device.type == "cuda":
            return original(self, net)
        return DistributedDataParallel(
            net.to(self.device),
            find_unused_parameters=self.opt.get("find_unused_parameters", False),
        )

    replace(BaseModel, "model_to_device", model_to_device)
    return True
