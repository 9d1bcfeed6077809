"""``python -m basicsr_mambair`` is the ``basicsr`` command."""

from basicsr_mambair.cli import main

if __name__ == "__main__":
    main(prog_name="basicsr")
