"""Measurements of option files, and tables, pages and plots of them beside published figures."""

from basicsr_mambair.report.measurement import Measurement, MeasurementError, Variant, measure, read
from basicsr_mambair.report.write import write_report

__all__ = ["Measurement", "MeasurementError", "Variant", "measure", "read", "write_report"]
