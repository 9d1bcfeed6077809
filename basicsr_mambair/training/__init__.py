"""The run: an option file and arguments become a training or a measurement by BasicSR's pipelines.

:mod:`~.arguments` holds what the command line takes, :mod:`~.preparation` turns options into those
of a run, :mod:`~.adapter` hands them to BasicSR's loop, and :mod:`~.hooks` puts this project's
loaders, checkpoints and resuming in the place of BasicSR's. Nothing is imported here: the command
line asks for its arguments before torch is needed.
"""
