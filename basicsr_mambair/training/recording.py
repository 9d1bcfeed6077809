"""Writes down what makes a run, and how each leg of it ends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from basicsr_mambair.runs.fingerprint import fingerprint
from basicsr_mambair.runs.provenance import (
    ProvenanceError,
    begin_leg,
    describe_leg,
    end_leg,
    last_leg,
)
from basicsr_mambair.training.interrupts import TrainingInterrupted
from basicsr_mambair.training.loop import Training


@contextmanager
def recorded(
    training: Training, option_file: str, begin: int, continued: bool, log: logging.Logger
) -> Iterator[None]:
    """Keeps the record of a leg of a run (``provenance.yml``); the first process writes it.

    A leg that is killed has no end in the record.

    Args:
        training: the training, complete.
        option_file: where its options came from.
        begin: iterations that have been made before.
        continued: whether they were made by this run, so that its data should be the same.
        log: the log of the run.

    Raises:
        ProvenanceError: the record could not be written.
    """
    options = training.options
    if options["rank"] != 0:
        yield
        return
    folder = options["path"]["experiments_root"]
    data = fingerprints(training)
    if continued:
        for note in _changed_data(last_leg(folder), data):
            log.warning(note)
    leg = describe_leg(options, option_file, begin, training.model, data)
    begin_leg(folder, leg)
    state, reason = "failed", None
    try:
        yield
        state = "finished"
    except TrainingInterrupted:
        state = "stopped"
        raise
    except KeyboardInterrupt:
        state, reason = "stopped", "interrupted twice, so the last iterations were not saved"
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise
    except BaseException:
        state = ""  # the interpreter is leaving: as if it had been killed
        raise
    finally:
        if state == "finished":
            end_leg(folder, state, training.reporter.iteration)
        elif state:
            with contextlib.suppress(ProvenanceError):  # what ended the run matters more
                end_leg(folder, state, training.reporter.iteration, reason)


def fingerprints(training: Training) -> dict[str, Any]:
    """The fingerprints of the data sets of a training, by their keys in the option file."""
    sections = training.options["datasets"]
    keys = ["train", *(key for key in sections if key != "train")]
    loaders = dict(zip(keys, [training.batches, *training.validation_loaders], strict=True))
    return {key: fingerprint(loader.dataset) for key, loader in loaders.items()}


def _changed_data(before: Mapping[str, Any] | None, data: Mapping[str, Any]) -> Iterator[str]:
    """What the log should say of data sets that are not those that the run began with."""
    for key, now in data.items():
        then = ((before or {}).get("data") or {}).get(key)
        if then is not None and then != now:
            yield (
                f"datasets.{key}: its files have changed since the run was started last: "
                f"{then['samples']} samples then, {now['samples']} now; names or sizes differ"
            )
