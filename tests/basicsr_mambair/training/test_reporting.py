"""What a run tells: the same figures whether it was stopped or not, and a bar on a terminal."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from basicsr_mambair.runs.metrics import read_metrics
from tests.basicsr_mambair.training.runs import Runs, contents, figures, folder_for
from tests.conftest import run_basicsr


def test_every_report_and_validation_is_a_line(pairs: Path) -> None:
    runs = Runs(pairs)
    runs.train(contents(total=5, logger__print_freq=2))
    records = read_metrics(runs.own)
    assert [(each["iter"], "val" in each) for each in records] == [
        (2, False), (4, False), (4, True), (5, True),
    ]  # fmt: skip
    assert [each["metrics"] for each in records if "val" in each] == list(runs.figures.values())
    assert records[0]["train"] == runs.losses[2]
    assert records[0]["lr"] == [1e-3]
    assert records[0]["speed"].keys() >= {"seconds", "reading", "images_per_second"}


@pytest.mark.parametrize("frequency", [3, 4])  # of saving: 4 is also that of validating
@pytest.mark.parametrize("stop", [5, 7, 8])
def test_lines_go_on_after_a_resume(frequency: int, stop: int, pairs: Path) -> None:
    changes = {"logger__save_checkpoint_freq": frequency}
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(contents(**changes))
    parts.train(contents(**changes), stop_after=stop)
    parts.train(contents(**changes), resume=True)
    assert figures(parts.own) == figures(whole.own)
    parts.train(contents(**changes), resume=True)  # it is finished: nothing is reported twice
    assert figures(parts.own) == figures(whole.own)


def on_a_terminal(*arguments: str, cwd: Path) -> str:
    """What the command shows whose standard error is a terminal of 160 columns."""
    pty, termios, fcntl = map(pytest.importorskip, ("pty", "termios", "fcntl"))
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 40, 160, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "basicsr_mambair", *arguments],
        cwd=cwd, stdout=subprocess.DEVNULL, stderr=end,
    )  # fmt: skip
    os.close(end)
    shown = b""
    try:
        while part := os.read(terminal, 1 << 16):
            shown += part
    except OSError:  # Linux: the other end is closed
        pass
    os.close(terminal)
    assert process.wait(60) == 0, shown.decode()
    return shown.decode()


def test_a_bar_on_a_terminal_and_lines_elsewhere(pairs: Path) -> None:
    options = contents(total=60, logger__print_freq=20, name="mine")
    (pairs / "mine.yml").write_text(yaml.safe_dump(options))
    shown = on_a_terminal("train", "-opt", "mine.yml", cwd=pairs)
    bar = re.search(
        r"mine +\d+%\|.*\| \d+ of 60, [\d:]+ elapsed, [\d:?]+ left, [\d.e+]+ images/s, "
        r"[\d,]+ MB, l_pix [\d.]+, lr 0\.0005",
        shown,
    )
    assert bar, shown[-2000:]
    lines = [line for line in re.split(r"[\r\n]+", shown) if "[epoch:" in line]
    assert len(lines) == 3
    assert all("INFO: [mine..][epoch:" in line for line in lines)

    run = run_basicsr("train", "-opt", "mine.yml", cwd=pairs)
    assert run.returncode == 0, run.stderr
    assert "%|" not in run.stderr
    assert re.search(
        r"iter: +60, lr:\(5\.000e-04,\)\] \[eta: 0:00:00, time \(data\): [\d.]+ \([\d.]+\), "
        r"[\d.e+]+ images/s, [\d,]+ MB\] l_pix: \d\.\d{4}e-\d+ $",
        run.stderr,
        re.MULTILINE,
    )
