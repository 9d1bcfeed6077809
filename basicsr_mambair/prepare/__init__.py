"""Makes data sets of pictures (low resolution, JPEG, crops, LMDB, SIDD), and checks them.

BasicSR is needed only when :mod:`~basicsr_mambair.prepare.check` reads
data from an LMDB or from MATLAB's files.
"""

from basicsr_mambair.prepare.crops import make_crops
from basicsr_mambair.prepare.degrade import make_jpeg, make_lr
from basicsr_mambair.prepare.jobs import Outcome, PrepareError
from basicsr_mambair.prepare.sidd import make_sidd_blocks, make_sidd_crops
from basicsr_mambair.prepare.store import make_lmdb

__all__ = [
    "Outcome",
    "PrepareError",
    "make_crops",
    "make_jpeg",
    "make_lmdb",
    "make_lr",
    "make_sidd_blocks",
    "make_sidd_crops",
]
