"""Damaged LMDBs are refused with the option file; `tests/fuzzing` damages them at random."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from basicsr_mambair.lmdb_check import check_lmdb
from basicsr_mambair.options import OptionError, load_options
from basicsr_mambair.prepare import make_lmdb
from mambair.imaging.errors import PictureError
from tests.basicsr_mambair.training.runs import contents


@pytest.fixture
def store(pairs: Path) -> Path:
    make_lmdb(pairs / "HR", pairs / "a.lmdb", 1)
    return pairs / "a.lmdb"


def test_a_whole_one(store: Path) -> None:
    check_lmdb(str(store))


def test_one_that_is_cut_off_does_not_kill_the_training(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    data = store / "data.mdb"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    options = contents()
    options["datasets"]["train"] = {
        "type": "RealESRGANDataset", "dataroot_gt": "a.lmdb", "io_backend": {"type": "lmdb"},
        "crop_size": 32, "gt_size": 16, "batch_size_per_gpu": 1, "num_worker_per_gpu": 0,
    }  # fmt: skip
    Path("run.yml").write_text(yaml.safe_dump(options))
    with pytest.raises(OptionError, match=r"a\.lmdb/data\.mdb: is damaged or cut off: .*SIGBUS"):
        load_options("run.yml", is_train=True)


def test_missing_entries(store: Path) -> None:
    with (store / "meta_info.txt").open("a") as file:
        file.write("gone.png (96,128,3) 1\n")
    with pytest.raises(PictureError, match=r"lacks entries that meta_info\.txt lists: 'gone'$"):
        check_lmdb(str(store))


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_something_else(content: bytes, store: Path) -> None:
    (store / "data.mdb").write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.lmdb/data\.mdb: is damaged"):
        check_lmdb(str(store))
