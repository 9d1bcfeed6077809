"""Measurements of option files, and tables, pages and plots of them beside published figures."""

from basicsr_mambair.report.measurement import (
    Measurement,
    MeasurementError,
    Plan,
    Variant,
    measure,
    plan,
    read,
)
from basicsr_mambair.report.write import write_report

__all__ = [
    "Measurement",
    "MeasurementError",
    "Plan",
    "Variant",
    "measure",
    "plan",
    "read",
    "write_report",
]
