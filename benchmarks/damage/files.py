"""Damaged pictures, and everything that reads pictures."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damage.child import Child, count
from benchmarks.damage.damaged_bytes import apply_all, draw
from benchmarks.damage.outcome import Outcome
from mambair.imaging.encoding import Timing
from mambair.imaging.formats import FORMATS
from mambair.imaging.metadata import GPS_IFD, Metadata
from mambair.imaging.picture_file import PictureFile, write_picture_file

QUICK, FULL = 200, 20_000
SIDE = 24


def whole_files(folder: Path) -> dict[str, Path]:
    """Writes a file of every format that is read, and of its rarer kinds, by what they are."""
    from PIL import Image, ImageCms

    rng = np.random.default_rng(1)
    ramp = np.indices((SIDE, SIDE)).sum(0) * 5
    color = np.clip(ramp[..., None] + rng.integers(-9, 9, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    deep, alpha = color.astype(np.uint16) * 257, color[..., :1]
    about = Metadata(
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        exif={0x010E: "a cup", GPS_IFD: {1: "N", 2: (47.0, 22.0, 30.5)}},
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
        iptc=b"\x1c\x02\x78\x00\x05a cup",
        dpi=(300.0, 300.0),
    )
    files = {
        form.name: (form.extensions[0], [color], about) for form in FORMATS if form.is_available
    }
    files |= {
        "png of 16 bits": (".png", [deep], about),
        "png with alpha": (".png", [np.dstack([color, alpha])], about),
        "animated png": (".png", [color, color[::-1].copy()], Metadata()),
        "animated gif": (".gif", [color, color[::-1].copy()], Metadata()),
        "tif of 16 bits": (".tif", [deep, np.dstack([deep, deep[..., :1]]), color], about),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, (extension, frames, metadata) in files.items():
        paths[name] = folder / f"{name.replace(' ', '_')}{extension}"
        is_animation = len(frames) > 1 and extension != ".tif"
        timing = Timing((90.0,) * len(frames)) if is_animation else None
        write_picture_file(PictureFile(list(frames), metadata, timing), paths[name])
    picture = Image.fromarray(color)
    for name, file, changed, how in (
        ("png with a palette", "palette.png", picture.convert("P"), {"transparency": 3}),
        ("png of 1 bit", "bilevel.png", picture.convert("1"), {}),
        ("progressive jpg", "progressive.jpg", picture, {"progressive": True}),
        ("gray jpg", "gray.jpg", picture.convert("L"), {}),
        ("jpg in CMYK", "cmyk.jpg", picture.convert("CMYK"), {}),
        ("bmp with a palette", "palette.bmp", picture.convert("P"), {}),
        ("tif in LZW", "lzw.tif", picture, {"compression": "tiff_lzw"}),
        ("tif of 1 bit", "bilevel.tif", picture.convert("1"), {"compression": "group4"}),
    ):
        paths[name] = folder / file
        changed.save(paths[name], **how)
    return paths


def _read_header(path: str) -> None:
    from mambair.imaging.reading import picture_size, read_header

    read_header(path)
    picture_size(path)


def _read_image(path: str) -> None:
    from mambair.imaging.reading import read_image

    read_image(path)


def _read_for_training(path: str) -> None:
    from mambair.imaging.reading import decode_picture, read_file

    for gray in (False, True):
        decode_picture(read_file(path), path, gray=gray)


@cache
def _restorer() -> Any:
    from mambair.archs.registry import build_network
    from mambair.inference.restorer import Restorer
    from tests.conftest import tiny_network

    return Restorer(build_network(tiny_network()).eval())


def _restore(path: str) -> None:
    from mambair.inference.file_to_file import restore_file

    restore_file(_restorer(), Path(path), Path(path).parents[1] / "restored" / Path(path).name)


def _dataset(path: str, *, phases: tuple[str, ...] = ("train", "val"), **section: object) -> None:
    """Reads the picture as a data set's only one, as a training does and as a validation does."""
    from basicsr.data import build_dataset

    from basicsr_mambair.training.loaders import SeededDataset
    from basicsr_mambair.training.sampling import Place

    folder = str(Path(path).parent)
    shared = {"name": "damaged", "scale": 1, "io_backend": {"type": "disk"}, "dataroot_gt": folder}
    for phase in phases:
        opt = {**shared, **section, "phase": phase, "gt_size": 8, "use_hflip": True}
        opt = {key: folder if value == "SAME" else value for key, value in opt.items()}
        dataset = SeededDataset(build_dataset({**opt, "use_rot": True}), 1, by_index=phase == "val")
        dataset[Place(0, 0) if phase == "train" else 0]


def _degraded(path: str) -> None:
    _dataset(path, type="DegradedImageDataset", degradation={"type": "gaussian_noise", "sigma": 5})


def _paired(path: str) -> None:
    _dataset(path, type="MambaIRPairedDataset", dataroot_lq="SAME")


def _pair_of_basicsr(path: str) -> None:
    _dataset(path, type="PairedImageDataset", dataroot_lq="SAME")


def _realesrgan(path: str) -> None:
    _dataset(path, phases=("train",), type="RealESRGANDataset_mambair", crop_size=16)


def _realesrgan_pair(path: str) -> None:
    _dataset(path, type="RealESRGANPairedDataset_mambair", dataroot_lq="SAME")


#: Everything that reads a picture, by the name of what it is.
READERS: dict[str, Callable[[str], None]] = {
    "header": _read_header,
    "image": _read_image,
    "training": _read_for_training,
    "restore": _restore,
    "DegradedImageDataset": _degraded,
    "MambaIRPairedDataset": _paired,
    "PairedImageDataset": _pair_of_basicsr,
    "RealESRGANDataset": _realesrgan,
    "RealESRGANPairedDataset": _realesrgan_pair,
}


def alone(folder: Path, name: str, content: bytes) -> Path:
    """Writes a file that is the only one in its folder."""
    shutil.rmtree(folder / "alone", ignore_errors=True)
    (folder / "alone").mkdir(parents=True)
    (folder / "alone" / name).write_bytes(content)
    return folder / "alone" / name


def read_everywhere(child: Child, path: Path) -> dict[str, Any]:
    """What comes of a picture in everything that reads one."""
    return {name: child.run(read, str(path), names=path.name) for name, read in READERS.items()}


def provoke(budget: int, seed: int, folder: Path) -> list[Outcome]:
    """See :class:`benchmarks.damage.outcome.Provoke`."""
    rng = random.Random(seed)
    paths = whole_files(folder / "whole")
    whole = {name: path.read_bytes() for name, path in paths.items()}
    outcome = Outcome("pictures with bytes cut, changed, lost, doubled or of another file")
    names = list(whole)
    with Child() as child:
        while outcome.tried < budget:
            name, other = rng.choice(names), rng.choice(names)
            damages = draw(rng)
            content = apply_all(damages, whole[name], whole[other])
            # Sometimes the name is another format's, as of a file that was renamed.
            extension = paths[other if rng.random() < 0.1 else name].suffix
            path = alone(folder, f"picture{extension}", content)
            for reader, verdict in read_everywhere(child, path).items():
                count(outcome, verdict, f"{name}, {reader}, {damages}")
    return [outcome]
