"""From a checkpoint and a picture to a restored picture."""

from basicsr_mambair.inference.restorer import Restorer
from basicsr_mambair.inference.tiles import Tiling, parse_tile, run_tiled

__all__ = ["Restorer", "Tiling", "parse_tile", "run_tiled"]
