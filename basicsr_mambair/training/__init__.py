"""The run: an option file and arguments become a training or a measurement by BasicSR's pipelines.

:mod:`~.arguments` defines the arguments of the command line, :mod:`~.preparation` turns options
into those of a run, :mod:`~.adapter` hands them to BasicSR's loop, and :mod:`~.hooks` replaces
BasicSR's loaders, checkpoints and resuming with this project's. Nothing is imported here: the
command line needs its arguments before it needs torch.
"""
