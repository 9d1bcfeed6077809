"""``basicsr train``."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

import click

from basicsr_mambair.cli.run_arguments import arguments_given, as_run_arguments, run_arguments


@click.command()
@run_arguments
def train(**arguments: Any) -> None:
    """Train the network of an option file.

    Writes to experiments/NAME/ under the current directory, or under path.experiments_root of the
    option file. Ctrl-C finishes the iteration, saves a checkpoint and stops; --auto_resume goes on
    from there.

    \b
    basicsr train -opt options/train/quickstart.yml
    basicsr train -opt FILE --force_yml train:total_iter=1000 datasets:train:batch_size_per_gpu=4
    torchrun --nproc_per_node=2 -m basicsr_mambair train -opt FILE --launcher pytorch
    """
    import basicsr.train

    with arguments_given(as_run_arguments(**arguments)), _Interruptible(basicsr.train):
        basicsr.train.train_pipeline(os.getcwd())


class _InterruptedError(click.ClickException):
    exit_code = 130  # as of a process that SIGINT ended


class _Interruptible:
    """Makes Ctrl-C and SIGTERM wait for the end of an iteration and save a checkpoint first.

    BasicSR's trainer offers no hook for it, so the two functions through which it makes the model
    and the sampler are wrapped while it runs. A second signal stops at once. In distributed
    training the processes agree after every iteration, so that all stop after the same one.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.interrupted = False
        self.sampler: Any = None

    def __enter__(self) -> None:
        self.build_model = self.trainer.build_model
        self.create_loaders = self.trainer.create_train_val_dataloader
        self.handlers = {number: signal.getsignal(number) for number in self._SIGNALS}
        self.trainer.build_model = self._build_model
        self.trainer.create_train_val_dataloader = self._create_loaders

    def __exit__(self, *exception: object) -> None:
        self.trainer.build_model = self.build_model
        self.trainer.create_train_val_dataloader = self.create_loaders
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _create_loaders(self, opt: dict, logger: Any) -> Any:
        loaders = self.create_loaders(opt, logger)
        self.sampler = loaders[1]
        return loaders

    def _build_model(self, opt: dict) -> Any:
        model = self.build_model(opt)
        optimize = model.optimize_parameters

        def optimize_parameters(current_iter: int) -> None:
            optimize(current_iter)
            if self._someone_interrupted(opt["dist"], model.device):
                model.save(self.sampler.epoch, current_iter)
                raise _InterruptedError(
                    f"interrupted; saved iteration {current_iter}. "
                    "Go on with the same command and --auto_resume."
                )

        model.optimize_parameters = optimize_parameters
        for number in self._SIGNALS:
            signal.signal(number, self._on_signal)
        return model

    def _someone_interrupted(self, distributed: bool, device: Any) -> bool:
        if not distributed:
            return self.interrupted
        import torch

        flag = torch.tensor(int(self.interrupted), device=device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag.item())

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        click.echo(f"\n{name}: saving after this iteration (once more to stop at once)", err=True)
