"""Importing BasicSR, and importing something else under its name."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own; modules of ``cwd`` come first, as in a checkout."""
    return subprocess.run(
        [sys.executable, *arguments, "-c", code],
        cwd=cwd, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def fork(folder: Path, code: str) -> Path:
    """A checkout with a ``basicsr`` folder of its own."""
    package = folder / "basicsr"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    return package


def test_importing_the_plugin_loads_neither_basicsr_nor_torch(tmp_path: Path) -> None:
    code = (
        "import basicsr_mambair, sys; "
        "print([name for name in ('basicsr', 'torch', 'numpy', 'cv2') if name in sys.modules])"
    )
    assert python(code, tmp_path).stdout.strip() == "[]"


def test_a_fork_that_fails_is_named(tmp_path: Path) -> None:
    package = fork(tmp_path, "import a_dependency_of_the_fork\n")
    code = "import basicsr_mambair, basicsr"
    error = python(code, tmp_path).stderr.strip().splitlines()[-1]
    assert error.startswith("basicsr_mambair.activation.ForkError: ")
    assert f"{package} is imported as basicsr, a fork that hides the BasicSR 1.4.2 of PyPI" in error
    assert "ModuleNotFoundError: No module named 'a_dependency_of_the_fork'" in error


def test_a_command_in_a_checkout_of_a_fork_says_so_without_a_traceback(tmp_path: Path) -> None:
    package = fork(tmp_path, "raise KeyError('__version__')\n")
    (tmp_path / "run.yml").write_text("name: x\n")
    run = subprocess.run(
        [sys.executable, "-m", "basicsr_mambair", "train", "-opt", "run.yml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert f"Error: {package} is imported as basicsr" in run.stderr


def test_a_fork_that_works_is_warned_about(tmp_path: Path) -> None:
    """A folder whose modules are those of the release, found in another place."""
    import basicsr

    release = Path(basicsr.__path__[0])
    (tmp_path / "basicsr").symlink_to(release, target_is_directory=True)
    run = python("import basicsr_mambair, basicsr", tmp_path)
    assert run.returncode == 0, run.stderr
    assert "a fork that hides" not in run.stderr, "a link to the release is the release"
    (tmp_path / "basicsr").unlink()
    fork(tmp_path, f"__path__.append({str(release)!r})\n")
    run = python("import basicsr_mambair, basicsr", tmp_path)
    assert run.returncode == 0, run.stderr
    assert f"{tmp_path / 'basicsr'} is imported as basicsr, a fork that hides" in run.stderr


def test_the_networks_log_where_basicsr_does(caplog: pytest.LogCaptureFixture) -> None:
    import basicsr  # noqa: F401  (activates the plugin)

    basicsr_logger = logging.getLogger("basicsr")
    basicsr_logger.addHandler(caplog.handler)
    level = basicsr_logger.level
    basicsr_logger.setLevel(logging.INFO)
    try:
        logging.getLogger("mambair").info("backend cpp")
        logging.getLogger("mambair.ops").info("backend triton")
    finally:
        basicsr_logger.removeHandler(caplog.handler)
        basicsr_logger.setLevel(level)
    messages = [record.getMessage() for record in caplog.records]
    assert {"backend cpp", "backend triton"} <= set(messages)


@pytest.mark.parametrize("module", ["models.restoration_model", "data.paired_image_dataset"])
def test_what_others_import_can_be_imported_first(module: str, tmp_path: Path) -> None:
    """It imports BasicSR, which imports the others."""
    run = python(f"import basicsr_mambair.{module}", tmp_path)
    assert run.returncode == 0, run.stderr
