"""From a checkpoint and a picture to a restored picture."""

from mambair.inference.restorer import Restorer
from mambair.inference.tiles import Tiling, parse_tile, run_tiled

__all__ = ["Restorer", "Tiling", "parse_tile", "run_tiled"]
