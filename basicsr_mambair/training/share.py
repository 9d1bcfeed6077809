"""The part of a command's work that one of several processes does (``--launcher``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from basicsr_mambair.training.meeting import PeerError
from mambair.errors import listed

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Share:
    """What one process does.

    Attributes:
        rank: its number.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def part(self, items: Sequence[T]) -> list[T]:
        """Returns the items of this process: each has one owner."""
        return list(items[self.rank :: self.processes])

    def meet(self) -> None:
        """Waits until all processes are here."""
        if self.processes > 1:
            import torch

            torch.distributed.barrier()

    def told(self, value: T) -> T:
        """Returns the value of the first process in all of them."""
        if self.processes == 1:
            return value
        import torch

        values: list[Any] = [value]
        torch.distributed.broadcast_object_list(values)
        told: T = values[0]
        return told

    def in_turns(self, items: Iterable[T], work: Callable[[T], R]) -> Iterator[R]:
        """Does work on every item in one process, and yields the results in order in the first.

        All processes must iterate; the others do not get results.

        Args:
            items: the same in every process.
            work: what is done; its result can be pickled.
        """
        for number, item in enumerate(items):
            owner = number % self.processes
            if owner == self.rank == 0:
                yield work(item)
            elif owner == self.rank:
                self._send(work(item))
            elif self.rank == 0:
                yield self._receive(owner)

    def _send(self, value: Any) -> None:
        import torch

        torch.distributed.send_object_list([value], dst=0)

    def _receive(self, owner: int) -> Any:
        import torch

        values: list[Any] = [None]
        torch.distributed.recv_object_list(values, src=owner)
        return values[0]

    def collect(self, value: T) -> list[T] | None:
        """Returns the values of all processes by rank to the first; ``None`` to the others."""
        if self.processes == 1:
            return [value]
        import torch

        values: list[Any] | None = [None] * self.processes if self.rank == 0 else None
        torch.distributed.gather_object(value, values)
        return values


ALONE = Share()

# What each launcher calls itself, and the environment that it gives to the processes it starts.
_ENVIRONMENTS = {
    "pytorch": ("torchrun", ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")),
    "slurm": ("srun", ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST")),
}


def check_launched(launcher: str) -> None:
    """Makes sure that the launcher has started this process.

    Args:
        launcher: ``none``, ``pytorch`` or ``slurm``.

    Raises:
        PeerError: it has not; names what is missing.
    """
    if launcher == "none":
        return
    program, variables = _ENVIRONMENTS[launcher]
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise PeerError(
            f"--launcher {launcher}: {program} has not started this process ({listed(missing)} not "
            f"set); start the command by {program}, or leave --launcher out for a single process"
        )


@contextmanager
def shared(launcher: str, advice: str) -> Iterator[Share]:
    """Joins the processes that torchrun has started, which end together.

    Args:
        launcher: ``none`` or ``pytorch``.
        advice: how to go on if one of them dies.

    Raises:
        PeerError: torchrun has not started them, or one has died.
    """
    check_launched(launcher)
    if launcher == "none":
        yield ALONE
        return
    import torch

    from basicsr_mambair.training.peers import Peers

    torch.distributed.init_process_group("gloo")
    if torch.cuda.is_available():
        torch.cuda.set_device(local_device("auto"))
    share = Share(torch.distributed.get_rank(), torch.distributed.get_world_size())
    with Peers(share.rank, share.processes, advice):
        yield share


def local_device(name: str) -> str:
    """Returns the device of this process on its machine: ``auto`` means a GPU for each."""
    import torch

    if name == "auto" and torch.cuda.is_available():
        number = int(os.environ.get("LOCAL_RANK", "0"))
        return f"cuda:{number % torch.cuda.device_count()}"
    return name
