"""Measures the network of a test option file, picture by picture.

Several processes share the pictures; the first writes all figures, in the order of one process.
The figures of a picture are written as soon as they are known (``measurement.jsonl`` in the folder
of the measurement), so a run that was stopped continues with the next picture. A picture whose
files have changed since is measured again.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from basicsr_mambair.options import load_options
from basicsr_mambair.progress import progress_bar
from basicsr_mambair.report.about import about_measurement, essence_of
from basicsr_mambair.report.inputs import Item, Items, has_truth, open_dataset, quietly
from basicsr_mambair.report.records import (
    FILE,
    Measurement,
    MeasurementError,
    PictureResult,
    Variant,
    plain_name,
    read,
)
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.loaders import SampleError
from basicsr_mambair.training.preparation import prepare_run
from basicsr_mambair.training.share import ALONE, Share
from mambair.imaging.writing import write_bytes, write_image

AS_IT_SAYS = Variant()
_FOLDER = "measurements"  # under results/; `basicsr test` puts results/NAME aside


@dataclass(frozen=True)
class Plan:
    """A measurement whose inputs have been checked; nothing has been built or written.

    Attributes:
        path: the option file.
        variant: deviations from the option file.
        name: name of the measurement.
        pictures: ``DATASET/PICTURE`` of every picture.
    """

    path: Path
    variant: Variant
    name: str
    pictures: tuple[str, ...]


def plan(path: str | os.PathLike[str], variant: Variant = AS_IT_SAYS) -> Plan:
    """Checks a test option file, its data and its weights for :func:`measure`.

    Raises:
        OptionError: the file is invalid, or names data or weights that do not exist.
        MeasurementError: it names no weights or metrics, or the variant does not fit the network.
    """
    options = load_options(path, is_train=False)
    _check(options, Path(path), variant)
    pictures = []
    for key, section in options["datasets"].items():
        section = {**section, "phase": key.split("_")[0], "scale": options.get("scale", 1)}
        dataset = quietly(open_dataset, section)
        if not has_truth(dataset):
            raise MeasurementError(
                f"{path}: datasets.{key}: has no ground truth to measure against"
            )
        for item in Items(dataset):
            pictures.append(f"{section['name']}/{plain_name(item.name, options.get('scale', 1))}")
    name = options["name"] + variant.suffix
    return Plan(Path(path), variant, name, tuple(pictures))


def measure(
    path: str | os.PathLike[str], variant: Variant = AS_IT_SAYS, share: Share = ALONE
) -> Measurement:
    """Runs a test option file over its data sets.

    Args:
        path: the option file.
        variant: deviations from the option file.
        share: what this process does, if several measure.

    Returns:
        The measurement, complete in the first process alone; its pictures and figures are in
        ``results/measurements/NAME/`` under the current directory, or under ``path.results_root``.

    Raises:
        OptionError: the file is invalid, or names data or weights that do not exist.
        MeasurementError: it names no weights or metrics, the variant does not fit the network, or
            not one picture could be read.
    """
    options = load_options(path, is_train=False)
    _check(options, Path(path), variant)
    name = options["name"] + variant.suffix
    overrides = [*variant.overrides, f"name={json.dumps(name)}"]
    options = prepare_run(RunArguments(str(path), force_yml=overrides), Path.cwd(), False)
    options["manual_seed"] = share.told(options["manual_seed"])
    if share.processes > 1:
        options["num_gpu"] = min(options["num_gpu"], 1)  # its own
    folder = Path(options["path"]["results_root"]).parent / _FOLDER / name

    datasets = [quietly(open_dataset, section) for section in options["datasets"].values()]
    items = {
        (dataset.opt["name"], item.name): (dataset, item)
        for dataset in datasets
        for item in Items(dataset)
    }
    about = about_measurement(options, Path(path), variant)
    about["counts"] = {dataset.opt["name"]: len(dataset) for dataset in datasets}
    stamps = {key: item.stamp for key, (_, item) in items.items()}
    measurement = share.told(
        _begin(folder, about, stamps) if share.rank == 0 else Measurement(folder, about)
    )
    done = {(each.dataset, each.name): each for each in measurement.pictures}
    if len(done) < len(items):
        _measure_rest(measurement, options, items, done, share)
    if share.rank > 0:
        return measurement
    measurement.pictures = [done[key] for key in items if key in done]
    if not measurement.pictures:
        failure = next(iter(measurement.failures), "there are no pictures")
        raise MeasurementError(f"{path}: nothing could be measured: {failure}")
    return measurement


def _measure_rest(
    measurement: Measurement,
    options: dict[str, Any],
    items: dict[tuple[str, str], tuple[Any, Item]],
    done: dict[tuple[str, str], PictureResult],
    share: Share,
) -> None:
    from basicsr.models import build_model

    from basicsr_mambair.models.validation import not_measurable, paths_of  # imports BasicSR

    model = quietly(build_model, options)

    def measured(place: tuple[int, tuple[str, str]]) -> PictureResult | str:
        number, key = place
        dataset, item = items[key]
        # Seeded for each picture: sampling does not depend on the pictures before it.
        torch.manual_seed(options["manual_seed"] + number)
        try:
            sample = torch.utils.data.default_collate([dataset[item.index]])
        except SampleError as error:  # the others are still measured
            return str(error)
        try:
            return _measure_one(model, sample, key, item, measurement.folder)
        except AssertionError as error:
            return str(not_measurable(paths_of(sample), error))

    left = [(number, key) for number, key in enumerate(items) if key not in done]
    results = share.in_turns(left, measured)
    if share.rank > 0:
        for _ in results:  # the first process has them
            pass
        return
    with (
        progress_bar(len(items), measurement.about["name"]) as bar,
        (measurement.folder / FILE).open("a", encoding="utf-8") as file,
    ):
        bar.update(len(done))
        for result in results:
            if isinstance(result, str):
                measurement.failures.append(result)
            else:
                file.write(json.dumps(asdict(result)) + "\n")
                file.flush()
                done[result.dataset, result.name] = result
            bar.update()


def _check(options: dict[str, Any], path: Path, variant: Variant) -> None:
    """Finds mistakes that would otherwise show only after minutes."""
    from basicsr.archs import ARCH_REGISTRY

    if not options["path"].get("pretrain_network_g"):
        raise MeasurementError(
            f"{path}: path.pretrain_network_g: is missing; there are no weights to measure"
        )
    if not (options.get("val") or {}).get("metrics"):
        raise MeasurementError(f"{path}: val.metrics: is missing; there are no metrics to compute")
    section = options["network_g"]
    network = ARCH_REGISTRY.get(section["type"])
    if variant.routing and not hasattr(network, "set_routing"):
        raise MeasurementError(f"{path}: --routing: {section['type']} does not route tokens")
    from basicsr_mambair.models import is_own_model

    if not is_own_model(options["model_type"]) and (variant.tile or variant.self_ensemble):
        raise MeasurementError(
            f"{path}: --tile and --self-ensemble need model_type MambaIRv2Model, "
            f"not {options['model_type']}"
        )


def _begin(
    folder: Path, about: dict[str, Any], stamps: dict[tuple[str, str], list[list[int]]]
) -> Measurement:
    """Continues a measurement of the same inputs; one of other inputs is renamed."""
    path = folder / FILE
    about = json.loads(json.dumps(about))
    measurement = Measurement(folder, about)
    if path.is_file():
        try:
            before = read(folder)
        except MeasurementError:
            before = None
        if before is not None and essence_of(before.about) == essence_of(about):
            measurement.pictures = [
                each
                for each in before.pictures
                if stamps.get((each.dataset, each.name)) == each.stamp and _has_files(folder, each)
            ]
        else:
            _put_aside(path)
    folder.mkdir(parents=True, exist_ok=True)
    _rewrite(path, measurement)
    return measurement


def _put_aside(path: Path) -> None:
    """Gives a file of figures a name that no other has."""
    stem = f"measurement_until_{time.strftime('%Y%m%d_%H%M%S')}"
    for number in itertools.count(1):
        aside = path.with_name(f"{stem}{f'_{number}' if number > 1 else ''}.jsonl")
        if not aside.exists():
            path.rename(aside)
            return


def _has_files(folder: Path, picture: PictureResult) -> bool:
    return all((folder / name).is_file() for name in picture.files.values())


def _rewrite(path: Path, measurement: Measurement) -> None:
    lines = [measurement.about, *(asdict(each) for each in measurement.pictures)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_bytes(text.encode(), path)


def _measure_one(
    model: Any, sample: dict[str, Any], key: tuple[str, str], item: Item, folder: Path
) -> PictureResult:
    from basicsr.metrics import calculate_metric

    from basicsr_mambair.models.validation import baseline, measurable

    model.feed_data(sample)
    _synchronize()
    start = time.perf_counter()
    model.test()
    _synchronize()
    seconds = time.perf_counter() - start
    visuals = model.get_current_visuals()
    truth, low = visuals["gt"], visuals["lq"]
    height, width = truth.shape[2:]
    use_image = bool(model.opt["val"].get("use_image", True))
    scale = int(model.opt.get("scale", 1))

    def interpolated(use_image: bool) -> Any:
        return baseline(low, scale, use_image)[:height, :width]

    def scores(image: Any) -> dict[str, float]:
        data = {"img": image, "img2": measurable(truth, use_image)}
        sections = model.opt["val"]["metrics"]
        return {key: float(calculate_metric(data, each)) for key, each in sections.items()}

    files = {}
    for kind, image in (
        ("gt", measurable(truth)),
        ("input", measurable(low)),
        ("baseline", interpolated(True)),
        ("result", measurable(visuals["result"])),
    ):
        file = Path("pictures", key[0], f"{key[1]}_{kind}.png")
        write_image(image, folder / file)
        files[kind] = file.as_posix()
    measured = scores(measurable(visuals["result"], use_image))
    return PictureResult(
        *key, height, width, seconds, measured, scores(interpolated(use_image)), files, item.stamp
    )


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
