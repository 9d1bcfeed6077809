"""The run: an option file and arguments become a training or a measurement by BasicSR's pipelines.

:mod:`~.arguments` defines the arguments of the command line, :mod:`~.preparation` turns options
into those of a run, :mod:`~.pipeline` builds what they name, and :mod:`~.loop` trains. How a run
can be stopped anywhere is in :mod:`~.sampling`, :mod:`~.loaders`, :mod:`~.resuming` and
:mod:`~.writing`. :mod:`~.hooks` replaces BasicSR's loop, loaders and checkpoints with them, and
:mod:`~.adapter` hands options to BasicSR's measuring. Nothing is imported here: the
command line needs its arguments before it needs torch.
"""
