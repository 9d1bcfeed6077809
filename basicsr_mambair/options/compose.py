"""Option files made of others: ``extends``, ``!replace``, overrides and ``${key}``.

``extends: base.yml`` (or a list of files, beside the file that names them) begins with the options
of those files: sections are merged key by key, a value or list of a later file replaces that of an
earlier one, a key that is ``~`` is taken out, and the file itself comes last. A section tagged
``!replace`` takes the place of what was there instead of being merged. ``${scale}`` in a value is
the value of the option ``scale``, ``${network_g.upscale}`` that of a key of a section. Files that
use none of this read as ever.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from basicsr_mambair.options import sources
from basicsr_mambair.options.errors import OptionError, Problem, Problems, dotted
from basicsr_mambair.options.errors import Path as Keys
from basicsr_mambair.options.sources import Replacement, Sources

Options = dict[str, Any]

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")


@dataclass
class Composed:
    """Options of a file and of those it extends, with the place that every value came from."""

    options: Options = field(default_factory=dict)
    sources: Sources = field(default_factory=Sources)

    def merge(self, other: Composed) -> None:
        """Puts the options of another file on top of these."""
        _merge(self.options, other.options, (), self.sources, other.sources)

    def set(self, path: Keys, value: Any, source: str) -> None:
        """Sets one value, making the sections on the way; null takes a section out.

        Raises:
            OptionError: something on the way is not a section.
        """
        section = self.options
        for depth, key in enumerate(path[:-1], start=1):
            if section.get(key) is None:
                section[key] = {}
                self.sources.replace(path[:depth], source)
            if not isinstance(section[key], dict):
                text = f"is not a section: {section[key]!r}"
                raise OptionError(Problem(path[:depth], text, source))
            section = section[key]
        if value is None and isinstance(section.get(path[-1]), dict):
            del section[path[-1]]
        else:
            section[path[-1]] = value
        self.sources.replace(path, source)


def read_composed(path: Path) -> Composed:
    """The options of a file and of those it extends; references are not resolved.

    Raises:
        OptionError: a file is missing, is not valid YAML, or extends itself; names the file.
    """
    composed = _read(path, ())
    composed.options = _plain(composed.options)
    return composed


def composed_text(path: str | Path) -> str | None:
    """The options of a file with those it extends, as YAML; ``None`` if it extends none."""
    path = Path(path)
    if "extends" not in sources.read_file(path)[0]:
        return None
    options = read_composed(path).options
    return yaml.safe_dump(options, sort_keys=False, allow_unicode=True)


def _read(path: Path, descendants: tuple[Path, ...]) -> Composed:
    options, marks = sources.read_file(path)
    bases = options.pop("extends", None) or []
    place = marks.of(("extends",)) or str(path)
    chain = (*descendants, path.resolve())
    composed = Composed()
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            text = f"must be a file or a list of files, got {base!r}"
            raise OptionError(Problem(("extends",), text, place))
        base_path = Path(os.path.normpath(path.parent / base))
        if base_path.resolve() in chain:
            raise OptionError(Problem(("extends",), f"{base} extends this file in turn", place))
        if not base_path.is_file():
            text = "is not a file" if base_path.exists() else "the option file does not exist"
            text = f"{base}: {text}"
            raise OptionError(Problem(("extends",), text, place))
        composed.merge(_read(base_path, chain))
    composed.merge(Composed(options, marks))
    return composed


def merge(base: Options, changes: Mapping[str, Any]) -> Options:
    """Puts ``changes`` into ``base``: sections key by key, everything else as a whole.

    A key that is null in ``changes`` leaves ``base``.
    """
    _merge(base, changes, (), Sources(), Sources())
    return base


def _merge(
    base: Options, changes: Mapping[str, Any], path: Keys, marks: Sources, new_marks: Sources
) -> None:
    for key, value in changes.items():
        here = (*path, key)
        if value is None and key in base:
            del base[key]
            marks.take(here, new_marks)
        elif (
            isinstance(value, dict)
            and not isinstance(value, Replacement)
            and isinstance(base.get(key), dict)
        ):
            marks.set(here, new_marks.of(here))
            _merge(base[key], value, here, marks, new_marks)
        else:
            base[key] = copy.deepcopy(value)  # YAML's aliases are one object
            marks.take(here, new_marks)


def _plain(value: Any) -> Any:
    """The same without tags."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def resolve_references(options: Options, problems: Problems | None = None) -> None:
    """Replaces ``${key}`` in every value.

    A value that is nothing but a reference becomes what it names, a number for example.

    Args:
        options: changed in place.
        problems: list to which bad references are added.

    Raises:
        OptionError: there are such references, and no ``problems`` to note them in.
    """
    found = Problems() if problems is None else problems
    _resolve(options, options, (), found)
    if problems is None and found:
        raise OptionError(*found)


class _BadReferenceError(Exception):
    pass


def _resolve(value: Any, options: Options, path: Keys, problems: Problems) -> Any:
    if isinstance(value, dict):
        for key in value:
            value[key] = _resolve(value[key], options, (*path, str(key)), problems)
        return value
    if isinstance(value, list):
        return [_resolve(each, options, path, problems) for each in value]
    try:
        return _resolve_text(value, options, ())
    except _BadReferenceError as error:
        problems.add(path, str(error))
        return value


def _resolve_text(value: Any, options: Options, chain: tuple[str, ...]) -> Any:
    """A plain value, its references replaced by what they name, which may hold some in turn."""
    if not isinstance(value, str) or "${" not in value:
        return value

    def look_up(name: str) -> Any:
        if name in chain:
            raise _BadReferenceError(f"${{{name}}} refers to itself")
        return _resolve_text(_look_up(name, options), options, (*chain, name))

    whole = _REFERENCE.fullmatch(value)
    if whole:
        return look_up(whole[1])
    return _REFERENCE.sub(lambda match: str(look_up(match[1])), value)


def _look_up(name: str, options: Options) -> Any:
    found: Any = options
    for key in name.split("."):
        if not isinstance(found, dict) or key not in found:
            raise _BadReferenceError(f"${{{name}}} names no option")
        found = found[key]
    if isinstance(found, (dict, list)):
        raise _BadReferenceError(f"${{{name}}} must name a plain value, not {found!r}")
    return found


def apply_overrides(composed: Composed, entries: Iterable[str], top_keys: Iterable[str]) -> None:
    """Applies ``KEY:KEY=VALUE`` entries of the command line (``KEY.KEY=VALUE`` is the same).

    Args:
        composed: changed in place.
        entries: the entries.
        top_keys: keys that may be new at the top level, in addition to ``network_…``.

    Raises:
        OptionError: entries that are not of this form or name an unknown key at the top.
    """
    from mambair.signatures import did_you_mean

    problems = []
    for entry in entries:
        source = f"--force_yml {entry}"
        keys, separator, text = entry.partition("=")
        path = tuple(key.strip() for key in re.split(r"[:.]", keys))
        if not separator or not all(path):
            problems.append(Problem((), "is not of the form KEY:KEY=VALUE", source))
            continue
        known = {*composed.options, *top_keys}
        if path[0] not in known and not path[0].startswith("network_"):
            hint = did_you_mean(path[0], known)
            what = "section" if len(path) > 1 else "option"
            problems.append(Problem((), f"there is no {what} {path[0]!r}{hint}", source))
            continue
        try:
            composed.set(path, parse_value(text.strip()), source)
        except OptionError as error:
            problems += error.problems
    if problems:
        raise OptionError(*problems)


def parse_value(text: str) -> Any:
    """A value on the command line: YAML, or text where that is not valid YAML."""
    if text.lower() == "none":  # BasicSR's spelling in addition to YAML's
        return None
    if text.startswith("{}"):  # a template of file names, not an empty section
        return text
    try:
        return _plain(yaml.load(text, Loader=sources.OptionLoader))  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, OptionError, RecursionError, ValueError):
        return text


def describe_source(marks: Sources, path: Keys, file: str) -> str:
    """Returns the source of a value or, for a missing key, of the section that should hold it."""
    for length in range(len(path), 0, -1):
        found = marks.of(path[:length])
        if found:
            return found
    return file


__all__ = [
    "Composed",
    "Options",
    "apply_overrides",
    "composed_text",
    "describe_source",
    "dotted",
    "merge",
    "parse_value",
    "read_composed",
    "resolve_references",
]
