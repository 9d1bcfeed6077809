"""Between the pixels of a video, YCbCr, and those of a network, BGR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from mambair.imaging.pixels import Pixels

_UNSPECIFIED = 2  # of all the properties below, in ITU-T H.273
_BT709, _BT601 = 1, 6
_HD_HEIGHT = 720  # what says nothing is taken for BT.709 from here on, as players take it
# Bicubic chroma would ring at edges; the other flags avoid rounding errors.
_QUALITY = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
# Interpolates chroma between pixels. With 16 bits, ffmpeg 8's swscale returns wrong colors in every
# other line with it.
_QUALITY_OF_EIGHT_BITS = _QUALITY | Interpolation.FULL_CHR_H_INT
_MATRICES = {
    _BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    _BT601: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}


@dataclass(frozen=True)
class Colors:
    """How the pixels of a video are meant; the numbers are those of ITU-T H.273.

    Attributes:
        matrix: between RGB and YCbCr.
        primaries: of the display.
        transfer: the curve, gamma or one of HDR.
        full_range: whether black is 0 rather than 16.
        deep: whether there are more than 8 bits.
    """

    matrix: int
    primaries: int
    transfer: int
    full_range: bool
    deep: bool

    @classmethod
    def of(cls, frame: VideoFrame) -> Colors:
        """The colors of a decoded frame; what it does not say is as players take it."""
        matrix = int(frame.colorspace)
        if matrix not in _MATRICES:
            matrix = _BT709 if frame.height >= _HD_HEIGHT else _BT601
        primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
        return cls(
            matrix,
            matrix if primaries == _UNSPECIFIED else primaries,
            matrix if transfer == _UNSPECIFIED else transfer,
            int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj"),
            any(component.bits > 8 for component in frame.format.components),
        )

    @property
    def pixel_format(self) -> str:
        """The format that is encoded."""
        return "yuv420p10le" if self.deep else "yuv420p"

    @property
    def _array_format(self) -> str:
        return "bgr48le" if self.deep else "bgr24"

    @property
    def _quality(self) -> Interpolation:
        return _QUALITY if self.deep else _QUALITY_OF_EIGHT_BITS

    def pixels_of(self, frame: VideoFrame) -> Pixels:
        """The pixels of a decoded frame.

        Returns:
            BGR ``(H, W, 3)``, uint8, or uint16 if there are more bits; upright.
        """
        range_ = ColorRange.JPEG if self.full_range else ColorRange.MPEG
        bgr = frame.reformat(
            format=self._array_format,
            src_colorspace=_MATRICES[self.matrix],
            src_color_range=range_,
            interpolation=self._quality,
        )
        pixels: Pixels = bgr.to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, quarter_turns(frame)))

    def frame_of(self, pixels: Pixels) -> VideoFrame:
        """A frame to encode, of limited range.

        Args:
            pixels: BGR ``(H, W, 3)``, uint8 or uint16; an odd side is made even by repeating its
                last pixels, because 4:2:0 has a color for every two.
        """
        odd = [(0, side % 2) for side in pixels.shape[:2]]
        if odd != [(0, 0), (0, 0)]:
            pixels = np.pad(pixels, [*odd, (0, 0)], mode="edge")
        if self.deep and pixels.dtype == np.uint8:  # from GFPGAN
            pixels = pixels.astype(np.uint16) * 257
        frame = VideoFrame.from_ndarray(pixels, format=self._array_format)
        frame = frame.reformat(
            format=self.pixel_format,
            dst_colorspace=_MATRICES[self.matrix],
            dst_color_range=ColorRange.MPEG,
            interpolation=self._quality,
        )
        self._tag(frame)
        return frame

    def tag_encoder(self, context: Any) -> None:
        """Writes into an encoder how its pixels are meant."""
        self._tag(context)
        context.pix_fmt = self.pixel_format

    def _tag(self, target: Any) -> None:
        target.colorspace = self.matrix
        target.color_primaries = self.primaries
        target.color_trc = self.transfer
        target.color_range = int(ColorRange.MPEG)


def quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns counterclockwise that a frame needs to stand upright (telephones)."""
    return round(frame.rotation / 90) % 4
