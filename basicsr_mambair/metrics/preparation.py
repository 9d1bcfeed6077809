"""Preparation common to all metrics: checks, channel order, borders."""

from __future__ import annotations

from basicsr.metrics.metric_util import reorder_image, to_y_channel

from mambair.imaging.pixels import Pixels


def comparable(
    metric: str,
    img: Pixels,
    img2: Pixels,
    crop_border: int,
    input_order: str,
    test_y_channel: bool = False,
) -> tuple[Pixels, Pixels]:
    """Brings two pictures to ``(H, W, C)`` and cuts off their borders; values are kept.

    Args:
        metric: name of the metric, for messages.
        img: restored picture, [0, 255], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``; BGR if C is 3.
        img2: ground truth of the same shape.
        crop_border: pixels cut off at every edge.
        input_order: ``"HWC"`` or ``"CHW"``.
        test_y_channel: convert to the luma of YCbCr first.

    Raises:
        ValueError: shapes that differ, or an unknown order.
    """
    if img.shape != img2.shape:
        raise ValueError(f"{metric}: shapes differ: {img.shape} and {img2.shape}")
    if input_order not in ("HWC", "CHW"):
        raise ValueError(f"{metric}: input_order must be HWC or CHW, got {input_order!r}")
    pictures = []
    for picture in (img, img2):
        picture = reorder_image(picture, input_order=input_order)
        if crop_border:
            picture = picture[crop_border:-crop_border, crop_border:-crop_border]
        pictures.append(to_y_channel(picture) if test_y_channel else picture)
    return pictures[0], pictures[1]
