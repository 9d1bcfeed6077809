"""Training without BasicSR."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from basicsr_mambair.training import requirements
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.run import test as run_test
from basicsr_mambair.training.run import train as run_train
from mambair.errors import UserError


@pytest.mark.parametrize("run", [run_train, run_test])
@pytest.mark.parametrize(
    ("version", "remedy"),
    [((3, 11), "install it with: pip install basicsr==1.4.2"), ((3, 13), "pip wheel --no-deps")],
)
def test_the_error_says_how_to_get_basicsr(
    run: object, version: tuple[int, int], remedy: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="need BasicSR 1.4.2, which is not installed") as raised:
        run(RunArguments("run.yml"))  # type: ignore[operator]
    assert remedy in str(raised.value)
    assert "\n" not in str(raised.value)
