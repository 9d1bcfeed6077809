"""Measures option files, and reports the figures beside published ones."""

from basicsr_mambair.report.comparison import compare
from basicsr_mambair.report.evaluation import Plan, measure, plan
from basicsr_mambair.report.records import (
    Measurement,
    MeasurementError,
    Variant,
    read,
)
from basicsr_mambair.report.write import write_report

__all__ = [
    "Measurement",
    "MeasurementError",
    "Plan",
    "Variant",
    "compare",
    "measure",
    "plan",
    "read",
    "write_report",
]
