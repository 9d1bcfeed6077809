"""From folders of pictures to data sets: low resolution, compression, crops, LMDB, and checks.

BasicSR is needed only where :mod:`~basicsr_mambair.prepare.check` meets data in an LMDB.
"""

from basicsr_mambair.prepare.crops import make_crops
from basicsr_mambair.prepare.degrade import make_jpeg, make_lr
from basicsr_mambair.prepare.jobs import Outcome, PrepareError
from basicsr_mambair.prepare.store import make_lmdb

__all__ = ["Outcome", "PrepareError", "make_crops", "make_jpeg", "make_lmdb", "make_lr"]
