"""Which files a dataset reads, and a digest that tells whether two runs had the same."""

from __future__ import annotations

import hashlib
import os
from typing import Any


def listed_files(dataset: Any, index: int) -> list[str] | None:
    """The files of LQ and GT of a sample, or their keys in an LMDB.

    Args:
        dataset: a dataset of BasicSR or of this package.
        index: number of the sample.

    Returns:
        Two names, the same twice where there is one file; ``None`` if the dataset does not list
        its files.
    """
    if hasattr(dataset, "pairs"):
        pair = dataset.pairs[index]
        return [pair.lq or pair.gt, pair.gt]
    paths = getattr(dataset, "paths", None)
    if paths is None:
        return None
    entry = paths[index]
    if isinstance(entry, dict):
        return [str(entry.get("lq_path") or entry["gt_path"]), str(entry.get("gt_path"))]
    return [str(entry), str(entry)]


def fingerprint(dataset: Any) -> dict[str, Any]:
    """The number of samples of a dataset, and a digest of the names and sizes of their files.

    Names are relative to the folder that holds all of them, so that the digest is the same
    wherever the pictures are. Of pictures in an LMDB the size of the whole file counts.

    Returns:
        ``samples`` and ``digest``; the digest is ``None`` if the dataset does not list its files.
    """
    samples = len(dataset)
    files: set[str] = set()
    for index in range(samples):
        listed = listed_files(dataset, index)
        if listed is None:
            return {"samples": samples, "digest": None}
        files.update(listed)
    digest = hashlib.blake2b(digest_size=16)
    for name, path in sorted((_relative(files) | _databases(dataset)).items()):
        digest.update(f"{name}\0{_size(path)}\n".encode(errors="replace"))
    return {"samples": samples, "digest": f"blake2b:{digest.hexdigest()}"}


def _relative(files: set[str]) -> dict[str, str]:
    """The files by their names within the folder that holds all of them."""
    try:
        shared = os.path.commonpath([os.path.dirname(each) for each in files])
    except ValueError:  # there are none, or they are on several drives
        shared = ""
    return {os.path.relpath(each, shared) if shared else each: each for each in files}


def _databases(dataset: Any) -> dict[str, str]:
    """The files of the LMDBs that a dataset reads, of which the keys do not tell the size."""
    section = getattr(dataset, "opt", None) or {}
    roots = [root for key, root in section.items() if key.startswith("dataroot")]
    folders = [each for each in roots if isinstance(each, str) and each.endswith(".lmdb")]
    return {f"{os.path.basename(each)}/data.mdb": f"{each}/data.mdb" for each in folders}


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:  # a key of an LMDB
        return None
