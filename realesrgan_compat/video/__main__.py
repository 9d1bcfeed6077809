"""``python -m realesrgan_compat.video`` is ``realesrgan-mambair-video``."""

from __future__ import annotations

from realesrgan_compat.cli.videos import run

if __name__ == "__main__":
    run()
