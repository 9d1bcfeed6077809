"""Writes a report as CSV, Markdown, LaTeX and one self-contained HTML page."""

from __future__ import annotations

import base64
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from basicsr_mambair.report.panels import (
    check_chosen,
    make_crops,
    picture_names,
    plot_parameters,
)
from basicsr_mambair.report.records import Measurement, MeasurementError
from basicsr_mambair.report.tables import Table, build_tables, cells, digits, protocols
from mambair.imaging.writing import write_bytes

_TITLE = "Restoration results"


def write_report(
    measurements: Sequence[Measurement],
    output: str | os.PathLike[str],
    command: str,
    chosen: Sequence[str] = (),
) -> list[Path]:
    """Writes a report about measurements into a folder.

    Args:
        measurements: at least one.
        output: the folder; it is created, and files of the names below are replaced.
        command: the command line that reproduces the report.
        chosen: pictures to show crops of, ``DATASET/PICTURE``; by default those whose figures rose
            most.

    Returns:
        The written files: ``report.html``, ``report.md``, ``report.tex``, ``images.csv`` and
        ``psnr_parameters_N.svg``, with the number N of a table that has points to plot.

    Raises:
        MeasurementError: a measurement is incomplete, a chosen picture is unknown, or its files no
            longer exist.
    """
    folder = Path(output)
    for each in measurements:
        if each.missing > len(each.failures) or not each.pictures:
            raise MeasurementError(
                f"{each.folder}: {each.missing} pictures have not been measured yet; "
                f"basicsr report -opt {each.about['option_file']} continues"
            )
    check_chosen([name for each in measurements for name in picture_names(each)], chosen)
    tables = build_tables(measurements)
    plots = [plot_parameters(table) for table in tables]
    contents = {
        "images.csv": _csv(measurements),
        "report.md": markdown(tables, plots, command),
        "report.tex": _latex(tables),
        "report.html": _html(tables, plots, command, list(chosen)),
    }
    files = []
    for name, text in contents.items():
        write_bytes(text.encode("utf-8", "backslashreplace"), folder / name)
        files.append(folder / name)
    for number, plot in enumerate(plots, start=1):
        if plot is not None:
            files.append(folder / f"psnr_parameters_{number}.svg")
            write_bytes(plot, files[-1])
    return files


def _csv(measurements: Sequence[Measurement]) -> str:
    """One line for each picture and version."""
    metrics = list(dict.fromkeys(key for each in measurements for key in each.about["metrics"]))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["measurement", "dataset", "image", "height", "width", "version", *metrics, "seconds"]
    )
    for each in measurements:
        baseline = "bicubic" if each.about["scale"] > 1 else "input"
        for picture in each.pictures:
            place = [each.about["name"], picture.dataset, picture.name]
            place += [str(picture.height), str(picture.width)]
            for version, values, seconds in (
                ("restored", picture.metrics, f"{picture.seconds:.4f}"),
                (baseline, picture.baseline, ""),
            ):
                scores = [f"{values[key]:.6f}" if key in values else "" for key in metrics]
                writer.writerow([*place, version, *scores, seconds])
    return buffer.getvalue()


def markdown(tables: Sequence[Table], plots: Sequence[bytes | None], command: str) -> str:
    """Returns the tables in GitHub's Markdown, under the command that reproduces them."""
    parts = [f"# {_TITLE}", f"```bash\n{command}\n```"]
    parts.append(
        "**Bold** rows were measured here; the others are published. In brackets: measured minus "
        "published. Unknown figures are blank. MACs are for an output of "
        "1280×720, counted as the papers do (`basicsr complexity`)."
    )
    for number, (table, plot) in enumerate(zip(tables, plots, strict=True), start=1):
        header, lines = cells(table)
        header, lines = _without_empty_columns(header, lines)
        for row, line in zip(table.rows, lines, strict=True):
            if row.kind == "measured":
                line[0] = f"**{line[0]}**"
        parts.append(f"## {table.title}")
        parts.append(
            tabulate(
                lines, header, tablefmt="github", disable_numparse=True, colalign=_align(header)
            )
        )
        parts += protocols(table)
        parts += _about(table)
        if plot is not None:
            parts.append(f"![PSNR against parameters](psnr_parameters_{number}.svg)")
    return "\n\n".join(parts) + "\n"


def _latex(tables: Sequence[Table]) -> str:
    parts = ["% \\usepackage{booktabs}"]
    for table in tables:
        header, lines = _without_empty_columns(*cells(table))
        body = tabulate(
            lines, header, tablefmt="latex_booktabs", disable_numparse=True, colalign=_align(header)
        )
        parts.append(f"% {table.title}\n{body}")
        parts += [f"% {line}" for line in protocols(table)]
    return "\n\n".join(parts) + "\n"


def _align(header: list[str]) -> list[str]:
    return ["left", *["right"] * (len(header) - 1)]


def _without_empty_columns(
    header: list[str], lines: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    used = [index for index in range(len(header)) if any(line[index] for line in lines)]
    return [header[i] for i in used], [[line[i] for i in used] for line in lines]


def _about(table: Table) -> list[str]:
    """One line for each measured row that says how it was measured."""
    lines = []
    for each in table.measurements:
        about = each.about
        variant = about["variant"]
        routing = variant["routing"] or _routing(about["network"])
        ensemble = ", self-ensemble" if variant["self_ensemble"] else ""
        overlap = f" (overlap {about['tile_overlap']})" if "tile_overlap" in about else ""
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        lines.append(
            f"{about['name'].removeprefix('test_')}: `{about['option_file']}`, weights "
            f"`{about['weights']}` (sha256 {about['weights_sha256'][:12]}…), tile {about['tile']}"
            f"{overlap}{routing and f', {routing} routing'}{ensemble}; {about['device']}; "
            f"{versions}."
        )
        if each.failures:
            lines.append(
                f"{about['name'].removeprefix('test_')} is incomplete: only {len(each.pictures)} "
                f"of {sum(about['counts'].values())} pictures could be read, so its means do not "
                f"compare with the others. {'; '.join(each.failures)}."
            )
    return lines


def _routing(network: dict[str, Any]) -> str:
    if not network["type"].startswith("MambaIRv2"):
        return ""
    if network.get("routing", "sampled") == "argmax":
        return "argmax"
    return "sampled" if network.get("routing_seed", 0) is None else "seeded"


def _html(
    tables: Sequence[Table], plots: Sequence[bytes | None], command: str, chosen: list[str]
) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, ""), autoescape=True, trim_blocks=True
    )
    sections = []
    for table, plot in zip(tables, plots, strict=True):
        header, lines = _without_empty_columns(*cells(table))
        crops = [crop for each in table.measurements for crop in make_crops(each, chosen)]
        picture_header, picture_lines = _picture_table(table)
        svg = plot.decode() if plot is not None else ""
        sections.append(
            {
                "table": table,
                "header": header,
                "lines": list(zip(table.rows, lines, strict=True)),
                "protocols": protocols(table),
                "about": [line.replace("`", "") for line in _about(table)],
                "plot": Markup(svg[svg.index("<svg") :]) if svg else "",  # noqa: S704  (our own)
                "crops": [
                    {"title": crop.title, "panels": [(t, _data_url(png)) for t, png in crop.panels]}
                    for crop in crops
                ],
                "picture_header": picture_header,
                "picture_lines": picture_lines,
            }
        )
    return environment.get_template("page.html").render(
        title=_TITLE, command=command, sections=sections
    )


def _picture_table(table: Table) -> tuple[list[str], list[list[str]]]:
    header = ["picture", "measurement", "size", "s"]
    header += [
        f"{metric.upper()} {version}" for metric in table.metrics for version in ("before", "after")
    ]
    lines = []
    for each in table.measurements:
        for picture in each.pictures:
            line = [f"{picture.dataset}/{picture.name}", each.about["name"].removeprefix("test_")]
            line += [f"{picture.width}×{picture.height}", f"{picture.seconds:.2f}"]
            for metric in table.metrics:
                for values in (picture.baseline, picture.metrics):
                    value = values.get(metric)
                    line.append("" if value is None else f"{value:.{digits(metric)}f}")
            lines.append(line)
    return header, lines


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
