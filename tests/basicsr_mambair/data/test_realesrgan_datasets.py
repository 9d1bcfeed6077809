"""The datasets under Real-ESRGAN's names."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset

from basicsr_mambair.data import RealESRGANDataset, RealESRGANPairedDataset
from mambair.imaging.errors import PictureError
from tests.conftest import photograph


def section(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "type": "RealESRGANDataset_mambair", "name": "x", "dataroot_gt": str(folder / "HR"),
        "crop_size": 64, "phase": "train", "scale": 2, **changes,
    }  # fmt: skip


def sample(dataset: Any, index: int = 0, seed: int = 0) -> dict[str, Any]:
    random.seed(seed)
    np.random.seed(seed)
    read: dict[str, Any] = dataset[index]
    return read


def test_a_sample(pairs: Path) -> None:
    dataset = build_dataset(section(pairs))
    assert type(dataset) is RealESRGANDataset
    assert len(dataset) == 3
    read = sample(dataset)
    assert read["gt"].shape == (3, 64, 64)
    assert read["gt_path"] == str(pairs / "HR" / "astronaut.png")
    for name in ("kernel1", "kernel2", "sinc_kernel"):
        assert read[name].shape == (21, 21)
        assert float(read[name].sum()) == pytest.approx(1, abs=1e-5)
    assert isinstance(read["degradation_seed"], int)
    assert torch.equal(sample(dataset)["gt"], read["gt"])
    assert sample(dataset)["degradation_seed"] == read["degradation_seed"]
    assert sample(dataset, seed=1)["degradation_seed"] != read["degradation_seed"]


def test_what_names_the_pictures(pairs: Path) -> None:
    meta = pairs / "meta.txt"
    meta.write_text("coffee.png (96,128,3)\nastronaut.png\n")
    expected = [str(pairs / "HR" / name) for name in ("coffee.png", "astronaut.png")]
    for key in ("meta_info", "meta_info_file"):
        dataset = RealESRGANDataset(section(pairs, **{key: str(meta)}))
        assert [path for _, path in dataset.pictures] == expected
    chosen = RealESRGANDataset(section(pairs, exclude=["c*"]))
    assert len(chosen) == 1
    both = RealESRGANDataset(section(pairs, dataroot_gt=[str(pairs / "HR"), str(pairs / "LR")]))
    assert len(both) == 6
    meta.write_text("missing.png\n")
    with pytest.raises(PictureError, match=r"missing.png: there is no such file \(.*meta.txt nam"):
        RealESRGANDataset(section(pairs, meta_info=str(meta)))


def test_lmdb(pairs: Path) -> None:
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    names = ["astronaut", "chelsea"]
    make_lmdb_from_imgs(
        str(pairs / "HR"), str(pairs / "HR.lmdb"), [f"{n}.png" for n in names], names
    )
    lmdb = section(pairs, dataroot_gt=str(pairs / "HR.lmdb"), io_backend={"type": "lmdb"})
    dataset = RealESRGANDataset(lmdb)
    assert len(dataset) == 2
    read = sample(dataset, 1)
    assert read["gt_path"] == "chelsea"
    assert torch.equal(read["gt"], sample(RealESRGANDataset(section(pairs)), 1)["gt"])


def test_a_small_picture_is_mirrored(tmp_path: Path) -> None:
    (tmp_path / "HR").mkdir()
    picture = photograph("coffee", 40, 96)
    assert cv2.imwrite(str(tmp_path / "HR" / "a.png"), picture)
    dataset = RealESRGANDataset(section(tmp_path, use_hflip=False, use_rot=False))
    gt = (sample(dataset)["gt"] * 255).round()
    assert gt.shape == (3, 64, 64)
    assert torch.equal(gt[:, 40:64], gt[:, 15:39].flip(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gt_size": 65}, "gt_size: must be a multiple of scale 2, got 65"),
        ({"gt_size": 66}, "crop_size: must be at least gt_size 66, got 64"),
        ({"phase": "val"}, "type: RealESRGANDataset has no pictures to restore"),
        ({"kernel_list2": ["iso"]}, "kernel_prob2: has 6 entries where kernel_list2 has 1"),
        ({"dataroot_gt": []}, "dataroot_gt: must be a folder"),
    ],
)
def test_wrong_options(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        RealESRGANDataset.check_options(section(tmp_path, **changes))


def test_pairs_by_name_and_by_list(pairs: Path) -> None:
    base = {
        "type": "RealESRGANPairedDataset_mambair", "name": "x", "dataroot_gt": str(pairs / "HR"),
        "dataroot_lq": str(pairs / "LR"), "phase": "train", "scale": 2, "gt_size": 32,
    }  # fmt: skip
    by_name = build_dataset({**base, "filename_tmpl": "{}x2"})
    assert type(by_name) is RealESRGANPairedDataset
    meta = pairs / "meta.txt"
    meta.write_text("chelsea.png, cheseax2.png\n")
    with pytest.raises(PictureError, match="cheseax2.png: there is no such file"):
        build_dataset({**base, "meta_info": str(meta)})
    meta.write_text("chelsea.png\n")
    with pytest.raises(PictureError, match="'chelsea.png' does not name a pair: GT, LQ"):
        build_dataset({**base, "meta_info": str(meta)})
    meta.write_text("chelsea.png, chelseax2.png\n")
    by_list = build_dataset({**base, "meta_info": str(meta)})
    assert len(by_list) == 1
    read, expected = sample(by_list), sample(by_name, 1)
    for key in ("lq", "gt"):
        assert torch.equal(read[key], expected[key])
    assert read["lq"].shape == (3, 16, 16)
