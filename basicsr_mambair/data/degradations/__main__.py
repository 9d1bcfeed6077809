"""The tables of ``docs/degradations.md``, made from the classes and their docstrings.

``python -m basicsr_mambair.data.degradations docs/degradations.md`` rewrites the text between
the page's two markers.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basicsr_mambair.data.degradations import DEGRADATIONS, Degradation
from basicsr_mambair.options.calls import Parameter, parameters_of
from basicsr_mambair.options.tables import with_tables
from basicsr_mambair.options.values import describe, is_checkable, members

_PACKAGE = "basicsr_mambair."


def degradation_tables() -> str:
    """A section for every degradation of this package, in alphabetical order."""
    own = {
        name: cls
        for name, cls in sorted(DEGRADATIONS.items())
        if cls.__module__.startswith(_PACKAGE)
    }
    return "\n\n".join(_section(name, cls) for name, cls in own.items())


def _section(name: str, cls: type[Degradation]) -> str:
    text, arguments = _docstring(cls)
    rows = [
        f"| `{key}` | {_kind(parameter, key in cls.nested)} | {_default(parameter)} "
        f"| {arguments[key]} |"
        for key, parameter in _in_order(cls)
    ]
    header = ["| argument | value | default | |", "| --- | --- | --- | --- |"]
    return "\n".join([f"### `{name}`", "", text, "", *header, *rows])


def _in_order(cls: type[Degradation]) -> list[tuple[str, Parameter]]:
    found = parameters_of(cls)
    signature = inspect.signature(inspect.unwrap(cls.__init__))
    return [(key, found[key]) for key in signature.parameters if key in found]


def _docstring(cls: type[Degradation]) -> tuple[str, dict[str, str]]:
    """The text before the arguments, in one paragraph each, and the text of each argument."""
    text, _, rest = inspect.cleandoc(cls.__doc__ or "").partition("\nArgs:\n")
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    entries = re.split(r"^    (?=\w)", rest, flags=re.MULTILINE)
    arguments = {}
    for entry in entries:
        key, colon, meaning = entry.partition(":")
        if colon:
            arguments[key.strip()] = _markdown(" ".join(meaning.split()))
    return _markdown("\n\n".join(part for part in paragraphs if part)), arguments


def _markdown(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`").replace("|", "\\|")


def _kind(parameter: Parameter, nested: bool) -> str:
    if nested or not is_checkable(parameter.kind):
        return "degradations"
    kinds = members(parameter.kind)
    for number, several, noun in (
        (int, Sequence[int], "whole number"),
        (float, Sequence[float], "number"),
    ):
        if number in kinds and several in kinds:
            return f"{noun}, or `[low, high]`"
    return describe(parameter.kind)


def _default(parameter: Parameter) -> str:
    if parameter.name == "scale":
        return "that of the dataset"
    default = parameter.default
    if default is inspect.Parameter.empty:
        return "required"
    return "none" if default is None else f"`{_shown(default)}`"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: list[str]) -> None:
    """Rewrites the tables of pages."""
    for name in arguments:
        path = Path(name)
        page = with_tables(path.read_text(encoding="utf-8"), degradation_tables())
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
