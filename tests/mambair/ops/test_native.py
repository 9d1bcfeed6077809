"""The library of C++ kernels: its structures, its headers, and what its sanitizers catch."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import shutil
import subprocess
from pathlib import Path

import pytest

from mambair.ops import native
from mambair.ops.native import structures
from tests.conftest import ROOT

FOLDER = ROOT / "mambair" / "ops" / "native"
HERE = Path(__file__).resolve().parent
needs_library = pytest.mark.skipif(not native.AVAILABLE, reason="the C++ kernels are not built")


def layout_of_library() -> str:
    layout = native.required_library().mambair_layout
    layout.restype = ctypes.c_char_p
    return layout().decode()


@needs_library
def test_structures_are_those_of_the_library() -> None:
    assert layout_of_library().splitlines() == structures.expected_layout()


def swapped(text: str, first: str, second: str) -> str:
    """A list with two of its lines in each other's place."""
    lines = text.splitlines(keepends=True)
    i, j = (next(k for k, line in enumerate(lines) if entry in line) for entry in (first, second))
    lines[i], lines[j] = lines[j], lines[i]
    return "".join(lines)


@needs_library
@pytest.mark.parametrize(
    ("structure", "first", "second"),
    [
        ("scan", "float *, B)", "float *, C)"),
        ("attention", "qkv)", "table)"),
        ("dense", "tokens)", "int64_t, in)"),
        ("block", "SIZE(height)", "SIZE(width)"),
        ("block", "*, x)", "*, parameters)"),
        ("route", "chosen)", "order)"),
    ],
)
def test_swapped_fields_are_refused(
    structure: str,
    first: str,
    second: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A list that changed after the library was built: same sizes, another order."""
    name = f"{structure}_arguments"
    text = (FOLDER / f"{name}.inc").read_text()
    (tmp_path / f"{name}.inc").write_text(swapped(text, first, second))
    class_name = f"{structure.capitalize()}Arguments"
    other = structures.structure(class_name, name, tmp_path)
    original = getattr(structures, class_name)
    assert ctypes.sizeof(other) == ctypes.sizeof(original)
    changed = [other if kind is original else kind for kind in structures.STRUCTURES]
    monkeypatch.setattr(structures, "STRUCTURES", tuple(changed))
    logger = logging.getLogger("mambair")
    logger.addHandler(caplog.handler)
    try:
        library, reason = native._load.__wrapped__()
    finally:
        logger.removeHandler(caplog.handler)
    assert library is None
    assert reason is not None and "was built from other sources" in reason
    assert "reinstall the package" in caplog.text


@needs_library
def test_swapped_parameters_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(structures.BLOCK_PARAMETERS.items())
    items[0], items[2] = items[2], items[0]  # two norms of the same shape
    monkeypatch.setattr(structures, "BLOCK_PARAMETERS", dict(items))
    assert "NORM1_WEIGHT" in str(native._load.__wrapped__()[1])


@pytest.mark.parametrize(
    "line", ["FIELD(int64_t batch", "int64_t batch;", "FIELDS(int64_t, batch)"]
)
def test_lines_that_are_not_entries_are_errors(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.inc").write_text(f"// A list.\nFIELD(int64_t, length)\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.inc:3: not an entry"):
        structures.structure("Broken", "list", tmp_path)


def test_descriptions() -> None:
    if native.AVAILABLE:
        assert native.describe().split(",")[0] in native.INSTRUCTION_SETS
    else:
        assert "reinstall" in native.describe()


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_every_header_compiles_alone(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    headers = sorted(FOLDER.glob("*.h"))
    assert len(headers) > 15
    for header in headers:
        source = tmp_path / f"{header.stem}.cpp"
        source.write_text(f'#include "{header.name}"\n' * 2)  # twice: it has a guard
        done = subprocess.run(
            [compiler, "-std=c++17", "-fsyntax-only", "-Wno-psabi", f"-I{FOLDER}", str(source)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{header.name}\n{done.stderr[-2000:]}"


def test_formatted_by_clang_format() -> None:
    if importlib.util.find_spec("clang_format") is None:
        pytest.skip("clang-format is not installed")
    import clang_format

    tool = clang_format.get_executable("clang-format")
    files = [*FOLDER.glob("*.h"), *FOLDER.glob("*.cpp"), *HERE.glob("*.cpp")]
    done = subprocess.run(
        [tool, "--dry-run", "-Werror", *map(str, files)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


OVERRUNS = {
    "taking": "left_ >= 0",
    "writing": "fence[i] == FENCE_VALUE",
    "reading": "AddressSanitizer",
    "index": "out of bounds",
}


@pytest.mark.parametrize("overrun", ["none", *OVERRUNS])
def test_the_build_with_checks_catches_overruns(overrun: str, checked: Path) -> None:
    done = subprocess.run([str(checked), overrun], capture_output=True, text=True)
    if overrun == "none":
        assert done.returncode == 0, done.stderr[-2000:]
    else:
        assert done.returncode != 0
        assert OVERRUNS[overrun] in done.stderr


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of deliberate overruns, built as the sanitized kernels are."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    program = tmp_path_factory.mktemp("checked") / "overruns"
    flags = "-O1 -g1 -std=c++17 -Wno-psabi -DMAMBAIR_CHECKS -fno-sanitize-recover=all".split()
    done = subprocess.run(
        ["g++", *flags, "-fsanitize=address,undefined", f"-I{FOLDER}",
         str(HERE / "overruns.cpp"), "-o", str(program), "-pthread"],
        capture_output=True, text=True,
    )  # fmt: skip
    if "cannot find" in done.stderr:
        pytest.skip("g++ has no sanitizers")
    assert done.returncode == 0, done.stderr[-2000:]
    return program
