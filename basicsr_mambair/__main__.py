"""The ``basicsr`` command; ``python -m basicsr_mambair`` is the same."""

from __future__ import annotations

import sys


def run() -> None:
    """Runs the command line of this process; Ctrl-C ends it with status 130 from here on."""
    try:
        from basicsr_mambair.cli.main import main

        main(prog_name="basicsr")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
