"""The folder of a run: what the run writes about itself, and what is read from it later.

:mod:`~.metrics` keeps the figures, :mod:`~.resources` measures what the process uses. Nothing is
imported here: reading a folder needs neither torch nor BasicSR.
"""
