"""Writes the four pictures of docs/photographs.md from pictures that scikit-image bundles.

    python docs/images/photographs/make_inputs.py

None of them goes through the pipeline that the networks were trained with.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")


def main() -> None:
    thumbnail().save(HERE / "thumbnail.jpg", quality=45)
    night().save(HERE / "night.jpg", quality=80)
    screenshot().save(HERE / "screenshot.jpg", quality=70)
    scan().save(HERE / "scan.jpg", quality=60)


def thumbnail() -> Image.Image:
    """A portrait, as a web page keeps it."""
    return Image.fromarray(skimage.data.astronaut()).resize((192, 192), Image.Resampling.BICUBIC)


def night() -> Image.Image:
    """A dark scene: noise that grows with the light, and some that does not."""
    rng = np.random.default_rng(0)
    dark = skimage.data.rocket()[:320, 160:480].astype(np.float64) / 255
    linear = (0.6 * dark) ** 2.2
    noisy = rng.poisson(linear * 400) / 400 + rng.normal(0, 0.004, linear.shape)
    return Image.fromarray((255 * noisy.clip(0, 1) ** (1 / 2.2)).round().astype(np.uint8))


def screenshot() -> Image.Image:
    """Text, lines and a photograph, as a messenger sends them on."""
    page = Image.new("RGB", (360, 240), "#f4f5f7")
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 360, 30), fill="#24476b")
    draw.text((12, 7), "Inbox (3)", fill="white", font=ImageFont.truetype(FONT, 13))
    small = ImageFont.truetype(FONT, 11)
    for row, text in enumerate(("Photographs of Sunday", "Your order has left", "Minutes, 4 May")):
        top = 42 + 34 * row
        draw.rectangle((10, top, 210, top + 28), fill="white", outline="#c6ccd4")
        draw.text((20, top + 7), text, fill="#20242a", font=small)
    coffee = Image.fromarray(skimage.data.coffee()).resize((130, 87), Image.Resampling.BICUBIC)
    page.paste(coffee, (220, 42))
    draw.text((12, 160), "The quick brown fox jumps over the lazy dog.", fill="black", font=small)
    draw.text((12, 180), "0123456789 (+49) 30 555-0147", fill="#a03030", font=small)
    return page


def scan() -> Image.Image:
    """A printed page."""
    return Image.fromarray(skimage.data.page())


if __name__ == "__main__":
    main()
