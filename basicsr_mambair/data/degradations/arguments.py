"""Types and ranges of the arguments that option files give to degradations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr_mambair.data.degradations.registry import DEGRADATIONS
from basicsr_mambair.options.calls import parameters_of
from mambair.imaging.listing import as_list


def check_arguments(options: Any, place: str = "degradation") -> None:
    """Checks the section of a degradation, or a list of them, with those nested in it.

    Unknown types and arguments are left to ``build_degradation``.

    Args:
        options: what the option file has.
        place: its key, with which messages begin.

    Raises:
        ValueError: an argument has the wrong type or range; begins with its key.
    """
    for section in as_list(options):
        if isinstance(section, str):
            continue
        if isinstance(section, list) and place != "degradation":
            check_arguments(section, place)
            continue
        if not isinstance(section, Mapping):
            raise ValueError(f"{place}: must be sections with a type, got {section!r}")
        cls = DEGRADATIONS.get(str(section.get("type")))
        if cls is None:
            continue
        parameters = parameters_of(cls)
        for key, value in section.items():
            if key in cls.nested:
                check_arguments(value, f"{place}.{key}")
                continue
            problem = parameters[key].problem(value) if key in parameters else None
            if problem:
                raise ValueError(f"{place}.{key}: {problem}")
