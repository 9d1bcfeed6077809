"""Commands whose work several processes share."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.basicsr_mambair.processes import OUTPUT, Job, run
from tests.conftest import ROOT


@pytest.mark.slow
def test_restore_is_shared(pairs: Path) -> None:
    """Every picture once, with the pixels, records and words of one process."""
    (pairs / "LR" / "broken.png").write_bytes(b"no picture")
    jobs = []
    for n in (1, 2):
        folder = pairs / str(n)
        folder.mkdir()
        shutil.copytree(pairs / "LR", folder / "LR")
        jobs.append(Job(str(folder), n, ["restore", "LR", "-o", "out", "-w", "tiny_x2"]))
    run(*jobs, status=1)  # of the broken picture
    one, two = (Path(job.folder) for job in jobs)
    names = sorted(path.name for path in (one / "out").glob("*.png"))
    assert len(names) == 3
    assert names == sorted(path.name for path in (two / "out").glob("*.png"))
    for name in names:
        assert (one / "out" / name).read_bytes() == (two / "out" / name).read_bytes()
    for folder in (one, two):
        output = (folder / OUTPUT).read_text()
        assert output.count("3 of 4 pictures restored") == 1, output
        assert output.count("not restored: ") == 1
        assert len((folder / "out" / ".restored.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_report_is_shared(pairs: Path) -> None:
    """Every picture once, with the figures and files of one process; and nothing again."""
    for broken in ("HR/broken.png", "LR/brokenx2.png"):
        (pairs / broken).write_bytes(b"no picture")
    options = {
        "extends": str(ROOT / "options" / "test" / "tiny_x2.yml"), "name": "tiny", "num_gpu": 0,
        "datasets": {"test_1": {"type": "PairedImageDataset", "name": "three", "dataroot_gt": "HR",
                              "dataroot_lq": "LR", "filename_tmpl": "{}x2"}},
    }  # fmt: skip
    jobs = []
    for n in (1, 2):
        folder = pairs / str(n)
        for part in ("HR", "LR"):
            shutil.copytree(pairs / part, folder / part)
        (folder / "test.yml").write_text(yaml.safe_dump(options))
        jobs += [Job(str(folder), n, ["report", "-opt", "test.yml", "-o", "out"])] * n
    run(*jobs, status=1)  # of the broken picture
    one, two = (pairs / str(n) for n in (1, 2))
    assert records(one) == records(two)
    names = [each["name"] for each in records(two)[1:]]
    assert names == ["astronautx2", "chelseax2", "coffeex2"]
    rows = [list(csv.DictReader((each / "out" / "images.csv").open())) for each in (one, two)]
    for row in (*rows[0], *rows[1]):
        row.pop("seconds", None)
    assert rows[0] == rows[1]
    pictures = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("pictures/**/*.png")}
        for folder in (one, two)
    ]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 12
    text = (two / OUTPUT).read_text()
    assert text.count("not measured: ") == 2  # of two runs
    assert text.count("report.html") == 2


def records(folder: Path) -> list[dict[str, Any]]:
    """The lines of a measurement without what depends on the time."""
    path = folder / "results" / "measurements" / "tiny" / "measurement.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in each.items() if k not in ("seconds", "stamp")} for each in lines]
