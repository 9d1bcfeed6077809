"""Weights, gradients and optimizer states shared out among the processes of a training: FSDP2.

Zhao et al. 2023 (arXiv 2304.11277) in the form of ``torch.distributed.fsdp.fully_shard``: every
process holds a part of each tensor, along its first dimension. The weights of a part of the network
are gathered when it is computed, and gradients are averaged and shared out again, so that a step is
that of ``DistributedDataParallel`` up to the order of sums. Checkpoints do not know about it: they
hold whole tensors, and any number of processes can go on from them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mambair.errors import UserError, listed


class ShardingError(UserError):
    """A network cannot be shared out; names it and the parameters."""


class Sharding:
    """Networks of a model that are shared out among its processes.

    All processes must call its methods together.

    Args:
        device: that of this process.
        processes: how many there are.
    """

    def __init__(self, device: torch.device, processes: int) -> None:
        self._mesh = init_device_mesh(device.type, (processes,))
        self._device = device
        self._twin: nn.Module | None = None

    def share_out(self, net: nn.Module) -> None:
        """Replaces the parameters of a network by this process's parts of the first one's.

        A network may say by a method ``sharding_units()`` which of its modules are gathered one
        after the other; otherwise it is gathered as a whole.

        Args:
            net: the network; its class becomes one that is derived from its class.

        Raises:
            ShardingError: see :func:`check_parameters`.
        """
        check_parameters(net)
        if self._twin is None:
            self._twin = copy.deepcopy(net).cpu().requires_grad_(False)
        for tensor in net.state_dict().values():
            torch.distributed.broadcast(tensor, 0)
        units = getattr(net, "sharding_units", list)
        for unit in (*units(), net):
            fully_shard(unit, mesh=self._mesh)

    @contextmanager
    def whole_network(self, model: Any) -> Iterator[None]:
        """Lets a model restore pictures with a whole network, with the weights to be validated.

        The processes may then compute different numbers of pictures and tiles, for which networks
        that are shared out would wait.

        Args:
            model: the model.
        """
        assert self._twin is not None
        shared = self._shared_by(model)
        self._twin.load_state_dict(whole(shared.get("net_g_ema", shared["net_g"]).state_dict()))
        self._twin.to(self._device)
        try:
            with _replaced(model, dict.fromkeys(shared, self._twin)):
                yield
        finally:
            self._twin.cpu()

    @contextmanager
    def whole_states(self, model: Any) -> Iterator[None]:
        """Lets a model save whole networks and optimizers."""
        stand_ins = {name: _Whole(each) for name, each in self._shared_by(model).items()}
        with _replaced(model, {**stand_ins, "optimizers": list(map(_Whole, model.optimizers))}):
            yield

    @staticmethod
    def _shared_by(model: Any) -> dict[str, Any]:
        return {name: each for name, each in vars(model).items() if isinstance(each, FSDPModule)}


def check_parameters(net: nn.Module) -> None:
    """Asks whether the parameters of a network can be cut into parts.

    Raises:
        ShardingError: some are single numbers.
    """
    single = [name for name, parameter in net.named_parameters() if parameter.dim() == 0]
    if single:
        raise ShardingError(
            f"train.sharding: parameters of {type(net).__name__} are single numbers, which cannot "
            f"be shared out: {listed(single)}"
        )


@contextmanager
def _replaced(model: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(model, name) for name in attributes}
    vars(model).update(attributes)
    try:
        yield
    finally:
        vars(model).update(before)


class _Whole:
    """Stands for a network or an optimizer that is saved.

    Args:
        owner: the network or the optimizer.
    """

    def __init__(self, owner: Any) -> None:
        self._state = whole(owner.state_dict(), to_first=True)

    def state_dict(self) -> Any:
        """The whole tensors, on the CPU; in other processes than the first, without values."""
        return self._state


def whole(state: Any, to_first: bool = False) -> Any:
    """Nested containers with whole tensors in the place of parts; all processes must call it.

    Args:
        state: a tensor or containers of tensors.
        to_first: whether the first process gets the tensors on the CPU, and the others empty ones,
            so that no device ever holds all of them.
    """
    if torch.is_tensor(state):
        full = state.full_tensor() if isinstance(state, DTensor) else state
        if not to_first:
            return full
        return full.cpu() if torch.distributed.get_rank() == 0 else full.new_empty(0)
    if isinstance(state, Mapping):
        return {key: whole(each, to_first) for key, each in state.items()}
    return [whole(each, to_first) for each in state] if isinstance(state, list) else state


def parts_for(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """A saved state of whole tensors as an optimizer of shared-out parameters takes it.

    Args:
        optimizer: its parameters say how.
        state: as :meth:`torch.optim.Optimizer.state_dict` returns it.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    numbers = [each for group in state["param_groups"] for each in group["params"]]
    like = dict(zip(numbers, parameters, strict=True))

    def part(value: Any, parameter: Any) -> Any:
        fits = torch.is_tensor(value) and value.shape == parameter.shape
        if not fits or isinstance(value, DTensor) or not isinstance(parameter, DTensor):
            return value
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements
        )

    entries = {
        number: {key: part(value, like[number]) for key, value in each.items()}
        for number, each in state["state"].items()
    }
    return {**state, "state": entries}


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor."""
    part: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return part


def is_part(tensor: Tensor) -> bool:
    """Returns whether this process holds a part of a tensor, and others the rest."""
    return isinstance(tensor, DTensor)
