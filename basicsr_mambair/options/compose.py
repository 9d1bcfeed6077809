"""Option files made of others: ``extends`` and ``${key}``.

``extends: base.yml`` (or a list of files, beside the file that names them) begins with the options
of those files: sections are merged key by key, a value or list of a later file replaces that of an
earlier one, a key that is ``~`` is taken out, and the file itself comes last. ``${scale}`` in a
value is the value of the option ``scale``, ``${network_g.upscale}`` that of a key of a section.
Files that use neither read as ever.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from basicsr_mambair.options.errors import OptionError

Options = dict[str, Any]

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")


class OptionLoader(yaml.SafeLoader):
    """YAML as option files are written: ``2e-4`` is a number, a key stands once in a section."""


OptionLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _mapping_with_unique_keys(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Options:
    seen = set()
    for key_node, _ in node.value:
        if key_node.value in seen:
            line = key_node.start_mark.line + 1
            raise OptionError(f"line {line}: key {key_node.value!r} stands twice in its section")
        seen.add(key_node.value)
    loader.flatten_mapping(node)  # merge keys: `<<: *anchor`
    return dict(loader.construct_pairs(node, deep=True))


OptionLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_with_unique_keys
)


def read_composed(path: Path) -> Options:
    """The options of a file and of those it extends; references are left as they are.

    Raises:
        OptionError: a file is missing, no YAML, or extends itself; the message does not name
            ``path``, but names files that it extends.
    """
    return _read(path, ())


def composed_text(path: str | Path) -> str | None:
    """The options of a file with those it extends, as YAML; ``None`` if it extends none."""
    path = Path(path)
    if "extends" not in _read_one(path):
        return None
    return yaml.safe_dump(read_composed(path), sort_keys=False, allow_unicode=True)


def _read(path: Path, descendants: tuple[Path, ...]) -> Options:
    options = _read_one(path)
    bases = options.pop("extends", None) or []
    chain = (*descendants, path.resolve())
    merged: Options = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise OptionError(f"extends: must be a file or a list of files, got {base!r}")
        base_path = path.parent / base
        if base_path.resolve() in chain:
            raise OptionError(f"extends: {base} extends this file in turn")
        try:
            merge(merged, _read(base_path, chain))
        except OptionError as error:
            raise OptionError(f"extends: {base}: {error}") from error.__cause__
    return merge(merged, options)


def _read_one(path: Path) -> Options:
    if not path.is_file():
        raise OptionError("there is no such option file")
    try:
        options = yaml.load(path.read_text(encoding="utf-8"), Loader=OptionLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(f"not readable as YAML: {error}") from error
    if not isinstance(options, dict):
        raise OptionError("an option file is a mapping of keys to values")
    return options


def merge(base: Options, changes: Mapping[str, Any]) -> Options:
    """Puts ``changes`` into ``base``: sections key by key, everything else as a whole.

    A key that is null in ``changes`` leaves ``base``.
    """
    for key, value in changes.items():
        if value is None and key in base:
            del base[key]
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = copy.deepcopy(value)  # YAML's aliases are one object
    return base


def resolve_references(options: Options) -> None:
    """Replaces ``${key}`` in every value.

    A value that is nothing but a reference becomes what it names, a number for example.

    Raises:
        OptionError: a reference names no option, or one that is itself no plain value.
    """
    _resolve(options, options, "")


def _resolve(value: Any, options: Options, where: str) -> Any:
    if isinstance(value, dict):
        for key in value:
            value[key] = _resolve(value[key], options, f"{where}.{key}" if where else str(key))
        return value
    if isinstance(value, list):
        return [_resolve(each, options, where) for each in value]
    return _resolve_text(value, options, where, ())


def _resolve_text(value: Any, options: Options, where: str, chain: tuple[str, ...]) -> Any:
    """A plain value, its references replaced by what they name, which may hold some in turn."""
    if not isinstance(value, str) or "${" not in value:
        return value

    def look_up(name: str) -> Any:
        if name in chain:
            raise OptionError(f"{where}: ${{{name}}} refers to itself")
        found = _look_up(name, options, where)
        return _resolve_text(found, options, where, (*chain, name))

    whole = _REFERENCE.fullmatch(value)
    if whole:
        return look_up(whole[1])
    return _REFERENCE.sub(lambda match: str(look_up(match[1])), value)


def _look_up(name: str, options: Options, where: str) -> Any:
    found: Any = options
    for key in name.split("."):
        if not isinstance(found, dict) or key not in found:
            raise OptionError(f"{where}: ${{{name}}} names no option")
        found = found[key]
    if isinstance(found, (dict, list)):
        raise OptionError(f"{where}: ${{{name}}} must name a plain value, not {found!r}")
    return found
