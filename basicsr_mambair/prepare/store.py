"""Writes a folder of pictures as an LMDB in the layout that BasicSR's datasets read."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import cv2
import lmdb
from PIL import Image

from basicsr_mambair.prepare.jobs import (
    Outcome,
    Output,
    PrepareError,
    describe,
    map_in_parallel,
)
from mambair.imaging import png
from mambair.imaging.errors import PictureError
from mambair.imaging.listing import list_pictures
from mambair.imaging.reading import read_header, read_image
from mambair.imaging.writing import write_bytes

_LEVEL = 1  # PNG compression level: larger files that decode fast
_FIRST_MAP = 1 << 28  # bytes; the map doubles when it is full
_BATCH = 64 << 20  # bytes in a transaction: the most that a killed run loses
_LONGEST_KEY = 511  # bytes; LMDB's default
_META = "meta_info.txt"
_TIMES = ".prepare_times.json"


def make_lmdb(
    source: str | os.PathLike[str], output: str | os.PathLike[str], workers: int | None = None
) -> Outcome:
    """Writes every picture as PNG under its name without extension, and ``meta_info.txt``.

    A run that follows a killed one writes only pictures that are missing or have changed; entries
    whose picture no longer exists are removed. ``meta_info.txt`` is written last: a dataset refuses
    a folder without it.

    Args:
        source: folder of pictures.
        output: the folder; its name ends in ``.lmdb``.
        workers: threads that decode and encode; all cores by default.

    Raises:
        PictureError: there is no such folder, or no picture in it.
        PrepareError: the name does not end in ``.lmdb``, two pictures have the same key, or the
            folder holds the database of another program.
    """
    folder = Path(output)
    if folder.suffix != ".lmdb":
        raise PrepareError(f"{folder}: the name of an LMDB folder must end in .lmdb")
    pictures: dict[str, Path] = {}
    for path in list_pictures(source, keep_unreadable=True):
        _check_key(path)
        if path.stem in pictures:
            raise PrepareError(f"{path} and {pictures[path.stem]} would have the same key")
        pictures[path.stem] = path
    target = Output(folder, next(iter(pictures.values())).parent, {"command": "lmdb"})
    if target.is_new and (folder / "data.mdb").exists():
        raise PrepareError(f"{folder}: holds a database of another program; choose another output")
    with target.claimed():
        return _fill(folder, pictures, workers)


def _check_key(path: Path) -> None:
    """Refuses a name that is no key, or no line of ``meta_info.txt``."""
    try:
        key = path.stem.encode()
    except UnicodeEncodeError:
        key = b""
    if not key or len(key) > _LONGEST_KEY or len(path.stem.splitlines()) > 1:
        raise PrepareError(
            f"{path}: this name cannot be a key of an LMDB (bytes that are no text, a line break, "
            f"or more than {_LONGEST_KEY} bytes); rename the picture"
        )


def _fill(folder: Path, pictures: dict[str, Path], workers: int | None) -> Outcome:
    outcome = Outcome(folder)
    (folder / _META).unlink(missing_ok=True)
    with lmdb.open(str(folder), map_size=_FIRST_MAP) as database:
        if database.info()["map_size"] < _used(database) + _BATCH:
            database.set_mapsize(2 * _used(database) + _BATCH)
        with database.begin() as transaction:
            present = {bytes(key).decode() for key in transaction.cursor().iternext(values=False)}
        known = _read_times(folder)
        done = {
            key
            for key in present & set(pictures)
            if key in known and known[key] == _time(pictures[key])
        }
        _remove_others(database, present - set(pictures))
        times = {key: known[key] for key in done}
        pending = [path for key, path in pictures.items() if key not in done]
        outcome.kept = len(done)
        batch: list[tuple[bytes, bytes]] = []

        def put() -> None:
            _put(database, batch)
            _write_times(folder, times)
            batch.clear()

        def read(path: Path) -> tuple[bytes, bool]:
            return _encode(path), read_header(path).has_more

        for result in map_in_parallel(read, pending, folder.name, workers):
            if result.error is not None:
                outcome.failures.append(describe(result.error, result.item))
                continue
            assert result.value is not None
            time = _time(result.item)
            if time is None:
                outcome.failures.append(f"{result.item}: vanished while it was read")
                continue
            content, has_more = result.value
            if has_more:
                outcome.first_alone.append(result.item)
            batch.append((result.item.stem.encode(), content))
            times[result.item.stem] = time
            outcome.made += 1
            if sum(len(content) for _, content in batch) >= _BATCH:
                put()
        put()
        if not outcome.failures:
            write_bytes(_meta_info(database).encode(), folder / _META)
    return outcome


def _time(path: Path) -> int | None:
    """When a picture was last changed; ``None`` if it cannot be told."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _read_times(folder: Path) -> dict[str, int]:
    """Returns the modification times of the pictures when their entries were written."""
    try:
        return dict(json.loads((folder / _TIMES).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def _write_times(folder: Path, times: dict[str, int]) -> None:
    write_bytes(json.dumps(times).encode(), folder / _TIMES)


def _encode(path: Path) -> bytes:
    image = read_image(path)
    if image.ndim == 3 and image.shape[2] == 2:
        return png.encode_gray_alpha(image)
    ok, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, _LEVEL])
    if not ok:
        raise PictureError(f"{path}: OpenCV could not encode {image.shape} as PNG")
    return encoded.tobytes()


def _used(database: lmdb.Environment) -> int:
    return (database.info()["last_pgno"] + 1) * database.stat()["psize"]


def _put(database: lmdb.Environment, batch: list[tuple[bytes, bytes]]) -> None:
    """Writes entries in one transaction: if the process dies, none is written."""
    while True:
        try:
            with database.begin(write=True) as transaction:
                for key, content in batch:
                    transaction.put(key, content)
            return
        except lmdb.MapFullError:
            database.set_mapsize(2 * database.info()["map_size"])


def _remove_others(database: lmdb.Environment, keys: set[str]) -> None:
    """Removes entries of an earlier run whose picture no longer exists."""
    with database.begin(write=True) as transaction:
        for key in keys:
            transaction.delete(key.encode())


def _meta_info(database: lmdb.Environment) -> str:
    """Returns one line for each entry: name, (height,width,channels), compression level."""
    lines = []
    with database.begin() as transaction:
        for key, content in transaction.cursor():
            with Image.open(io.BytesIO(content)) as picture:  # reads the header alone
                width, height = picture.size
                channels = len(picture.getbands())
            lines.append(f"{key.decode()}.png ({height},{width},{channels}) {_LEVEL}\n")
    return "".join(lines)
