"""The tables of ``docs/options.md``, made from the types of the sections.

``python -m basicsr_mambair.options.tables docs/options.md`` rewrites the text between the
page's two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from basicsr_mambair.options.fields import Field, fields_of
from basicsr_mambair.options.schema import known_datasets, known_models
from basicsr_mambair.options.sections import (
    CosineCyclicSchedule,
    CosineSchedule,
    CropOptions,
    DatasetOptions,
    DistributedOptions,
    LoggerOptions,
    MetricOptions,
    MultiStepSchedule,
    NetworkPathOptions,
    PathOptions,
    PublishedOptions,
    TopOptions,
    TrainOptions,
    ValOptions,
)

BEGIN = "<!-- tables: begin -->"
END = "<!-- tables: end -->"

_SECTIONS = (
    ("The top of the file", TopOptions),
    ("`path`", PathOptions),
    ("`path`, for each network: `…_g`, `…_d`", NetworkPathOptions),
    ("`train`", TrainOptions),
    ("`train.scheduler`: `MultiStepLR`", MultiStepSchedule),
    ("`train.scheduler`: `CosineAnnealingRestartLR`", CosineSchedule),
    ("`train.scheduler`: `CosineAnnealingRestartCyclicLR`", CosineCyclicSchedule),
    ("`val`", ValOptions),
    ("`val.metrics`, each section", MetricOptions),
    ("`logger`", LoggerOptions),
    ("`dist_params`", DistributedOptions),
    ("`published`", PublishedOptions),
    ("`datasets`, each section", DatasetOptions),
    ("Datasets that crop", CropOptions),
)  # fmt: skip


def option_tables() -> str:
    """Every table as Markdown."""
    return "\n\n".join(_tables())


def _tables() -> Iterator[str]:
    declaration: type
    for title, declaration in _SECTIONS:
        yield _table(title, fields_of(declaration))
        yield from _nested(title, fields_of(declaration))
    shared = {*fields_of(DatasetOptions), *fields_of(CropOptions)}
    for names, declaration in _grouped(known_datasets()):
        yield _table(f"`datasets`: {_listed(names)}", _without(declaration, shared))
    for part, base in (("top", TopOptions), ("train", TrainOptions), ("val", ValOptions)):
        by_name = {name: getattr(model, part) for name, model in known_models().items()}
        place = "The top of the file" if part == "top" else f"`{part}`"
        for names, declaration in _grouped(by_name):
            own = _without(declaration, {*fields_of(base)})
            if own:
                yield _table(f"{place}: {_listed(names)}", own)
                yield from _nested(place, own)
    for name, declaration in _own_metrics():
        own = _without(declaration, {*fields_of(MetricOptions)})
        yield _table(f"`val.metrics`: `{name}`", own)


def _nested(place: str, fields: Mapping[str, Field]) -> Iterator[str]:
    """The tables of keys that are sections with a type of their own."""
    for name, field in fields.items():
        if field.section is not None:
            yield _table(f"`{place.strip('`')}.{name}`", fields_of(field.section))


def _own_metrics() -> Iterator[tuple[str, type]]:
    import basicsr.metrics  # noqa: F401  (fills the registry)
    from basicsr.utils.registry import METRIC_REGISTRY

    for name, metric in sorted(METRIC_REGISTRY):
        declared = getattr(metric, "OPTIONS", None)
        if declared is not None and _without(declared, {*fields_of(MetricOptions)}):
            yield name, declared


def _grouped(declarations: Mapping[str, type]) -> list[tuple[list[str], type]]:
    """The names that share a type, in alphabetical order."""
    groups: dict[type, list[str]] = {}
    for name, declaration in sorted(declarations.items()):
        groups.setdefault(declaration, []).append(name)
    return [(names, declaration) for declaration, names in groups.items()]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _without(declaration: type, shared: set[str]) -> dict[str, Field]:
    return {name: field for name, field in fields_of(declaration).items() if name not in shared}


def _table(title: str, fields: Mapping[str, Field]) -> str:
    rows = [
        f"| `{field.name}` | {_cell(field.described())} | {_cell(_default(field))} "
        f"| {_cell(field.doc)} |"
        for field in fields.values()
    ]
    return "\n".join(
        [f"### {title}", "", "| key | value | default | |", "| --- | --- | --- | --- |", *rows]
    )


def _default(field: Field) -> str:
    if field.shown is not None:
        return field.shown
    if field.required == "train":
        return "required in a training"
    if field.required is True:
        return "required"
    if not field.has_default:
        return "none"
    if field.default is None:
        return "null"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_tables(page: str, tables: str | None = None) -> str:
    """A page with the tables between its markers renewed.

    Args:
        page: the text of the page.
        tables: by default :func:`option_tables`.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must hold {BEGIN} and, after it, {END}")
    return f"{before}{BEGIN}\n\n{tables or option_tables()}\n\n{END}{after}"


def main(arguments: list[str]) -> None:
    """Rewrites the tables of pages."""
    for name in arguments:
        path = Path(name)
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    import basicsr  # noqa: F401  (fills the registries)

    main(sys.argv[1:])
