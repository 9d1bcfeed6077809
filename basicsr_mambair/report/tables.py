"""Tables of measured and published figures, independent of the output format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from basicsr_mambair.report.published import Figure, figures_for, published_name, sources
from basicsr_mambair.report.records import Measurement

_TITLES = {
    "sr": "Super-resolution ×{}",
    "jpeg": "JPEG artifacts, quality {}",
    "denoising_color": "Color denoising, σ = {}",
    "real_denoising": "Noise of real cameras",
}


@dataclass
class Row:
    """A method in a table.

    Attributes:
        method: name of the method.
        kind: ``published``, ``measured`` or ``baseline``.
        parameters: number of trainable parameters.
        macs: multiply–accumulates for an output of 1280×720, counted as the papers do.
        figures: maps (data set, metric) to a value; unknown ones are absent.
        differences: the same for measured minus published, where a published row is reproduced.
        seconds: mean time for a picture.
        source: key of the published source.
    """

    method: str
    kind: str
    parameters: int | None = None
    macs: int | None = None
    figures: dict[tuple[str, str], float] = field(default_factory=dict)
    differences: dict[tuple[str, str], float] = field(default_factory=dict)
    seconds: float | None = None
    source: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Table:
    """The rows of one task and setting.

    Attributes:
        title: heading.
        datasets: data sets in the order of their columns, under their names in the option files.
        metrics: metrics in the order of their columns within a data set.
        rows: published rows first, then the baseline and the measured rows.
        measurements: the measurements behind the measured rows.
    """

    title: str
    datasets: list[str]
    metrics: list[str]
    rows: list[Row]
    measurements: list[Measurement]


def build_tables(measurements: Sequence[Measurement]) -> list[Table]:
    """Builds one table for each task, setting and published table, in order of appearance.

    A measurement that does not reproduce a published row joins the first table of its task
    and setting.
    """
    groups: dict[tuple[str, str, str | None], list[Measurement]] = {}
    for each in measurements:
        if _method(each) is not None:
            groups.setdefault(_key(each), []).append(each)
    for each in measurements:
        if _method(each) is None:
            key = next((key for key in groups if key[:2] == _key(each)[:2]), _key(each))
            groups.setdefault(key, []).append(each)
    order = [next(i for i, m in enumerate(measurements) if m in group) for group in groups.values()]
    tables = [_build(task, setting, group) for (task, setting, _), group in groups.items()]
    return [table for _, table in sorted(zip(order, tables, strict=True), key=lambda pair: pair[0])]


def _method(measurement: Measurement) -> str | None:
    """Returns the published row that a measurement reproduces; with "+" for a self-ensemble."""
    method = measurement.about["published"].get("method")
    if method is None:
        return None
    return f"{method}+" if measurement.about["variant"]["self_ensemble"] else str(method)


def _key(measurement: Measurement) -> tuple[str, str, str | None]:
    published = measurement.about["published"]
    task = published.get("task", "")
    setting = str(published.get("setting", measurement.about["name"]))
    known = _known(task, setting, measurement)
    return task, setting, known[0].table if known else None


def _known(task: str, setting: str, measurement: Measurement) -> list[Figure]:
    if task not in _TITLES:
        return []
    return figures_for(task, int(setting), measurement.about["published"].get("method"))


def _build(task: str, setting: str, group: list[Measurement]) -> Table:
    datasets = _in_order(name for each in group for name in each.datasets)
    metrics = _in_order(name for each in group for name in each.about["metrics"])
    title = _TITLES[task].format(setting) if task in _TITLES else group[0].about["name"]
    known = _known(task, setting, group[0])
    rows = _published_rows(known, datasets)
    rows += _baseline_rows(group, datasets, metrics)
    rows += [_measured_row(each, datasets, metrics, known) for each in group]
    return Table(title, datasets, metrics, rows, group)


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _published_rows(known: list[Figure], datasets: list[str]) -> list[Row]:
    rows: dict[str, Row] = {}
    for figure in known:
        row = rows.setdefault(
            figure.method,
            Row(figure.method, "published", figure.parameters, figure.macs, source=figure.source),
        )
        for name in datasets:
            if published_name(name) == figure.dataset:
                row.figures[name, "psnr"] = figure.psnr
                if figure.ssim is not None:
                    row.figures[name, "ssim"] = figure.ssim
                if figure.note:
                    row.notes.append(f"{name}: {figure.note}")
    return [row for row in rows.values() if row.figures]


def _baseline_rows(group: list[Measurement], datasets: list[str], metrics: list[str]) -> list[Row]:
    """Bicubic interpolation or the input; the same for every measurement of the same data."""
    row = Row("bicubic" if group[0].about["scale"] > 1 else "input", "baseline")
    for dataset in datasets:
        for metric in metrics:
            values = [each.mean(dataset, metric, baseline=True) for each in group]
            value = next((value for value in values if value is not None), None)
            if value is not None:
                row.figures[dataset, metric] = value
    return [row] if row.figures else []


def _measured_row(
    measurement: Measurement, datasets: list[str], metrics: list[str], known: list[Figure]
) -> Row:
    about = measurement.about
    row = Row(
        about["name"].removeprefix("test_"),
        "measured",
        about["parameters"],
        about["published_macs"],
        seconds=measurement.seconds,
    )
    method = _method(measurement)
    counterpart = {
        name: figure
        for name in datasets
        for figure in known
        if figure.method == method and figure.dataset == published_name(name)
    }
    for dataset in datasets:
        for metric in metrics:
            value = measurement.mean(dataset, metric)
            if value is None:
                continue
            row.figures[dataset, metric] = value
            figure = counterpart.get(dataset)
            published = getattr(figure, metric, None) if figure else None
            if published is not None:
                row.differences[dataset, metric] = value - published
    return row


def protocols(table: Table) -> list[str]:
    """Returns one line for each source of the table's published figures."""
    used = _in_order(row.source for row in table.rows if row.source)
    lines = [f"{sources()[key].citation}: {sources()[key].protocol}" for key in used]
    return lines + [f"{row.method}, {note}" for row in table.rows for note in row.notes]


def digits(metric: str) -> int:
    """Returns the number of decimal places that a metric is printed with."""
    return 2 if metric.startswith("psnr") else 4


def short(number: int | None) -> str:
    """Formats a number of parameters or MACs with a unit; empty if unknown."""
    if number is None:
        return ""
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return (
                f"{number / size:.1f}{unit}"
                if number < 100 * size
                else f"{number / size:.0f}{unit}"
            )
    return str(number)


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows as text; unknown figures are empty."""
    header = ["method", "parameters", "MACs", "s / picture"]
    header += [f"{name} {metric.upper()}" for name in table.datasets for metric in table.metrics]
    lines = []
    for row in table.rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.2f}"
        line = [row.method, short(row.parameters), short(row.macs), seconds]
        for name in table.datasets:
            for metric in table.metrics:
                value = row.figures.get((name, metric))
                text = "" if value is None else f"{value:.{digits(metric)}f}"
                difference = row.differences.get((name, metric))
                if difference is not None:
                    text += f" ({difference:+.{digits(metric)}f})"
                line.append(text)
        lines.append(line)
    return header, lines
