"""Validation and measurement by BasicSR's models: what they do not say, and would overwrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from basicsr_mambair.models.validation import check_finite, not_measurable, paths_of
from mambair.imaging.targets import UniqueNames


class NamedLoader:
    """A loader of validation that remembers the pictures of its last batch.

    Results are saved under the names of pictures: the second picture of a name gets a number.

    Args:
        loader: a ``DataLoader``.

    Attributes:
        dataset: that of the loader.
        pictures: paths of the pictures.
    """

    def __init__(self, loader: Any) -> None:
        self._loader, self.dataset = loader, loader.dataset
        self.pictures = ""

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        names = UniqueNames()
        for batch in self._loader:
            self.pictures = paths_of(batch)
            yield _renamed(batch, names)


def _renamed(batch: Any, names: UniqueNames) -> Any:
    paths = batch.get("lq_path")
    if not isinstance(paths, (list, tuple)) or len(paths) != 1:  # clips have more, or a text
        return batch
    path = Path(paths[0])
    name = names.take(path.stem)
    if name == path.stem:
        return batch
    return {**batch, "lq_path": [str(path.with_name(f"{name}{path.suffix}"))]}


def validate_finite(
    model: Any, validate: Callable[..., None], loader: Any, current_iter: Any, *rest: Any
) -> None:
    """Runs a model's validation, and names pictures whose result is not finite.

    Args:
        model: a model of BasicSR.
        validate: its ``nondist_validation`` as BasicSR has it.
        loader: the loader of a data set.
        current_iter: iteration or, in a measurement, the name of the run.
        rest: TensorBoard's writer, and whether pictures are saved.

    Raises:
        PictureError: a picture cannot be measured; or, in a measurement, its result is not finite.
            Training goes on then, and the log says so.
    """
    named, visuals = NamedLoader(loader), model.get_current_visuals

    def get_current_visuals() -> Any:
        found = visuals()
        check_finite(found["result"], named.pictures, model.is_train)
        return found

    model.get_current_visuals = get_current_visuals
    try:
        validate(model, named, current_iter, *rest)
    except AssertionError as error:
        raise not_measurable(named.pictures, error) from error
    finally:
        del model.get_current_visuals


def log_figures(
    model: Any, write: Callable[..., None], current_iter: Any, dataset: str, tb_logger: Any
) -> None:
    """Logs the figures of a validation; the best of several only where there are several.

    Args:
        model: a model of BasicSR.
        write: its ``_log_validation_metric_values`` as BasicSR has it.
        current_iter: iteration or, in a measurement, the name of the run.
        dataset: name of the data set.
        tb_logger: TensorBoard's writer, or ``None``.
    """
    best = vars(model).pop("best_metric_results", None) if not model.is_train else None
    try:
        write(model, current_iter, dataset, tb_logger)
    finally:
        if best is not None:
            model.best_metric_results = best
