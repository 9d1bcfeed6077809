"""Checks names against a signature, and says which name was probably meant."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def nearest_name(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate that resembles ``name`` most, or ``None``."""
    matches = difflib.get_close_matches(name, list(candidates), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or a list of the candidates if none is near."""
    candidates = sorted(candidates)
    nearest = nearest_name(name, candidates)
    if nearest is not None:
        return f"; did you mean {nearest!r}?"
    return f"; available: {', '.join(candidates)}" if candidates else ""


_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    function = target.__init__ if inspect.isclass(target) else target
    return [p for p in inspect.signature(function).parameters.values() if p.name != "self"]


def named_parameters(target: Callable[..., Any]) -> set[str]:
    """Names of the keywords in the signature of ``target``."""
    return {p.name for p in _parameters(target) if p.kind in _KEYWORDS}


def parameter_names(target: Callable[..., Any]) -> set[str] | None:
    """Names that ``target`` takes as keywords; ``None`` if it takes any (``**kwargs``)."""
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in _parameters(target)):
        return None
    return named_parameters(target)


def required_names(target: Callable[..., Any]) -> set[str]:
    """Names of the keywords that ``target`` cannot do without."""
    return {
        p.name
        for p in _parameters(target)
        if p.default is inspect.Parameter.empty and p.kind in _KEYWORDS
    }


def suggests_arguments(cls: T) -> T:
    """Class decorator: an unknown constructor argument is a ``TypeError`` with a suggestion."""
    original = cls.__init__  # type: ignore[misc]
    known = parameter_names(cls)

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if known is not None and name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no argument {name!r}{did_you_mean(name, known)}"
                )
        original(self, *args, **kwargs)

    cls.__init__ = __init__  # type: ignore[misc]
    return cls
