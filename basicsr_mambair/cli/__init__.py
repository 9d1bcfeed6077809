"""The ``basicsr`` command: one file for each sub-command. Only this folder parses it."""

from basicsr_mambair.cli.main import main

__all__ = ["main"]
