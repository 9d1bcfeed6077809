"""Restores pictures of any kind, depth and color with a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mambair.archs.contract import Contract, ContractError, contract_of
from mambair.archs.padding import run_padded
from mambair.errors import CheckpointError
from mambair.imaging.errors import PictureError
from mambair.imaging.metadata import metadata_of
from mambair.imaging.pillow import pillow_of_pixels
from mambair.imaging.pixels import Pixels, swap_order
from mambair.imaging.transparency import cover_hidden
from mambair.inference import kinds
from mambair.inference.device import pick_device
from mambair.inference.ensemble import self_ensemble
from mambair.inference.loading import load_network
from mambair.inference.tiles import DEFAULT_TILE, Tiling, parse_tile, run_tiled
from mambair.inference.weights import Task, default_weights, find_weights

Picture = TypeVar("Picture", Pixels, Image.Image, Tensor)
Progress = Callable[[float], None] | None


class Restorer:
    """A network and what is needed to apply it to pictures as they come.

    Args:
        net: a restoration network of 1 or 3 channels; its scale and the sizes it accepts are those
            of :func:`mambair.archs.contract.contract_of`.
        device: device that runs the network.
        tiling: how to cut large pictures; by default blended tiles of 256 pixels.
        self_ensemble: average over the eight orientations of a picture.

    Attributes:
        net: the network, in ``eval()`` on the device.
        scale: scale of the network.
        channels: channels of the network, 3 (RGB) or 1 (gray).

    Raises:
        ContractError: the network does not restore single pictures of 1 or 3 channels.
    """

    def __init__(
        self,
        net: nn.Module,
        device: torch.device | str = "cpu",
        tiling: Tiling | None = None,
        self_ensemble: bool = False,
    ) -> None:
        self.contract: Contract = contract_of(net)
        if self.contract.in_chans not in (1, 3):
            raise ContractError(
                f"{type(net).__name__} takes {self.contract.in_chans} channels; pictures have 1 "
                "(gray) or 3 (RGB)"
            )
        self.device = torch.device(device)
        self.net = net.to(self.device).eval()
        self.tiling = parse_tile(DEFAULT_TILE) if tiling is None else tiling
        self.self_ensemble = self_ensemble

    @property
    def scale(self) -> int:
        """Scale of the network."""
        return self.contract.upscale

    @property
    def channels(self) -> int:
        """Channels of the network: 3 (RGB) or 1 (gray)."""
        return self.contract.in_chans

    def __repr__(self) -> str:
        color = "RGB" if self.channels == 3 else "gray"
        return f"Restorer({type(self.net).__name__}, ×{self.scale}, {color}, on {self.device})"

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], **arguments: Any) -> Restorer:
        """A restorer with the network of a weights file; other arguments are those of the class.

        Raises:
            CheckpointError: see :func:`load_network`, or the network does not restore pictures.
        """
        net, _ = load_network(path)
        try:
            return cls(net, **arguments)
        except ContractError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def __call__(
        self, picture: Picture, order: kinds.Order = "rgb", progress: Progress = None
    ) -> Picture:
        """Restores one picture, or a batch of them.

        A gray picture stays gray: a color network sees it as three equal channels. A gray network
        restores the luminance of a color picture and keeps its colors. Alpha is enlarged
        bicubically. Hidden color (alpha 0) is replaced by the nearest that is seen, so that it does
        not darken edges. Float pixels are in [0, 1]; the result is clipped to it.

        Args:
            picture: an array of uint8, uint16 or float, ``(H, W)`` gray, ``(H, W, 2)`` gray and
                alpha, ``(H, W, 3)`` or ``(H, W, 4)`` with alpha; a PIL picture (EXIF orientation is
                applied, palettes become colors); or a float tensor ``(B, C, H, W)`` with 1 to 4
                channels, which have the same meaning as those of an array.
            order: channel order of arrays and tensors: ``"rgb"`` or ``"bgr"`` (OpenCV's).
            progress: called with the fraction of the picture done since the last call.

        Returns:
            The same kind, type and channels; sides times the scale of the network. ``info`` of a
            PIL picture holds the color profile, EXIF (upright), XMP and resolution of the source.

        Raises:
            PictureError: it is none of these (says what was given and what is accepted), or the
                network's result is not finite.

        Examples:
            >>> import mambair, numpy as np
            >>> model = mambair.load("tiny_x2")
            >>> model(np.zeros((9, 16, 3), np.uint8)).shape
            (18, 32, 3)
            >>> from PIL import Image
            >>> model(Image.new("L", (16, 9))).size
            (32, 18)
        """
        if order not in ("rgb", "bgr"):
            raise ValueError(f"order must be 'rgb' or 'bgr', got {order!r}")
        if isinstance(picture, Image.Image):
            image = kinds.array_of_pil(picture)
            kinds.check_array(image)
            result = pillow_of_pixels(self._restore(image, progress))
            result.info.update(metadata_of(picture).for_size(*result.size).as_info())
            return result
        if isinstance(picture, Tensor):
            return self._restore_batch(picture, order, progress)
        if not isinstance(picture, np.ndarray):
            raise kinds.refusal(picture)
        return self._restore_ordered(picture, order, progress)

    def _restore_batch(self, pictures: Tensor, order: kinds.Order, progress: Progress) -> Tensor:
        kinds.check_tensor(pictures)

        def advance(fraction: float) -> None:
            if progress is not None:
                progress(fraction / len(pictures))

        restored = [
            self._restore_ordered(kinds.array_of_tensor(each), order, advance) for each in pictures
        ]
        return kinds.tensor_of_arrays(restored, like=pictures)

    def _restore_ordered(self, image: Pixels, order: kinds.Order, progress: Progress) -> Pixels:
        kinds.check_array(image)
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        if order == "bgr":
            return np.ascontiguousarray(swap_order(self._restore(swap_order(image), progress)))
        return self._restore(image, progress)

    def _restore(self, image: Pixels, progress: Progress) -> Pixels:
        """Restores an array in RGB."""
        integers = np.issubdtype(image.dtype, np.integer)
        top = np.iinfo(image.dtype).max if integers else 1
        has_alpha = image.ndim == 3 and image.shape[2] in (2, 4)
        pixels = cover_hidden(image)[..., :-1] if has_alpha else image
        pixels = (pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).astype(np.float32) / top
        if pixels.ndim == 2:
            restored = self._restore_gray(pixels, progress)
        elif self.channels == 1:
            restored = self._restore_luminance(pixels, progress)
        else:
            restored = self._run(pixels, progress)
        restored = restored.clip(0, 1) * top
        result = (np.rint(restored) if integers else restored).astype(image.dtype)
        if has_alpha:
            alpha = self._enlarge(image[..., -1] if integers else image[..., -1].astype(np.float32))
            result = np.dstack([result, alpha.clip(0, top).astype(image.dtype)])
        elif image.ndim == 3 and result.ndim == 2:
            result = result[..., None]
        return np.ascontiguousarray(result)

    def _restore_gray(self, gray: Pixels, progress: Progress) -> Pixels:
        restored = self._run(np.repeat(gray[..., None], self.channels, axis=2), progress)
        mean: Pixels = restored.mean(axis=2)
        return mean

    def _restore_luminance(self, rgb: Pixels, progress: Progress) -> Pixels:
        ycrcb = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YCrCb)
        luminance = self._run(ycrcb[..., :1], progress)
        colors = [self._enlarge(ycrcb[..., i]) for i in (1, 2)]
        restored: Pixels = cv2.cvtColor(np.dstack([luminance, *colors]), cv2.COLOR_YCrCb2RGB)
        return restored

    def _enlarge(self, plane: Pixels) -> Pixels:
        """One plane ``(H, W)``, enlarged bicubically by the scale of the network."""
        if self.scale == 1:
            return plane
        height, width = plane.shape
        size = (width * self.scale, height * self.scale)
        enlarged: Pixels = cv2.resize(
            np.ascontiguousarray(plane), size, interpolation=cv2.INTER_CUBIC
        )
        return enlarged

    def _run(self, pixels: Pixels, progress: Progress) -> Pixels:
        """Runs the network on float ``(H, W, C)`` in [0, 1]; tiles go to the device one by one."""
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        first = next(self.net.parameters(), None)
        dtype = torch.float32 if first is None else first.dtype
        multiple, least = self.contract.size_multiple, self.contract.minimum_size

        def on_device(tile: Tensor) -> Tensor:
            x = tile.to(self.device, dtype)
            return run_padded(self.net, x, self.scale, multiple, least).float().cpu()

        share = 8 if self.self_ensemble else 1

        def advance(fraction: float) -> None:
            if progress is not None:
                progress(fraction / share)

        def whole(picture: Tensor) -> Tensor:
            return run_tiled(on_device, picture, self.scale, self.tiling, advance)

        with torch.inference_mode():
            y = self_ensemble(whole, x) if self.self_ensemble else whole(x)
        if not bool(y.isfinite().all()):
            raise PictureError(
                "the network's result is not finite (NaN or infinite); weights that exploded in "
                "training do that, and half precision may"
            )
        restored: Pixels = y[0].numpy().transpose(1, 2, 0)
        return restored


def load(
    name: str | os.PathLike[str] | None = None,
    *,
    task: Task | None = None,
    scale: int | None = None,
    device: torch.device | str = "auto",
    tile: str | int | None = DEFAULT_TILE,
    overlap: int | None = None,
    self_ensemble: bool = False,
) -> Restorer:
    """Loads a model that restores pictures.

    Args:
        name: a model's name (see :func:`mambair.list_models`) or a weights file, ``.pth`` or
            ``.safetensors``. Without one, the weights of this project for a task.
        task: ``"sr"`` (super-resolution, the default), ``"jpeg"``, ``"denoising"``, ``"camera"``
            (noise of a camera) or ``"photo"`` (everyday photographs); instead of a name.
        scale: 2 (the default), 3 or 4, for ``"sr"``; 2 (the default) or 4 for ``"photo"``. With a
            name: the scale that it must have.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"xpu"`` or ``"mps"``.
        tile: larger pictures are cut into tiles of this side and blended; ``"none"``: whole;
            ``"authors"``: as the published results were made.
        overlap: overlap of blended tiles, in pixels; 32 by default.
        self_ensemble: average over the eight orientations: a little better, eight times as long.

    Returns:
        The model: call it with a picture. The network is ``model.net``.

    Raises:
        CheckpointError: there is no such model, or its file does not fit.
        TileError, ValueError: a tile, overlap or device makes no sense here.

    Examples:
        >>> import mambair, numpy as np
        >>> model = mambair.load(scale=3)
        >>> model
        Restorer(MambaIRv2Light, ×3, RGB, on cpu)
        >>> model(np.zeros((4, 5), np.uint16)).shape
        (12, 15)
    """
    if name is not None and task is not None:
        raise CheckpointError(f"{name}: a name chooses weights, and so does a task; give one")
    path = default_weights(task, scale) if name is None else find_weights(name)
    chosen = pick_device(device) if isinstance(device, str) else device
    tiling = parse_tile(tile, overlap)
    restorer = Restorer.from_checkpoint(
        path, device=chosen, tiling=tiling, self_ensemble=self_ensemble
    )
    if name is not None and scale is not None and restorer.scale != scale:
        raise CheckpointError(f"scale {scale} was asked for; {path} enlarges by {restorer.scale}")
    return restorer
