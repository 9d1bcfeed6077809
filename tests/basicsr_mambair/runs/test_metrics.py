"""``metrics.jsonl``: whole lines, none twice, none that contradict each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basicsr_mambair.runs.metrics import MetricsError, MetricsFile, read_metrics


def report(iteration: int) -> dict[str, object]:
    return {"iter": iteration, "train": {"l_pix": 1 / iteration}}


def validation(iteration: int) -> dict[str, object]:
    return {"iter": iteration, "val": "Set5", "metrics": {"psnr": 30.0}}


def written(folder: Path, *records: dict[str, object]) -> MetricsFile:
    file = MetricsFile(folder)
    for record in records:
        file.add(record)
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written(tmp_path, report(3), validation(4))
    assert read_metrics(tmp_path) == [report(3), validation(4)]


def test_lines_are_json_even_where_a_number_is_not_finite(tmp_path: Path) -> None:
    written(tmp_path, {"iter": 1, "lr": [1e-3], "train": {"l_pix": float("nan")}})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "iter": 1, "lr": [1e-3], "train": {"l_pix": None},
    }  # fmt: skip


def test_lines_after_the_place_of_resuming_go(tmp_path: Path) -> None:
    file = written(tmp_path, report(1), report(2), validation(2), report(3))
    assert file.keep_until(2, validates_again=False) == ([], [])
    assert read_metrics(tmp_path) == [report(1), report(2), validation(2)]
    assert file.keep_until(2, validates_again=True) == ([validation(2)], [])
    assert read_metrics(tmp_path) == [report(1), report(2)]


def test_a_line_that_a_kill_cut_goes(tmp_path: Path) -> None:
    file = written(tmp_path, report(1))
    with file.path.open("a") as stream:
        stream.write('{"iter": 2, "tr')
    assert read_metrics(tmp_path) == [report(1)], "the run may be writing it"
    again, notes = file.keep_until(5, validates_again=False)
    assert again == []
    assert notes == [f"{file.path}: removed incomplete lines: 2"]
    file.add(report(2))
    assert read_metrics(tmp_path) == [report(1), report(2)]


def test_a_run_without_figures(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    assert MetricsFile(tmp_path).keep_until(5, validates_again=True) == ([], [])


@pytest.mark.parametrize("line", [b"\x00\xff\n", b"[1]\n", b'{"iter": "1"}\n', b"{}\n"])
def test_a_damaged_file_is_named(line: bytes, tmp_path: Path) -> None:
    file = written(tmp_path, report(1))
    content = file.path.read_bytes()
    file.path.write_bytes(line + content)
    with pytest.raises(MetricsError, match=r"metrics\.jsonl: line 1 is not a line of a run"):
        read_metrics(tmp_path)
    file.keep_until(5, validates_again=False)
    assert read_metrics(tmp_path) == [report(1)]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match=r"metrics\.jsonl: could not be written"):
        MetricsFile(tmp_path / "missing").add(report(1))
