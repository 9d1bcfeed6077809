"""Numerical operators: nothing here depends on networks, data or option files."""

from mambair.ops.selective_scan import selective_scan, selective_scan_tokens

__all__ = ["selective_scan", "selective_scan_tokens"]
