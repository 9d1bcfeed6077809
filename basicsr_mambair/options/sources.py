"""Reading YAML, and remembering the line that every value came from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from basicsr_mambair.options.errors import OptionError, Problem
from basicsr_mambair.options.errors import Path as Keys

_DEEPEST = 50  # sections within sections; an alias inside its own anchor has no end


class Sources:
    """The place of every value: ``FILE:LINE``, or the entry on the command line."""

    def __init__(self) -> None:
        self._places: dict[Keys, str] = {}

    def of(self, path: Keys) -> str:
        """The source of a value; empty if it is unknown."""
        return self._places.get(path, "")

    def set(self, path: Keys, place: str) -> None:
        """Notes the place of one value."""
        if place:
            self._places[path] = place

    def replace(self, path: Keys, place: str) -> None:
        """Notes the place of a value, and forgets those of what was inside it."""
        self._drop(path)
        self.set(path, place)

    def take(self, path: Keys, other: Sources) -> None:
        """Takes the places of a value and of what is inside it from another file."""
        self._drop(path)
        for each, place in other._places.items():
            if each[: len(path)] == path:
                self._places[each] = place

    def _drop(self, path: Keys) -> None:
        for each in [each for each in self._places if each[: len(path)] == path]:
            del self._places[each]


class Replacement(dict[str, Any]):
    """A section tagged ``!replace``."""


class OptionLoader(yaml.SafeLoader):
    """YAML as option files are written: ``2e-4`` is a number, every key comes once."""


OptionLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class _FileError(Exception):
    """Something at a line of the file that is being read."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _mapping_with_unique_keys(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    seen = set()
    for key_node, _ in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise _FileError(line, "a key must be text")
        if key_node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            raise _FileError(line, f"key {key_node.value!r} must be text: put it in quotes")
        if key_node.value in seen:
            raise _FileError(line, f"duplicate key {key_node.value!r}")
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # merge keys: `<<: *anchor`
    return dict(loader.construct_pairs(node, deep=True))


def _replacement(loader: yaml.SafeLoader, node: yaml.Node) -> Replacement:
    if not isinstance(node, yaml.MappingNode):
        raise _FileError(node.start_mark.line + 1, "!replace goes with a section")
    return Replacement(_mapping_with_unique_keys(loader, node))


OptionLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_with_unique_keys
)
OptionLoader.add_constructor("!replace", _replacement)


def read_file(path: Path) -> tuple[dict[str, Any], Sources]:
    """The options of one file as it is written, and the line of every value.

    Raises:
        OptionError: it is missing, is not valid YAML, or holds something else than sections.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "the option file does not exist"
        raise OptionError(Problem((), what, str(path)))
    sources = Sources()
    try:
        loader = OptionLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            if node is None or not isinstance(node, yaml.MappingNode):
                text = "an option file is a mapping of keys to values"
                raise OptionError(Problem((), text, str(path)))
            _note_lines(node, (), str(path), sources)
            options = loader.construct_document(node)
        finally:
            loader.dispose()
    except _FileError as error:
        raise OptionError(Problem((), str(error), f"{path}:{error.line}")) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise OptionError(Problem((), f"not valid YAML: {said}", place)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, OSError) as error:
        if isinstance(error, OptionError):
            raise
        text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise OptionError(Problem((), f"not valid YAML: {text}", str(path))) from error
    return options, sources


def _note_lines(node: yaml.Node, path: Keys, file: str, sources: Sources) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    if len(path) > _DEEPEST:
        raise _FileError(node.start_mark.line + 1, "sections are nested too deeply")
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            continue
        if key_node.tag == "tag:yaml.org,2002:merge":
            merged = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for each in merged:
                _note_lines(each, path, file, sources)
            continue
        here = (*path, str(key_node.value))
        sources.set(here, f"{file}:{key_node.start_mark.line + 1}")
        _note_lines(value_node, here, file, sources)
