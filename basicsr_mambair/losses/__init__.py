"""Losses that BasicSR lacks, one a file, under the names that option files use."""

import basicsr  # noqa: F401  (activates the plugin before anything here is imported)
