"""From the options of a run to the end of its training."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from basicsr_mambair.options.progressive import described
from basicsr_mambair.runs.lock import one_process
from basicsr_mambair.runs.tracking import Trackers, open_trackers, tensorboard_folder
from basicsr_mambair.training.interrupts import Interrupts
from basicsr_mambair.training.loaders import build_run_loader
from basicsr_mambair.training.loop import Training
from basicsr_mambair.training.peers import Peers
from basicsr_mambair.training.recording import recorded
from basicsr_mambair.training.resuming import Resumed, find_resume_state, resume_model
from basicsr_mambair.training.retention import check_space
from basicsr_mambair.training.sampling import RunSampler, stages_of
from mambair.atomic import sweep
from mambair.errors import UserError


class RunFolderError(UserError):
    """The folder of a run cannot be written to."""


def run_training(options: dict[str, Any], option_file: str, root: str) -> None:
    """Trains as BasicSR's ``train_pipeline`` does, by a loop that can begin anywhere.

    Args:
        options: the options of the run.
        option_file: where they came from; a copy is kept in the run's folder.
        root: folder of TensorBoard's files.

    Raises:
        CheckpointError: a checkpoint cannot be read or written.
        PeerError: there are several processes, and one of them has failed.
        ProvenanceError: the record of the run cannot be written.
        RunBusyError: another process trains this run.
        RunFolderError: the folder of the run cannot be written to.
        TrackingError: wandb cannot begin.
        TrainingInterrupted: a signal came; a checkpoint has been saved.
    """
    from basicsr.models import build_model
    from basicsr.train import copy_opt_file
    from basicsr.utils import get_env_info, get_root_logger, get_time_str
    from basicsr.utils.options import dict2str

    options["root_path"] = root
    repeatable = bool(options["train"].get("deterministic"))
    _choose_operators(repeatable)
    with (
        Peers(options["rank"], options["world_size"], say=_log_error) as peers,
        Interrupts(ignored=lambda: peers.end) as interrupts,
        _alone(options),
    ):
        resumed = find_resume_state(options)
        log_file = Path(options["path"]["log"]) / f"train_{options['name']}_{get_time_str()}.log"
        try:
            _make_folders(options, resumed)
            copy_opt_file(option_file, options["path"]["experiments_root"])
            log = get_root_logger(log_level=logging.INFO, log_file=str(log_file))
        except OSError as error:
            raise _not_writable(error, log_file.parent) from error
        log.info(get_env_info())
        log.info(dict2str(options))
        for each in peers.notes:
            log.warning(each)
        if options["rank"] == 0:
            _sweep(options, log)
        if options["num_gpu"] and not repeatable:
            log.info(
                "Some operators do not give the same bits every time on a GPU, so a resumed run is "
                "not the same to the last bit; train.deterministic: true chooses those that do."
            )
        batches, validation = _loaders(options, resumed, log)
        model = build_model(options)
        if resumed is not None:
            resume_model(model, resumed, options, log)
        begin = 0 if resumed is None else resumed.iteration
        if options["rank"] == 0 and (note := check_space(model, options, begin)):
            log.warning(note)
        continued = resumed is not None and resumed.is_of(options)
        trackers = open_trackers(options, begin if continued else None, log)
        training = Training(options, model, batches, validation, trackers, interrupts)
        with _closed(trackers), recorded(training, option_file, begin, continued, log):
            training.run(resumed)


@contextmanager
def _alone(options: dict[str, Any]) -> Iterator[None]:
    """Lets one run at a time train in a folder."""
    folder = options["path"]["experiments_root"]
    with contextlib.ExitStack() as stack:
        if options["rank"] == 0:
            try:
                stack.enter_context(one_process(folder))
            except OSError as error:
                raise _not_writable(error, Path(folder).parent) from error
        yield


def _not_writable(error: OSError, folder: Path) -> RunFolderError:
    return RunFolderError(
        f"{error.filename or folder}: cannot be written to ({error.strerror}); "
        "path.experiments_root names another place"
    )


@contextmanager
def _closed(trackers: Trackers | None) -> Iterator[None]:
    """Closes the trackers at the end, and tells them whether the run is finished."""
    finished = False
    try:
        yield
        finished = True
    finally:
        if trackers is not None:
            trackers.close(finished)


def _log_error(text: str) -> None:
    """Writes to the log of the run, which need not be there yet."""
    from basicsr.utils import get_root_logger

    get_root_logger().error(text)


def _choose_operators(repeatable: bool) -> None:
    """Lets torch choose the fastest operators of a GPU, or those that repeat their results."""
    torch.backends.cudnn.benchmark = not repeatable
    if repeatable:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True, warn_only=True)


def _make_folders(options: dict[str, Any], resumed: Resumed | None) -> None:
    from basicsr.utils import make_exp_dirs, mkdir_and_rename

    if resumed is not None and resumed.is_of(options):
        return
    make_exp_dirs(options)
    events = tensorboard_folder(options)
    if events is not None and options["rank"] == 0:
        mkdir_and_rename(str(events))


def _sweep(options: dict[str, Any], log: logging.Logger) -> None:
    """Removes what processes left that were killed while they wrote."""
    for folder in ("models", "training_states"):
        for stray in sweep(options["path"][folder]):
            log.warning(f"removed an incomplete file of a run that was killed: {stray}")


def _loaders(
    options: dict[str, Any], resumed: Resumed | None, log: logging.Logger
) -> tuple[Any, list[Any]]:
    """The loader of the rest of the training, and those of validation."""
    from basicsr.data import build_dataloader, build_dataset

    shared = dict(num_gpu=options["num_gpu"], dist=options["dist"], seed=options["manual_seed"])
    batches, validation = None, []
    for key, section in options["datasets"].items():
        dataset = build_dataset(section)
        if key.split("_")[0] == "val":
            validation.append(build_dataloader(dataset, section, sampler=None, **shared))
            log.info(f"Number of val images/folders in {section['name']}: {len(dataset)}")
            continue
        sampler = RunSampler(
            len(dataset),
            section.get("dataset_enlarge_ratio", 1),
            options["manual_seed"],
            stages_of(options),
            int(options["train"]["total_iter"]),
            done=0 if resumed is None else resumed.iteration,
            start=None if resumed is None else resumed.position,
            rank=options["rank"],
            processes=options["world_size"],
        )
        gpus = 1 if options["dist"] else max(1, options["num_gpu"])
        workers = section["num_worker_per_gpu"] * gpus
        batches = build_run_loader(dataset, section, sampler, workers)
        log.info(_statistics(sampler, section))
    return batches, validation


def _statistics(sampler: RunSampler, section: dict[str, Any]) -> str:
    """The sizes of a run for the log; BasicSR's lines, and the stages if there are several."""
    stages, total = sampler.stages, sampler.last
    samples = stages.samples(total) * sampler.processes
    lines = [
        "Training statistics:",
        f"Number of train images: {sampler.pictures}",
        f"Dataset enlarge ratio: {section.get('dataset_enlarge_ratio', 1)}",
        f"World size (gpu number): {sampler.processes}",
        f"Total epochs: {samples / sampler.period:.4g}; iters: {total}.",
    ]
    if len(stages) == 1:
        everywhere = stages[0].batch * sampler.processes
        lines[3:3] = [f"Batch size per gpu: {section['batch_size_per_gpu']}"]
        lines[5:5] = [f"Iterations per epoch: {sampler.period / everywhere:g}"]
        return "\n\t".join(lines)
    ends = [*(stage.first - 1 for stage in stages[1:]), total]
    for stage, end in zip(stages, ends, strict=True):
        last = min(end, total)
        when = f"iterations {stage.first} to {last}" if stage.first <= last else "is not reached"
        lines.append(f"Stage {stage.number}: {when}; {described(stage)}")
    return "\n\t".join(lines)
