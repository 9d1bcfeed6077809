"""How a section of an option file is declared: a dataclass whose fields are its keys.

    @dataclass
    class NoiseOptions(DatasetOptions):
        noise: float = option(doc="σ in gray levels of 255.", ge=0)

A dataset, a model or a metric names its dataclass as the class attribute ``OPTIONS``. Checks,
defaults, the tables in the documentation and the JSON Schema all come from it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from basicsr_mambair.options.values import Range, accept, describe, problem_with

_MISSING: Any = dataclasses.MISSING
Check = Callable[[Any], "str | None"]


def option(
    default: Any = _MISSING,
    *,
    doc: str,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    required: str | bool | None = None,
    filled: bool = False,
    shown: str | None = None,
    check: Check | None = None,
    section: type | None = None,
) -> Any:
    """Declares a key.

    Args:
        default: value of a missing key; without a default the key is required.
        doc: one line that says what the key changes.
        gt: the least value, excluded.
        ge: the least value.
        lt: the largest value, excluded.
        le: the largest value.
        required: ``"train"``: required where the section belongs to a training; ``False``: a key
            that may be missing, without a default.
        filled: write the default into the options, for code that reads the key without asking.
        shown: the default as the documentation shows it.
        check: returns what is wrong with a value of the right type, or ``None``.
        section: the type of a section of keys and values.
    """
    needed = (default is _MISSING) if required is None else required
    metadata = {
        "doc": doc,
        "range": Range(gt, ge, lt, le),
        "required": needed,
        "filled": filled,
        "shown": shown,
        "check": check,
        "section": section,
        "has_default": default is not _MISSING,
    }
    value = None if default is _MISSING else default
    if isinstance(value, (list, dict)):
        return dataclasses.field(default_factory=lambda: value, metadata=metadata)
    return dataclasses.field(default=value, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Field:
    """A key of a section, as :func:`option` declared it."""

    name: str
    kind: Any
    default: Any
    has_default: bool
    range: Range
    doc: str
    required: str | bool
    filled: bool
    shown: str | None
    check: Check | None
    section: type | None

    def is_required(self, is_train: bool) -> bool:
        """True if the key is required."""
        return self.required is True or (self.required == "train" and is_train)

    def problem(self, value: Any) -> str | None:
        """Describes the fault of a value; ``None`` if there is none."""
        problem = problem_with(self.kind, value, self.range)
        if problem is None and self.check is not None and value is not None:
            problem = self.check(value)
        return problem

    def converted(self, value: Any) -> Any:
        """A value that fits, as the type has it: ``5e5`` as 500000."""
        return accept(self.kind, value, self.range)[1]

    def described(self) -> str:
        """Type and range in words."""
        return describe(self.kind, self.range)


@cache
def fields_of(declaration: type) -> Mapping[str, Field]:
    """The keys of a section by name, those of base classes first."""
    hints = typing.get_type_hints(declaration)
    fields = {}
    for field in dataclasses.fields(declaration):
        default = field.default
        if callable(field.default_factory):
            default = field.default_factory()
        given = dict(field.metadata)
        if not given:
            raise TypeError(f"{declaration.__name__}.{field.name}: declare it with option(…)")
        fields[field.name] = Field(field.name, hints[field.name], default, **given)
    return fields


def declares(
    metric: Any, options: type, check_available: Callable[[Mapping[str, Any]], None] | None = None
) -> None:
    """Gives a metric, which is a function, the attributes that option files are checked by.

    Args:
        metric: the function.
        options: the type of its section, derived from ``MetricOptions``.
        check_available: raises ``RuntimeError`` if the metric could not run as a section asks.
    """
    metric.OPTIONS = options
    if check_available is not None:
        metric.check_available = check_available
