"""How the models of this package validate: every picture of a data set, measured and saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from numpy.typing import NDArray
from torch import Tensor

from basicsr_mambair.progress import progress_bar
from mambair.imaging.errors import PictureError
from mambair.imaging.matlab.submission import Submission
from mambair.imaging.pixels import Pixels
from mambair.imaging.resizing import imresize
from mambair.imaging.targets import UniqueNames


def measurable(tensor: Tensor, use_image: bool = True) -> Pixels:
    """Turns a picture of a network into what metrics take.

    Args:
        tensor: ``(1, C, H, W)``, RGB or gray; values outside [0, 1] are clipped.
        use_image: round to 8 bits, as a saved picture has them. The protocol of SIDD measures
            floats.

    Returns:
        ``(H, W, 3)`` BGR or ``(H, W)``, in [0, 255]: uint8, or float64.
    """
    if use_image:
        return np.asarray(tensor2img([tensor]))
    picture = np.asarray(tensor2img([tensor], out_type=np.float32), np.float64)
    return picture * 255


def baseline(lq: Tensor, scale: int, use_image: bool = True) -> Pixels:
    """Returns bicubic interpolation as :func:`measurable` does; at scale 1 the input itself."""
    return imresize(measurable(lq, use_image), scale).clip(0, 255)


def check_finite(result: Tensor, pictures: str, is_train: bool) -> None:
    """Reports a result that is not finite.

    Args:
        result: what the network gave.
        pictures: paths of the pictures.
        is_train: in training the log says so, and training goes on.

    Raises:
        PictureError: in a measurement.
    """
    if bool(result.isfinite().all()):
        return
    text = f"{pictures}: the network's result is not finite (NaN or infinite)"
    if not is_train:
        raise PictureError(text)
    get_root_logger().warning(f"{text}, so the figures of this validation mean nothing")


def not_measurable(pictures: str, error: AssertionError) -> PictureError:
    """The error for pictures that BasicSR's metrics refuse, which assert that sizes match."""
    return PictureError(f"{pictures}: cannot be measured: {error}")


def paths_of(sample: Mapping[str, Any]) -> str:
    """Returns the paths of the pictures of a batch, for messages."""
    paths = sample.get("lq_path") or sample.get("gt_path") or "a picture without a name"
    return paths if isinstance(paths, str) else ", ".join(map(str, paths))


def validate(
    model: Any, loader: Any, current_iter: int | str, tb_logger: Any, save_img: bool
) -> None:
    """Restores, measures and saves the pictures of a data set, with the log of BasicSR.

    It is BasicSR's ``SRModel.nondist_validation`` with a choice between 8 bits and floats.

    Args:
        model: a model with ``feed_data``, ``test`` and ``get_current_visuals``.
        loader: yields single pictures.
        current_iter: iteration or, in a measurement, the name of the run.
        tb_logger: TensorBoard's writer, or ``None``.
        save_img: whether pictures are saved.

    Raises:
        PictureError: in a measurement, the result of a picture is not finite; or the submission
            cannot be written.
    """
    name, val = loader.dataset.opt["name"], model.opt["val"]
    metrics = val.get("metrics") or {}
    totals, names = dict.fromkeys(metrics, 0.0), UniqueNames()
    submission = _submission(model.opt, loader.dataset) if val.get("submission") else None
    with progress_bar(len(loader), name) if val.get("pbar") else nullcontext() as bar:
        for index, sample in enumerate(loader):
            result, truth = _restore(model, sample)
            if save_img:
                picture = names.take(Path(_first(sample["lq_path"])).stem)
                path = _picture_file(model.opt, name, picture, current_iter)
                imwrite(measurable(result), str(path))
            data = measured_pair(result, truth, bool(val.get("use_image", True)))
            for key, section in metrics.items():
                totals[key] += float(calculate_metric(data, section))
            if submission is not None:
                submission.add(index, _unrounded(result))
            if bar is not None:
                bar.update()
    if submission is not None:
        get_root_logger().info(f"{name}: to send to the benchmark: {submission.close()}")
    if not metrics:
        return
    model._initialize_best_metric_results(name)
    model.metric_results = {key: total / len(loader) for key, total in totals.items()}
    for key, value in model.metric_results.items():
        model._update_best_metric_result(name, key, value, current_iter)
    model._log_validation_metric_values(current_iter, name, tb_logger)


def measured_pair(result: Tensor, truth: Tensor | None, use_image: bool) -> dict[str, Pixels]:
    """Returns the arguments ``img`` and, if there is a truth, ``img2`` of metrics."""
    pair = {"img": result} if truth is None else {"img": result, "img2": truth}
    return {key: measurable(each, use_image) for key, each in pair.items()}


def _restore(model: Any, sample: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Restores one picture; the model keeps nothing of it, because memory of a GPU is short."""
    model.feed_data(sample)
    model.test()
    visuals = model.get_current_visuals()
    check_finite(visuals["result"], paths_of(sample), model.is_train)
    for attribute in ("lq", "output", "gt"):
        vars(model).pop(attribute, None)
    torch.cuda.empty_cache()
    return visuals["result"], visuals.get("gt")


def _submission(opt: Mapping[str, Any], dataset: Any) -> Submission:
    """Begins what a data set's benchmark wants to be sent (see the datasets' ``submission``)."""
    folder = Path(opt["path"]["results_root"]) / "submission" / dataset.opt["name"]
    return cast(Submission, dataset.submission(folder))


def _unrounded(result: Tensor) -> NDArray[np.float32]:
    """Converts ``(1, 3, H, W)`` to ``(H, W, 3)``, clipped to [0, 1]."""
    return np.ascontiguousarray(result[0].clamp(0, 1).permute(1, 2, 0).numpy(), np.float32)


def _picture_file(
    opt: Mapping[str, Any], dataset: str, picture: str, current_iter: int | str
) -> Path:
    """Returns where BasicSR saves the result of a picture."""
    folder = Path(opt["path"]["visualization"])
    if opt["is_train"]:
        return folder / picture / f"{picture}_{current_iter}.png"
    return folder / dataset / f"{picture}_{opt['val'].get('suffix') or opt['name']}.png"


def _first(paths: str | Iterable[str]) -> str:
    return paths if isinstance(paths, str) else next(iter(paths))
