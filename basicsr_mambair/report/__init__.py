"""Measurements of option files, and tables, pages and plots of them beside published figures."""

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
    "measure",
    "plan",
    "read",
    "write_report",
]
