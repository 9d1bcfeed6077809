"""The loop: iterations, log lines, checkpoints and validations, from any iteration to the last."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import Any

from basicsr_mambair.options.progressive import described
from basicsr_mambair.options.sections import TrainOptions
from basicsr_mambair.training.agreement import any_process
from basicsr_mambair.training.guard import StepGuard
from basicsr_mambair.training.interrupts import Interrupts
from basicsr_mambair.training.loaders import living_workers
from basicsr_mambair.training.randomness import separate_randomness
from basicsr_mambair.training.reporting import Reporter
from basicsr_mambair.training.resuming import Resumed, RunState
from basicsr_mambair.training.retention import delete_old
from basicsr_mambair.training.sampling import RunSampler
from basicsr_mambair.training.unreadable import UnreadablePictures
from basicsr_mambair.training.writing import CheckpointWriter


class Training:
    """A run: a model, the batches that it is trained on, and what it is validated with.

    A checkpoint is saved before the validation of its iteration, so that a validation that fails
    loses nothing; a run that is resumed there validates first. Validation leaves the random
    generators as they were, so that how often one validates does not change the training.

    Args:
        options: the options of the run.
        model: a model of BasicSR.
        batches: the loader of the rest of the training.
        validation: the loaders of validation.
        tracker: TensorBoard's writer or what takes its place, or ``None``.
        interrupts: says whether a signal has come.
    """

    def __init__(
        self,
        options: dict[str, Any],
        model: Any,
        batches: Any,
        validation: list[Any],
        tracker: Any,
        interrupts: Interrupts,
    ) -> None:
        from basicsr.utils import get_root_logger

        self.options, self.model, self.batches = options, model, batches
        self.validation_loaders, self.interrupts = validation, interrupts
        self.log = get_root_logger()
        self.total = int(options["train"]["total_iter"])
        self.sampler: RunSampler = batches.batch_sampler
        self._validated = -1
        most = options["train"].get("max_skipped_steps", TrainOptions.max_skipped_steps)
        self.guard = StepGuard(model, most, self.log)
        self.unreadable = UnreadablePictures(self.log, options["rank"])
        self.reporter = Reporter(options, model, tracker, self.log)
        self.writer = CheckpointWriter()
        model.checkpoint_writer = self.writer

    def run(self, resumed: Resumed | None) -> None:
        """Trains to the last iteration; saves the latest weights and validates.

        Args:
            resumed: where to begin; ``None``: at the first iteration.

        Raises:
            CheckpointError: a checkpoint could not be written.
            TrainingInterrupted: a signal came; a checkpoint has been saved.
        """
        with living_workers():  # outside: the news may come while the writer is waited for
            try:
                self._run(resumed)
            finally:
                self.writer.close()

    def _run(self, resumed: Resumed | None) -> None:
        begin = 0 if resumed is None else resumed.iteration
        self.model.run_state = RunState(self.options, self.sampler)
        self.interrupts.listen()
        if resumed is not None:
            validates = self._is_due(begin, "val")
            self.reporter.continue_at(begin, validates or begin >= self.total)
            if begin < self.total and validates:
                self.validate(begin)
            resumed.restore_random_state(self.options["rank"])
        started = time.time()
        self.log.info(f"Start training from epoch: {self._epoch(begin)}, iter: {begin}")
        with self.reporter.iterations(begin):
            self._iterate(begin)
        seconds = datetime.timedelta(seconds=int(time.time() - started))
        self.log.info(f"End of training. Time consumed: {seconds}")
        self.unreadable.summarize()
        self.log.info("Save the latest model.")
        self.model.save(epoch=-1, current_iter=-1)  # the latest
        self.validate(max(begin, self.total))
        self.writer.finish()

    def _iterate(self, begin: int) -> None:
        warmup = self.options["train"].get("warmup_iter", -1)
        self.reporter.starts()
        for iteration, batch in enumerate(self._read(), begin + 1):
            self.unreadable.take_from(batch)
            self.reporter.has_read(batch)
            self._announce_stage(iteration, iteration == begin + 1)
            self.model.update_learning_rate(iteration, warmup_iter=warmup)
            self.model.feed_data(batch)
            self.model.optimize_parameters(iteration)
            self.reporter.has_stepped()
            self.guard.check(iteration, batch)
            if self._is_due(iteration, "print"):
                self.reporter.report(iteration, self._epoch(iteration))
            stopped = self.interrupts.someone_was_interrupted(
                self.options["dist"], self.model.device
            )
            if stopped or self._is_due(iteration, "save") or iteration == self.total:
                self.save(iteration)
            if stopped:
                self.writer.finish()
                self.interrupts.stop(iteration, saved=self.guard.in_a_row == 0)
            self.writer.check()
            if self._is_due(iteration, "val"):
                self.validate(iteration)
            self.reporter.starts()

    def _announce_stage(self, iteration: int, anyway: bool) -> None:
        """Says which stage an iteration begins, or where a run continues, if there are several."""
        stage, stages = self.sampler.stages.at(iteration), self.sampler.stages
        if len(stages) > 1 and (anyway or stage.first == iteration):
            self.log.info(
                f"Stage {stage.number} of {len(stages)} from iteration {iteration}: "
                f"{described(stage)}"
            )

    def _read(self) -> Iterator[Any]:
        """The batches; on a GPU with ``prefetch_mode: cuda``, copied there ahead."""
        if self.options["datasets"]["train"].get("prefetch_mode") != "cuda":
            yield from self.batches
            return
        from basicsr.data.prefetch_dataloader import CUDAPrefetcher

        self.log.info("Use cuda prefetch dataloader")
        prefetcher = CUDAPrefetcher(self.batches, self.options)
        while (batch := prefetcher.next()) is not None:
            yield batch

    def save(self, iteration: int) -> None:
        """Saves networks and training state; deletes those that need not be kept.

        While steps are skipped nothing is saved: what is there may be the last that is healthy.
        """
        if self.guard.in_a_row:
            self.log.warning(f"iteration {iteration}: not saved, because its step was skipped.")
            return
        self.log.info("Saving models and training states.")
        self.writer.finish()  # at most one checkpoint waits in memory
        self.model.run_state.note_random_states()
        self.writer.then(self.reporter.flush)  # a state never outlives the figures before it
        self.model.save(self._epoch(iteration), iteration)
        if self.options["rank"] == 0:
            self.writer.then(lambda: delete_old(self.options["path"], self.options["logger"]))

    def validate(self, iteration: int) -> None:
        """Validates on every data set, unless this iteration has been validated."""
        if self.options.get("val") is None or iteration == self._validated:
            return
        self._validated = iteration
        with separate_randomness(devices=True):
            for loader in self.validation_loaders:
                with self.reporter.validation(iteration, loader.dataset.opt["name"]) as figures:
                    self.model.validation(
                        loader, iteration, figures, self.options["val"]["save_img"]
                    )
        self._keep_best(iteration)

    def _keep_best(self, iteration: int) -> None:
        """Saves weights that are the best so far on the first data set."""
        metric = self.options["logger"].get("keep_best")
        if metric is None:
            return
        name = self.validation_loaders[0].dataset.opt["name"]
        records: dict[str, Any] = getattr(self.model, "best_metric_results", {})
        best = records[name][metric] if records else {"iter": -1}  # the first process has figures
        if any_process(best["iter"] == iteration, self.options["dist"], self.model.device):
            if records:
                value = f"{best['val']:.4f}"
                self.log.info(f"Best {metric} so far on {name}: {value}; saving the weights.")
            self.model.save(-1, f"best_{metric}")

    def _epoch(self, iteration: int) -> int:
        """The epoch of an iteration's first sample."""
        return self.sampler.position_before(max(1, iteration)) // self.sampler.period

    def _is_due(self, iteration: int, what: str) -> bool:
        logger, val = self.options["logger"], self.options.get("val") or {}
        frequency = {
            "print": logger["print_freq"],
            "save": logger["save_checkpoint_freq"],
            "val": val.get("val_freq"),
        }[what]
        return frequency is not None and iteration % frequency == 0
