"""The ``basicsr`` command: one sub-command a file. Only this folder reads the command line."""

from basicsr_mambair.cli.main import main

__all__ = ["main"]
