"""Types of single values: how a type is described, checked and written as JSON Schema.

A type is what an annotation says: ``int``, ``float``, ``bool``, ``str``, ``Literal[…]``,
``list[T]``, ``tuple[T, T]``, ``dict`` (a section), unions of these, ``None`` for a key that may be
null, ``Any``. Every number must be finite, ``true`` is not a number, and a whole number may be
written as ``5e5``.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

_UNIONS = (Union, types.UnionType)


@dataclass(frozen=True)
class Range:
    """Limits of a number, or of the numbers in a list."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def holds(self, number: float) -> bool:
        """Returns whether a number is within the limits."""
        return (
            (self.gt is None or number > self.gt)
            and (self.ge is None or number >= self.ge)
            and (self.lt is None or number < self.lt)
            and (self.le is None or number <= self.le)
        )

    def __str__(self) -> str:
        low, high = "", ""
        if self.gt is not None:
            low = f"above {_number(self.gt)}"
        elif self.ge is not None:
            low = f"of at least {_number(self.ge)}"
        if self.lt is not None:
            high = f"below {_number(self.lt)}"
        elif self.le is not None:
            high = f"at most {_number(self.le)}"
        return " and ".join(part for part in (low, high) if part)


ANY = Range()


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e11 else f"{value:g}"


def members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the type itself."""
    return typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)


def describe(kind: Any, limits: Range = ANY, plural: bool = False) -> str:
    """The type in words: ``a whole number above 0 or 'auto'``."""
    texts = [_describe(each, limits, plural) for each in members(kind) if each is not type(None)]
    known = list(dict.fromkeys(text for text in texts if text))
    return " or ".join(known) or "a value"


def _describe(kind: Any, limits: Range, plural: bool) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(_shown, arguments))
    if kind in (int, float):
        noun = "whole number" if kind is int else "number"
        shown = Range(0, None, limits.lt, limits.le) if kind is int and limits.ge == 1 else limits
        words = [f"{noun}s" if plural else f"a {noun}", str(shown)]
        return " ".join(word for word in words if word)
    if kind is bool:
        return "true or false"
    if kind is str:
        return "texts" if plural else "text"
    if kind is dict or origin in (dict, Mapping, typing.get_origin(Mapping[str, Any])):
        return "sections" if plural else "a section of keys and values"
    if _is_list(kind):
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            inner = describe(Union[arguments], limits, plural=True)  # noqa: UP007
            return f"a list of {len(arguments)} {inner}"
        inner_kind = arguments[0] if arguments else Any
        return f"a list of {describe(inner_kind, limits, plural=True)}"
    return ""


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _is_list(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Sequence)
                                       and origin is not str)  # fmt: skip


def is_checkable(kind: Any) -> bool:
    """Returns whether a type can be checked: not ``Any``, nor a class of objects."""
    if kind is Any or isinstance(kind, (str, typing.TypeVar)):
        return False
    parts = [each for each in members(kind) if each is not type(None)]
    return any(_describe(each, ANY, False) for each in parts) and Any not in parts


def accept(kind: Any, value: Any, limits: Range = ANY) -> tuple[bool, Any]:
    """Returns whether a value has a type, and the converted value (``5e5`` becomes 500000)."""
    for each in members(kind):
        fits, converted = _accept(each, value, limits)
        if fits:
            return True, converted
    return False, value


def _accept(kind: Any, value: Any, limits: Range) -> tuple[bool, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True, value
    if kind is type(None) or value is None:
        return kind is type(None) and value is None, value
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in arguments), value
    if kind is bool:
        return isinstance(value, bool), value
    if kind in (int, float):
        return _accept_number(kind, value, limits)
    if kind is str:
        return isinstance(value, str), value
    if kind is dict or origin in (dict, typing.get_origin(Mapping[str, Any])):
        return isinstance(value, dict), value
    if _is_list(kind):
        return _accept_list(origin, arguments, value, limits)
    return False, value


def _accept_number(kind: Any, value: Any, limits: Range) -> tuple[bool, Any]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False, value
    if isinstance(value, float) and not math.isfinite(value):
        return False, value
    if kind is int and isinstance(value, float):
        if not value.is_integer():
            return False, value
        value = int(value)
    return limits.holds(value), value


def _accept_list(
    origin: Any, arguments: tuple[Any, ...], value: Any, limits: Range
) -> tuple[bool, Any]:
    if not isinstance(value, (list, tuple)):
        return False, value
    kinds: Sequence[Any]
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            return False, value
        kinds = arguments
    else:
        kinds = [arguments[0] if arguments else Any] * len(value)
    results = [accept(kind, each, limits) for kind, each in zip(kinds, value, strict=True)]
    return all(fits for fits, _ in results), [converted for _, converted in results]


def problem_with(kind: Any, value: Any, limits: Range = ANY) -> str | None:
    """Describes the fault of a value; ``None`` if there is none."""
    fits, _ = accept(kind, value, limits)
    if fits:
        return None
    got = "null" if value is None else _short(value)
    return f"must be {describe(kind, limits)}, got {got}"


def _short(value: object) -> str:
    text = _shown(value) if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def json_schema(kind: Any, limits: Range = ANY) -> dict[str, Any]:
    """The type as JSON Schema."""
    schemas = [_json_schema(each, limits) for each in members(kind)]
    if {} in schemas:
        return {}
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _json_schema(kind: Any, limits: Range) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is type(None):
        return {"type": "null"}
    if origin is Literal:
        return {"enum": list(arguments)}
    if kind in (int, float):
        names = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum",
                 "le": "maximum"}  # fmt: skip
        bounds = {names[k]: v for k, v in vars(limits).items() if v is not None}
        return {"type": "integer" if kind is int else "number", **bounds}
    if kind is bool:
        return {"type": "boolean"}
    if kind is str:
        return {"type": "string"}
    if kind is dict or origin is dict:
        return {"type": "object"}
    if _is_list(kind):
        fixed = origin is tuple and arguments and arguments[-1] is not Ellipsis
        inner = or_reference(json_schema(arguments[0] if arguments else Any, limits))
        size = {"minItems": len(arguments), "maxItems": len(arguments)} if fixed else {}
        return {"type": "array", "items": inner, **size}
    return {}


REFERENCE = {"type": "string", "pattern": r"\$\{[^{}]+\}"}


def or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that also takes ``${key}`` where it takes a number, a truth value or a list."""
    if not schema or schema == {"type": "string"}:
        return schema
    return {"anyOf": [*schema.pop("anyOf", []), REFERENCE] if "anyOf" in schema
            else [schema, REFERENCE]}  # fmt: skip
