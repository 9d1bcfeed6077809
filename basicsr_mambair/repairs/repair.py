"""The list of repairs, and how one replaces an attribute of BasicSR and can be undone."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Importing these modules does not import BasicSR; applying their repairs does. The first must stay
# first: without it BasicSR cannot be imported at all.
_MODULES = ("imports", "images", "logs", "distributed", "prefetching", "realesrgan")


@dataclass
class Repair:
    """One repair of BasicSR.

    Attributes:
        name: name of the function that repairs.
        fault: what is broken, in one line.
        thread: public thread or place that shows it.
        applied: whether it was needed here and is in force.
    """

    name: str
    fault: str
    thread: str
    function: Callable[[], bool]
    applied: bool = False
    replaced: list[tuple[Any, str, Any, Any]] = field(default_factory=list)

    def apply(self) -> None:
        """Applies the repair if it is needed and not in force."""
        if self.applied:
            return
        _active.append(self)
        try:
            self.applied = self.function()
        finally:
            _active.pop()

    def undo(self) -> None:
        """Restores what the repair replaced; for the tests that show the fault."""
        for holder, name, old, _ in reversed(self.replaced):
            setattr(holder, name, old)
        self.replaced.clear()
        self.applied = False


_repairs: list[Repair] = []
_active: list[Repair] = []


def repair(fault: str, thread: str) -> Callable[[Callable[[], bool]], Callable[[], bool]]:
    """Decorator that adds a function to the list; it returns whether it was needed."""

    def register(function: Callable[[], bool]) -> Callable[[], bool]:
        _repairs.append(Repair(function.__name__, fault, thread, function))
        return function

    return register


def repairs() -> tuple[Repair, ...]:
    """Returns all repairs, in the order of their application: those of this package first."""
    modules = [importlib.import_module(f"{__package__}.{name}").__name__ for name in _MODULES]

    def position(entry: Repair) -> int:
        # Any of the modules may have been imported before, by a loader's worker for example.
        module = entry.function.__module__
        return modules.index(module) if module in modules else len(modules)

    return tuple(sorted(_repairs, key=position))


def apply_import_repairs() -> None:
    """Applies the repairs without which ``import basicsr`` fails; does not import it."""
    for entry in repairs():
        if entry.function.__module__ == f"{__package__}.{_MODULES[0]}":
            entry.apply()


def apply_repairs() -> None:
    """Applies every repair that is needed; a second call does nothing."""
    for entry in repairs():
        entry.apply()


def replace(holder: Any, name: str, new: Any) -> None:
    """Sets ``holder.name``, and every name of a loaded module that was imported from there."""
    old = getattr(holder, name)
    holders = [holder]
    if inspect.ismodule(holder):
        holders += [
            module
            for module in list(sys.modules.values())
            if inspect.ismodule(module) and module is not holder and vars(module).get(name) is old
        ]
    for each in holders:
        setattr(each, name, new)
        _active[-1].replaced.append((each, name, old, new))


def source_has(function: Any, text: str) -> bool:
    """Returns whether the source of a function of BasicSR still contains the faulty text."""
    return text in inspect.getsource(function)
