"""How a command ends that Ctrl-C stopped."""

from __future__ import annotations

import click


class Interrupted(click.ClickException):
    """Ends a command with a message and the exit status of a process that SIGINT ended."""

    exit_code = 130
