"""``python -m realesrgan_compat`` is ``realesrgan-mambair``: pictures."""

from __future__ import annotations

from realesrgan_compat.cli.pictures import run

if __name__ == "__main__":
    run()
