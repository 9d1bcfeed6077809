"""From folders of pictures to data sets: low resolution, compression, crops, LMDB, and checks."""

from basicsr_mambair.prepare.check import check_option_file
from basicsr_mambair.prepare.crops import make_crops
from basicsr_mambair.prepare.degrade import make_jpeg, make_lr
from basicsr_mambair.prepare.jobs import Outcome, PrepareError
from basicsr_mambair.prepare.store import make_lmdb

__all__ = [
    "Outcome",
    "PrepareError",
    "check_option_file",
    "make_crops",
    "make_jpeg",
    "make_lmdb",
    "make_lr",
]
