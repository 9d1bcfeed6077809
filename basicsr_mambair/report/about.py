"""What the figures of a measurement depend on: network, weights, data, and what it costs."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from basicsr_mambair.report.records import Variant
from mambair._version import __version__
from mambair.complexity import measure_network
from mambair.inference.tiles import parse_tile

_OUTPUT = (720, 1280)  # of the picture whose MACs are counted, as published


def about_measurement(options: dict[str, Any], path: Path, variant: Variant) -> dict[str, Any]:
    """What is written at the head of a measurement.

    Args:
        options: the checked options.
        path: the option file.
        variant: deviations from it.
    """
    from basicsr_mambair.models.options import RestorationVal  # imports BasicSR

    scale = int(options.get("scale", 1))
    section = options["network_g"]
    cost = count_cost(section, scale)
    weights = Path(options["path"]["pretrain_network_g"])
    device = "cpu" if options["num_gpu"] == 0 else torch.cuda.get_device_name()
    tile = options["val"].get("tile", RestorationVal.tile)
    # Absent where 8 bits are measured, so that measurements from before the key stay valid.
    floats = {} if options["val"].get("use_image", True) else {"use_image": False}
    tiling = parse_tile(tile, options["val"].get("tile_overlap"))
    # Likewise.
    overlap = {"tile_overlap": tiling.overlap} if tiling != parse_tile(tile) else {}
    return {
        "name": options["name"],
        "option_file": os.fspath(path),
        "published": options.get("published") or {},
        "scale": scale,
        "network": section,
        "weights": os.fspath(weights),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        **cost,
        "variant": asdict(variant),
        "tile": tile or "none",
        **overlap,
        "metrics": options["val"]["metrics"],
        **floats,
        "datasets": {key: _plain(each) for key, each in options["datasets"].items()},
        "device": f"{device}, {torch.get_num_threads()} threads" if device == "cpu" else device,
        "machine": platform.processor() or platform.machine(),
        "versions": {"basicsr-mambair": __version__, "torch": str(torch.__version__)},
    }


def count_cost(section: dict[str, Any], scale: int) -> dict[str, int | None]:
    """Counts parameters and MACs for an output of 1280×720.

    Args:
        section: ``network_g``.
        scale: of the network.

    Returns:
        ``parameters``, ``macs``, and ``published_macs``, counted as the papers do; ``None`` for a
        network that needs values to be built.
    """
    try:
        cost = measure_network(section, *(side // scale for side in _OUTPUT))
    except (RuntimeError, NotImplementedError):
        return dict.fromkeys(("parameters", "macs", "published_macs"))
    return {
        "parameters": cost.parameters,
        "macs": cost.total_macs,
        "published_macs": cost.published_macs,
    }


def essence_of(about: dict[str, Any]) -> dict[str, Any]:
    """Everything that the figures depend on: neither paths of files nor numbers of pictures."""
    return {k: v for k, v in about.items() if k not in ("option_file", "weights", "counts")}


def _plain(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in ("phase", "scale")}
