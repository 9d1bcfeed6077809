"""Commands whose work several processes share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.basicsr_mambair.processes import OUTPUT, Job, run


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
