"""Repairs that BasicSR 1.4.2 needs to run on today's torch, torchvision, numpy and OpenCV.

The files of an installed BasicSR never change: repairs replace attributes of its loaded modules.
Every repair is one function under :func:`~.repair.repair`, which names the fault and the public
thread about it, first checks whether it is needed, and has a test that fails without it. Repairs
that replace a part of BasicSR's training run are declared in :mod:`basicsr_mambair.training`.
"""

from __future__ import annotations

from basicsr_mambair.repairs.repair import Repair, apply_import_repairs, apply_repairs, repairs

__all__ = ["Repair", "apply_import_repairs", "apply_repairs", "repairs"]
