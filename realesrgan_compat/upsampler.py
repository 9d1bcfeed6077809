"""Real-ESRGAN's ``RealESRGANer`` for MambaIRv2 and every other network known here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mambair.archs.contract import ContractError, contract_of
from mambair.archs.padding import run_padded
from mambair.checkpoint import load_weights
from mambair.errors import CheckpointError
from mambair.imaging.errors import PictureError
from mambair.imaging.pixels import Pixels
from mambair.inference.interpolation import interpolate_weights
from mambair.inference.tiles import Tiling, run_tiled
from realesrgan_compat.device import choose_device
from realesrgan_compat.errors import UpsamplerError
from realesrgan_compat.networks import described, load_into_model, load_model
from realesrgan_compat.weights import locate

Weights = str | os.PathLike[str]
AlphaUpsampler = Literal["realesrgan", "bicubic"]
Mode = Literal["L", "LA", "RGB", "RGBA"]

_TOP = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
_EIGHT_BITS_UP_TO = 256  # floats beyond this are of 16 bits, as in the original
# The original pads to these multiples, whatever the network needs; the pixels at the borders, and
# in a network that looks at the whole picture all pixels, depend on it.
_PADDED_TO = {1: 4, 2: 2}


class RealESRGANer:
    """Enlarges pictures as ``realesrgan.RealESRGANer`` (0.3.0) does, with any network known here.

    For the same network and arguments, :meth:`enhance` returns the same pixels. What differs:
    ``model`` is not needed, weights are also found by name and read from safetensors, ``scale``
    must be the network's, depth is that of the array's type rather than of its largest value, and
    a tile that fails is an error instead of a printed line.

    Args:
        scale: scale of the network; ``None``: whatever it is.
        model_path: a weights file (``.pth`` with ``params_ema``, ``params`` or the bare weights;
            ``.safetensors``), a name (``"tiny_x2"``, ``"RealESRGAN_x4plus"``; see
            :func:`realesrgan_compat.weights.locate`) or an address. A list is mixed by
            ``dni_weight``.
        dni_weight: the factor of each file of a list (network interpolation).
        model: a network for these weights. Without one, it is the one that the file names, or is
            detected from the weights: MambaIRv2, MambaIR, RRDBNet and SRVGGNetCompact.
        tile: side of a tile in pixels of the input; 0: the whole picture at once.
        tile_pad: how many pixels beyond its sides the network sees of a tile's surroundings.
        pre_pad: pixels by which the picture is mirrored at the right and bottom before.
        half: run in float16, for GPUs; a CPU runs in float32, with a warning.
        device: a device, or its name. Default: the first of CUDA, XPU and MPS, else the CPU.
        gpu_id: number of a CUDA device, if ``device`` is not given; without CUDA there is a
            warning, and the default device runs.

    Attributes:
        model: the network, in ``eval()`` on the device.
        device: the device.
        scale: scale of the network.

    Raises:
        CheckpointError: weights cannot be found or read, or do not fit.
        UpsamplerError: ``scale`` is not the network's, or arguments do not go together.

    Examples:
        >>> from realesrgan_compat import RealESRGANer
        >>> upsampler = RealESRGANer(None, "tiny_x4", device="cpu")
        >>> upsampler.scale, type(upsampler.model).__name__
        (4, 'MambaIRv2Light')
    """

    def __init__(
        self,
        scale: int | None,
        model_path: Weights | Sequence[Weights],
        dni_weight: Sequence[float] | None = None,
        model: nn.Module | None = None,
        tile: int = 0,
        tile_pad: int = 10,
        pre_pad: int = 10,
        half: bool = False,
        device: torch.device | str | None = None,
        gpu_id: int | str | None = None,
    ) -> None:
        for name, value in (("tile", tile), ("tile_pad", tile_pad), ("pre_pad", pre_pad)):
            if value < 0:
                raise UpsamplerError(f"{name} must not be negative, got {value}")
        self.tile_size = tile
        self.tile_pad = tile_pad
        self.pre_pad = pre_pad
        self.device = choose_device(device, gpu_id)
        self.half = half and self.device.type != "cpu"
        if half and not self.half:
            warnings.warn("half=True is for GPUs; the CPU runs in float32", stacklevel=2)

        names = [model_path] if isinstance(model_path, (str, os.PathLike)) else list(model_path)
        shares = _shares(names, dni_weight)
        paths = [locate(name) for name in names]
        net = load_model(paths, shares) if model is None else load_into_model(model, paths, shares)
        self._contract = _contract(net, paths, scale)
        self.scale = self._contract.upscale
        self.mod_scale = _PADDED_TO.get(self.scale)
        self.mod_pad_h = self.mod_pad_w = 0
        net = net.to(self.device)
        self.model: nn.Module = net.half() if self.half else net
        self.img: Tensor
        self.output: Tensor

    def dni(
        self,
        net_a: Weights,
        net_b: Weights,
        dni_weight: Sequence[float],
        key: str = "params",
        loc: str | torch.device = "cpu",
    ) -> dict[str, Any]:
        """Mixes two weights files; see :func:`mambair.inference.interpolation.interpolate_weights`.

        Args:
            net_a: the first file.
            net_b: the second.
            dni_weight: the factors of the two.
            key: the entry that holds the weights.
            loc: device of the result.

        Returns:
            ``{key: weights}``.

        Raises:
            CheckpointError: a file cannot be read, or they are not of the same network.
        """
        paths = [locate(net_a), locate(net_b)]
        sources = [(path, load_weights(path, key)[0]) for path in paths]
        mixed = interpolate_weights(sources, _shares(paths, dni_weight))
        return {key: {name: value.to(loc) for name, value in mixed.items()}}

    def pre_process(self, img: Pixels) -> None:
        """Sets :attr:`img` to a picture on the device, mirrored at the right and bottom.

        Args:
            img: float RGB in [0, 1], ``(H, W, 3)``.
        """
        x = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1))).float()[None]
        x = x.to(self.device)
        x = _mirrored(x.half() if self.half else x, self.pre_pad, self.pre_pad)
        multiple = self.mod_scale or 1
        self.mod_pad_h, self.mod_pad_w = (-side % multiple for side in x.shape[-2:])
        self.img = _mirrored(x, self.mod_pad_h, self.mod_pad_w)

    def process(self) -> None:
        """Runs the network on the whole of :attr:`img`; the result is :attr:`output`."""
        self._run(Tiling("none"))

    def tile_process(self) -> None:
        """Runs the network on :attr:`img` tile by tile; the result is :attr:`output`."""
        self._run(Tiling("padded", self.tile_size, self.tile_pad))

    def _run(self, tiling: Tiling) -> None:
        contract = self._contract

        def run(tile: Tensor) -> Tensor:
            multiple, least = contract.size_multiple, contract.minimum_size
            return run_padded(self.model, tile, self.scale, multiple, least)

        with torch.no_grad():
            self.output = run_tiled(run, self.img, self.scale, tiling)

    def post_process(self) -> Tensor:
        """Cuts off what :meth:`pre_process` added.

        Returns:
            :attr:`output`, ``(1, 3, s·H, s·W)``.
        """
        height, width = self.output.shape[-2:]
        bottom = (self.mod_pad_h + self.pre_pad) * self.scale
        right = (self.mod_pad_w + self.pre_pad) * self.scale
        self.output = self.output[..., : height - bottom, : width - right]
        return self.output

    @torch.no_grad()
    def enhance(
        self,
        img: Pixels,
        outscale: float | None = None,
        alpha_upsampler: AlphaUpsampler = "realesrgan",
    ) -> tuple[Pixels, Mode]:
        """Enlarges a picture.

        Args:
            img: ``(H, W)`` gray, ``(H, W, 3)`` BGR or ``(H, W, 4)`` BGRA, as OpenCV reads them;
                ``(H, W, 1)`` and ``(H, W, 2)``, gray and gray with alpha, too. uint8 or uint16, or
                floats of their ranges.
            outscale: factor of the result's sides; if it is not the network's, the result is
                resized to it (Lanczos).
            alpha_upsampler: ``"realesrgan"``: the network enlarges alpha; anything else: linearly,
                as the original does under the name ``bicubic``.

        Returns:
            The picture, uint8 or uint16 (uint8 for floats up to 256), and its kind: ``"L"``,
            ``"RGB"``, ``"RGBA"``, or ``"LA"`` for gray with alpha.

        Raises:
            PictureError: it is not a picture of these kinds.
        """
        top = _check_picture(img)
        height, width = img.shape[:2]
        pixels = img.astype(np.float32) / top
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        mode: Mode = ("L", "LA", "RGB", "RGBA")[channels - 1]
        gray = channels < 3
        colors = pixels.reshape(height, width, channels)[..., : 1 if gray else 3]
        output = self._enlarge(np.repeat(colors, 3, axis=2) if gray else colors[..., ::-1])
        if gray:
            output = cv2.cvtColor(output, cv2.COLOR_BGR2GRAY)
        if channels in (2, 4):
            alpha = np.ascontiguousarray(pixels[..., -1])
            output = np.dstack([output, self._enlarge_alpha(alpha, alpha_upsampler)])
        kind = np.uint16 if top == _TOP[np.dtype(np.uint16)] else np.uint8
        result: Pixels = (output * top).round().astype(kind)
        if outscale is not None and outscale != float(self.scale):
            size = (int(width * outscale), int(height * outscale))
            if min(size) < 1:
                raise PictureError(f"outscale {outscale} leaves nothing of {width}×{height} pixels")
            result = cv2.resize(result, size, interpolation=cv2.INTER_LANCZOS4)
        if img.ndim == 3 and result.ndim == 2:
            result = result[..., None]
        return result, mode

    def _enlarge(self, rgb: Pixels) -> Pixels:
        """Float RGB ``(H, W, 3)`` in [0, 1] as enlarged BGR, clipped."""
        self.pre_process(rgb)
        if self.tile_size > 0:
            self.tile_process()
        else:
            self.process()
        output = self.post_process()[0].float().cpu().clamp(0, 1).numpy()
        return np.ascontiguousarray(output[::-1].transpose(1, 2, 0))

    def _enlarge_alpha(self, alpha: Pixels, how: str) -> Pixels:
        if how == "realesrgan":
            enlarged = self._enlarge(np.repeat(alpha[..., None], 3, axis=2))
            return cv2.cvtColor(enlarged, cv2.COLOR_BGR2GRAY)
        size = (alpha.shape[1] * self.scale, alpha.shape[0] * self.scale)
        return cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)


def _shares(names: Sequence[Weights], dni_weight: Sequence[float] | None) -> Sequence[float]:
    if not names:
        raise UpsamplerError("model_path is empty")
    if len(names) == 1 and dni_weight is None:
        return [1.0]
    if dni_weight is None or len(dni_weight) != len(names):
        given = "none" if dni_weight is None else len(dni_weight)
        raise UpsamplerError(
            f"model_path names {len(names)} files, so dni_weight must hold {len(names)} numbers, "
            f"not {given}"
        )
    return dni_weight


def _contract(net: nn.Module, paths: Sequence[Path], scale: int | None) -> Any:
    """The network's contract, if it is one that fits here."""
    try:
        contract = contract_of(net)
    except ContractError as error:
        raise CheckpointError(f"{described(paths)}: {error}") from error
    if contract.in_chans != 3:
        raise UpsamplerError(
            f"{described(paths)}: {type(net).__name__} takes {contract.in_chans} channel; here a "
            "network must take 3 (RGB). 'basicsr restore' and mambair.load run it"
        )
    if scale is not None and scale != contract.upscale:
        raise UpsamplerError(
            f"scale {scale} was given, but {described(paths)} enlarges by {contract.upscale}; "
            "outscale of enhance() resizes the result"
        )
    return contract


def _check_picture(img: Pixels) -> int:
    """The largest value that a picture of this type can hold."""
    if not isinstance(img, np.ndarray):
        raise PictureError(f"a {type(img).__name__} was given; enhance() takes a numpy array")
    channels = img.shape[2] if img.ndim == 3 else 1
    floating = np.issubdtype(img.dtype, np.floating)
    known = floating or img.dtype in _TOP
    if not known or img.ndim not in (2, 3) or not 1 <= channels <= 4 or not img.size:
        raise PictureError(
            f"an array of {img.dtype}, {img.shape}, was given; enhance() takes uint8 or uint16, "
            "(H, W) or (H, W, 1 to 4 channels)"
        )
    if not floating:
        return _TOP[img.dtype]
    largest = float(img.max())
    if 0 < largest <= 1:
        raise PictureError(
            f"an array of {img.dtype} up to {largest:g} was given; enhance() takes 0 to 255, or to "
            "65535"
        )
    return _TOP[np.dtype(np.uint16 if largest > _EIGHT_BITS_UP_TO else np.uint8)]


def _mirrored(x: Tensor, bottom: int, right: int) -> Tensor:
    """Mirrors at the bottom and right without repeating the edge, more than once if need be."""
    for dim, more in ((-2, bottom), (-1, right)):
        if more:
            length = x.shape[dim]
            period = max(2 * length - 2, 1)
            index = torch.arange(length + more, device=x.device) % period
            x = x.index_select(dim, torch.where(index < length, index, period - index))
    return x
