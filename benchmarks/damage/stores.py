"""Data sets in one file: LMDBs, and MATLAB's files of SIDD and DND."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from benchmarks.damage.child import Child, Verdict, count
from benchmarks.damage.damaged_bytes import Damage, apply_all, draw
from benchmarks.damage.entries import write_picture
from benchmarks.damage.outcome import Outcome

QUICK, FULL = 40, 1_500
#: By what they are: the file in its folder that is damaged.
STORES = {
    "lmdb": "a.lmdb/data.mdb",
    "meta_info.txt": "a.lmdb/meta_info.txt",
    "SIDD, version 5": "ValidationNoisyBlocksSrgb.mat",
    "SIDD, version 7.3": "ValidationNoisyBlocksSrgb.mat",
    "DND, version 5": "images_srgb/0001.mat",
    "DND, version 7.3": "images_srgb/0001.mat",
    "DND's boxes, version 5": "info.mat",
    "DND's boxes, version 7.3": "info.mat",
}


def whole_store(name: str, folder: Path) -> Path:
    """Writes an undamaged store of one of the kinds in :data:`STORES`; returns its folder."""
    from basicsr_mambair.prepare import make_lmdb
    from tests.matlab_files import dnd, sidd_pair

    place = folder / name.replace(" ", "_").replace("'", "")
    if name in ("lmdb", "meta_info.txt"):
        for number in range(12):
            write_picture(place / "HR" / f"{number:02d}.png", 40 + number, 40)
        make_lmdb(place / "HR", place / "a.lmdb", 1)
    elif name.startswith("SIDD"):
        sidd_pair(place, name.rpartition(" ")[2], (1, 2, 16, 24, 3))
    else:
        dnd(place, name.rpartition(" ")[2])
    return place


def _section(name: str, place: str) -> dict[str, Any]:
    if name in ("lmdb", "meta_info.txt"):
        roots = dict.fromkeys(("dataroot_gt", "dataroot_lq"), f"{place}/a.lmdb")
        return {"type": "MambaIRPairedDataset", "io_backend": {"type": "lmdb"}, **roots}
    if name.startswith("SIDD"):
        return {"type": "SIDDBlocksDataset", "dataroot_lq": f"{place}/{STORES[name]}"}
    return {"type": "DNDDataset", "dataroot_lq": place}


def read(name: str, place: str) -> None:
    """Reads all of a store: what loading an option file checks, then every sample."""
    from basicsr.data import build_dataset
    from basicsr.utils.registry import DATASET_REGISTRY

    from basicsr_mambair.data import stores
    from basicsr_mambair.lmdb_check import check_lmdb
    from basicsr_mambair.training.loaders import SeededDataset
    from mambair.errors import UserError

    section = {**_section(name, place), "name": "store", "phase": "test", "scale": 1}
    if "dataroot_gt" in section:
        stores._client.cache_clear()  # an LMDB of that name has been opened before
        check_lmdb(section["dataroot_gt"])
    else:
        DATASET_REGISTRY.get(section["type"]).check_files(section)
    dataset = SeededDataset(build_dataset(section), 1, by_index=True)
    wrong = None
    for index in range(len(dataset)):
        try:
            dataset[index]
        except UserError as error:
            wrong = error
    if wrong is not None:
        raise wrong


def damage(
    child: Child, name: str, whole: Path, damages: list[Damage], other: bytes = b""
) -> Verdict:
    """Damages a copy of a store, and reads it in a process of its own."""
    place = whole.with_name(f"{whole.name}_damaged")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    path = place / STORES[name]
    path.write_bytes(apply_all(damages, path.read_bytes(), other * 2**10))
    # A part of the store is named: the file, or what a data set calls its entries.
    return child.run(read, name, str(place), names=place.name)


def provoke(budget: int, seed: int, folder: Path) -> list[Outcome]:
    """See :class:`benchmarks.damage.outcome.Provoke`."""
    rng = random.Random(seed)
    outcomes = []
    with Child(120) as child:
        for name in STORES:
            whole = whole_store(name, folder)
            outcomes.append(Outcome(f"{name} with bytes cut, changed, lost or doubled"))
            for _ in range(max(1, budget // len(STORES))):
                damages = draw(rng)
                verdict = damage(child, name, whole, damages, b"\xff\0PK")
                count(outcomes[-1], verdict, str(damages))
    return outcomes
