"""The structures that the C++ kernels take, from the lists that C++ includes (``*.inc``).

A list has one entry on each line: ``FIELD(type, name)``, ``SIZE(name)`` for an ``int64_t`` that
follows from shapes, or ``PARAMETER(name, side, …)``. Comments and empty lines may come between.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_ENTRY = re.compile(r"(FIELD|SIZE|PARAMETER)\(([^()]+)\)\s*(?://.*)?")
_TYPES: dict[str, Any] = {
    "int64_t": ctypes.c_int64,
    "int32_t": ctypes.c_int32,
    "float": ctypes.c_float,
}


def read_list(name: str, folder: Path = _FOLDER) -> Iterator[tuple[str, ...]]:
    """Entries of ``name.inc``: kind, and what its parentheses hold.

    Raises:
        ValueError: a line is neither an entry nor a comment; names file and line.
    """
    path = folder / f"{name}.inc"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("//"):
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise ValueError(f"{path}:{number}: not an entry of the list: {line!r}")
        yield entry[1], *(argument.strip() for argument in entry[2].split(","))


class Arguments(ctypes.Structure):
    """The arguments of a kernel; the fields come from its list."""

    declared: list[tuple[str, str]]  # C++ type and name of every field
    sizes: tuple[str, ...]  # names of the fields that follow from shapes

    @classmethod
    def layout(cls) -> list[str]:
        """The structure as the library describes it, a line for itself and for every field."""
        lines = [f"struct {cls.__name__} at 0, {ctypes.sizeof(cls)} bytes"]
        for kind, name in cls.declared:
            field = getattr(cls, name)
            lines.append(f"{kind} {name} at {field.offset}, {field.size} bytes")
        return lines


def structure(class_name: str, list_name: str, folder: Path = _FOLDER) -> type[Arguments]:
    """The structure whose fields are those of a list."""
    declared, sizes = [], []
    for kind, *arguments in read_list(list_name, folder):
        if kind == "SIZE":
            sizes += arguments
            arguments = ["int64_t", *arguments]
        declared.append((arguments[0], arguments[1]))
    fields = [
        (name, ctypes.c_void_p if kind.endswith("*") else _TYPES[kind]) for kind, name in declared
    ]
    members = {
        "__doc__": f"The fields of ``{list_name}.inc``.",
        "__module__": __name__,
        "_fields_": fields,
        "declared": declared,
        "sizes": tuple(sizes),
    }
    return type(class_name, (Arguments,), members)


def parameters(list_name: str, folder: Path = _FOLDER) -> dict[str, tuple[str, ...]]:
    """Parameters by name, in their order, with the names of the sides of their shapes."""
    return {name: tuple(sides) for _, name, *sides in read_list(list_name, folder)}


ScanArguments = structure("ScanArguments", "scan_arguments")
AttentionArguments = structure("AttentionArguments", "attention_arguments")
DenseArguments = structure("DenseArguments", "dense_arguments")
BlockArguments = structure("BlockArguments", "block_arguments")
RouteArguments = structure("RouteArguments", "route_arguments")
STRUCTURES = (ScanArguments, AttentionArguments, DenseArguments, BlockArguments, RouteArguments)

BLOCK_PARAMETERS = parameters("block_parameters")
FFN_PARAMETERS = parameters("ffn_parameters")


def expected_layout() -> list[str]:
    """The layout that a library built from these lists reports (``mambair_layout``)."""
    lines = [line for kind in STRUCTURES for line in kind.layout()]
    for name, sides in (*BLOCK_PARAMETERS.items(), *FFN_PARAMETERS.items()):
        lines.append(f"parameter {name} ({', '.join(sides)})")
    return lines


def layout_difference(of_library: str) -> str | None:
    """The first line in which the library's layout differs; ``None``: it is the expected one."""
    found, expected = of_library.splitlines(), expected_layout()
    for index in range(max(len(found), len(expected))):
        ours = expected[index] if index < len(expected) else "nothing"
        theirs = found[index] if index < len(found) else "nothing"
        if ours != theirs:
            return f"it has {theirs!r} where the lists have {ours!r}"
    return None
