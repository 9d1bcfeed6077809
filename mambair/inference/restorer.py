"""Restores pictures of any depth and colour with a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mambair.imaging.pixels import Pixels
from mambair.inference.ensemble import self_ensemble
from mambair.inference.tiles import Tiling, run_tiled
from mambair.inference.weights import load_network


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        ValueError: there is no such device here; says why.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"{name}: {str(error).splitlines()[0]}") from error
    return device


class Restorer:
    """A network and what is needed to apply it to pictures as they come.

    Args:
        net: a restoration network with ``in_chans`` and ``upscale``.
        device: where to run it.
        tiling: how to cut large pictures.
        self_ensemble: average over the eight orientations of a picture.
    """

    def __init__(
        self,
        net: nn.Module,
        device: torch.device | str = "cpu",
        tiling: Tiling = Tiling("blend", 256, 32),  # noqa: B008  (immutable)
        self_ensemble: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.net = net.to(self.device).eval()
        self.tiling = tiling
        self.self_ensemble = self_ensemble
        self.scale = cast(int, net.upscale)
        self.channels = cast(int, net.in_chans)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], **arguments: Any) -> Restorer:
        """A restorer with the network of a weights file; other arguments as of the class.

        Raises:
            CheckpointError: see :func:`load_network`.
        """
        net, _ = load_network(path)
        return cls(net, **arguments)

    def __call__(self, image: Pixels, progress: Callable[[float], None] | None = None) -> Pixels:
        """Restores one picture.

        A gray picture stays gray: a colour network sees it as three equal channels. A gray network
        restores the luminance of a colour picture and leaves its colours. Alpha is enlarged
        bicubically.

        Args:
            image: uint8 or uint16, ``(H, W)`` gray, ``(H, W, 2)`` gray and alpha, ``(H, W, 3)``
                BGR or ``(H, W, 4)`` BGRA.
            progress: called with the fraction of the picture done since the last call.

        Returns:
            The same dtype and channels, sides times the scale of the network.
        """
        top = np.iinfo(image.dtype).max
        alpha = image[..., -1] if image.ndim == 3 and image.shape[2] in (2, 4) else None
        pixels = image[..., :-1] if alpha is not None else image
        pixels = (pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).astype(np.float32) / top
        if pixels.ndim == 2:
            restored = self._restore_gray(pixels, progress)
        elif self.channels == 1:
            restored = self._restore_luminance(pixels, progress)
        else:
            restored = self._run(pixels[..., ::-1], progress)[..., ::-1]
        result = np.rint(restored.clip(0, 1) * top).astype(image.dtype)
        if alpha is not None:
            result = np.dstack([result, self._enlarge(alpha)])
        return np.ascontiguousarray(result)

    def _restore_gray(self, gray: Pixels, progress: Callable[[float], None] | None) -> Pixels:
        restored = self._run(np.repeat(gray[..., None], self.channels, axis=2), progress)
        return restored.mean(axis=2)

    def _restore_luminance(self, bgr: Pixels, progress: Callable[[float], None] | None) -> Pixels:
        ycrcb = cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2YCrCb)
        luminance = self._run(ycrcb[..., :1], progress)
        colours = [self._enlarge(ycrcb[..., i]) for i in (1, 2)]
        return cv2.cvtColor(np.dstack([luminance, *colours]), cv2.COLOR_YCrCb2BGR)

    def _enlarge(self, plane: Pixels) -> Pixels:
        """One plane ``(H, W)``, enlarged bicubically by the scale of the network."""
        if self.scale == 1:
            return plane
        height, width = plane.shape
        size = (width * self.scale, height * self.scale)
        return cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_CUBIC)

    def _run(self, pixels: Pixels, progress: Callable[[float], None] | None) -> Pixels:
        """Runs the network on float ``(H, W, C)`` in [0, 1]; tiles go to the device one by one."""
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        dtype = next(self.net.parameters()).dtype

        def on_device(tile: Tensor) -> Tensor:
            return self.net(tile.to(self.device, dtype)).float().cpu()

        share = 8 if self.self_ensemble else 1

        def advance(fraction: float) -> None:
            if progress is not None:
                progress(fraction / share)

        def whole(picture: Tensor) -> Tensor:
            return run_tiled(on_device, picture, self.scale, self.tiling, advance)

        with torch.inference_mode():
            y = self_ensemble(whole, x) if self.self_ensemble else whole(x)
        return y[0].numpy().transpose(1, 2, 0)
