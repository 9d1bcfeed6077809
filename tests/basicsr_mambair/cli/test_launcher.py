"""``--launcher`` without the launcher: a sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from basicsr_mambair.cli.main import main
from basicsr_mambair.training.meeting import PeerError
from basicsr_mambair.training.share import check_launched

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize(
    ("command", "launcher", "program"),
    [
        ("train -opt run.yml", "pytorch", "torchrun"),
        ("train -opt run.yml", "slurm", "srun"),
        ("test -opt run.yml", "pytorch", "torchrun"),
        ("test -opt run.yml", "slurm", "srun"),
        ("restore pkg://skimage/data/coffee.png", "pytorch", "torchrun"),
    ],
)
def test_a_process_that_no_launcher_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, launcher: str, program: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*TORCHRUN, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(main, [*command.split(), "--launcher", launcher])
    assert result.exit_code == 1
    assert f"--launcher {launcher}: {program} has not started this process" in result.output
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.setenv(name, "0")
    check_launched("pytorch")
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(PeerError, match=r"\(WORLD_SIZE not set\)"):
        check_launched("pytorch")
