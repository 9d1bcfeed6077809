"""Hidden color, which must not reach pixels that are seen, and alpha where a format has none."""

from __future__ import annotations

import cv2
import numpy as np

from mambair.imaging.pixels import Pixels


def cover_hidden(image: Pixels) -> Pixels:
    """Gives every pixel of alpha 0 the color of the nearest one that is seen.

    Programs leave any color there, usually black. Whatever looks at a neighborhood (a network, an
    interpolation) would mix it into the edge of what is seen: a dark fringe.

    Args:
        image: ``(H, W, 2)`` gray and alpha or ``(H, W, 4)`` color and alpha; uint8, uint16, float.

    Returns:
        The same, with the same alpha. A picture of which nothing is seen stays as it is.
    """
    hidden = image[..., -1] <= 0
    if not hidden.any() or hidden.all():
        return image
    # Labels count the zeros (what is seen) in the order of numpy's nonzero().
    _, labels = cv2.distanceTransformWithLabels(
        hidden.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(~hidden)
    order = np.empty(int(labels.max()) + 1, np.int64)
    order[labels[rows, columns]] = np.arange(len(rows))
    nearest = order[labels[hidden]]
    covered: Pixels = image.copy()
    covered[hidden, :-1] = image[rows[nearest], columns[nearest], :-1]
    return covered


def lay_on_white(image: Pixels) -> Pixels:
    """A picture without its alpha, as it looks on a white page.

    Args:
        image: uint8 or uint16 ``(H, W, 2)`` or ``(H, W, 4)``, alpha last.

    Returns:
        ``(H, W)`` or ``(H, W, 3)``.
    """
    top = float(np.iinfo(image.dtype).max)
    alpha = image[..., -1:].astype(np.float32) / np.float32(top)
    laid = np.float32(top) + alpha * (image[..., :-1].astype(np.float32) - np.float32(top))
    result: Pixels = np.rint(laid).clip(0, top).astype(image.dtype)
    gray: Pixels = result[..., 0]
    return gray if result.shape[2] == 1 else result
