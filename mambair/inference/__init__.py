"""From a checkpoint and a picture to a restored picture.

Nothing is imported here, so that finding weights or naming a tile needs no torch: the names below
are looked up in their modules when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mambair.inference.restorer import Restorer
    from mambair.inference.tiles import Tiling, parse_tile, run_tiled

__all__ = ["Restorer", "Tiling", "parse_tile", "run_tiled"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "restorer" if name == "Restorer" else "tiles"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
