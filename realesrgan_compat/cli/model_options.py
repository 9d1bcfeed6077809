"""The flags that choose and run a network, the same for pictures and videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from realesrgan_compat.cli.command import FiniteRange
from realesrgan_compat.weights import PUBLISHED

if TYPE_CHECKING:
    from realesrgan_compat.enhancer import Enhancer

Function = TypeVar("Function", bound=Callable[..., Any])

_GENERAL, _LESS_DENOISING = "realesr-general-x4v3", "realesr-general-wdn-x4v3"
_DENOISE_STRENGTH = 0.5
_SCALE_OF_THE_ORIGINAL = 4


def model_options(default: str) -> Callable[[Function], Function]:
    """Adds the flags to a command, which passes them on to :class:`ModelChoice`.

    Args:
        default: the name of ``-n``.
    """
    options = [
        click.option(
            "-n",
            "--model_name",
            default=default,
            show_default=True,
            metavar="NAME",
            help="A model of Real-ESRGAN's (" + ", ".join(PUBLISHED) + "), which is looked for in "
            "weights/ and downloaded if it is missing; or weights by a name that 'basicsr models' "
            "lists, such as tiny_x4.",
        ),
        click.option(
            "-dn",
            "--denoise_strength",
            type=FiniteRange(0, 1),
            help=f"Denoising of {_GENERAL}: 0 keeps noise, 1 removes most.  "
            f"[default: {_DENOISE_STRENGTH}]",
        ),
        click.option(
            "-s",
            "--outscale",
            type=FiniteRange(0, min_open=True),
            help="Factor of the sides of the result.  [default: 4 for models of Real-ESRGAN's, "
            "for others their own scale]",
        ),
        click.option(
            "--model_path",
            metavar="FILE|NAME|ADDRESS",
            help="Weights, instead of -n; the network is the one that the file names, or is "
            "detected.",
        ),
        click.option(
            "-t",
            "--tile",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Side of a tile in pixels of the input; 0: no tiles.",
        ),
        click.option(
            "--tile_pad",
            type=click.IntRange(0),
            default=10,
            show_default=True,
            help="How far the network sees beyond a tile, in pixels.",
        ),
        click.option(
            "--pre_pad",
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Pixels by which to mirror the picture at the right and bottom before.",
        ),
        click.option("--face_enhance", is_flag=True, help="Restore faces with GFPGAN."),
        click.option("--fp32", is_flag=True, help="Use float32 on a GPU, too; CPUs always do."),
        click.option(
            "--alpha_upsampler",
            type=click.Choice(["realesrgan", "bicubic"]),
            default="realesrgan",
            show_default=True,
            help="What enlarges alpha: the network, or interpolation.",
        ),
        click.option("-g", "--gpu-id", "gpu_id", type=click.IntRange(0), help="Number of the GPU."),
    ]

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@dataclass(frozen=True)
class ModelChoice:
    """The values of the flags; see :func:`model_options`."""

    model_name: str
    denoise_strength: float | None
    outscale: float | None
    model_path: str | None
    tile: int
    tile_pad: int
    pre_pad: int
    face_enhance: bool
    fp32: bool
    alpha_upsampler: Literal["realesrgan", "bicubic"]
    gpu_id: int | None

    @property
    def name(self) -> str:
        """The name of ``-n``; Real-ESRGAN's also with the extension that its script takes off."""
        bare = self.model_name.removesuffix(".pth")
        return bare if bare in PUBLISHED else self.model_name

    def build(self, say: Callable[[str], None]) -> Enhancer:
        """Loads the network.

        Args:
            say: told what is ignored.

        Raises:
            CheckpointError, UpsamplerError: see :class:`RealESRGANer`.
            FaceEnhancementError: ``face_enhance`` without GFPGAN.
        """
        from realesrgan_compat.device import choose_device
        from realesrgan_compat.enhancer import Enhancer
        from realesrgan_compat.faces import check_gfpgan, load_gfpgan
        from realesrgan_compat.upsampler import RealESRGANer

        if self.face_enhance:
            check_gfpgan()
        weights, shares = self._weights(say)
        device = choose_device(gpu_id=self.gpu_id)
        upsampler = RealESRGANer(
            None,
            weights,
            dni_weight=shares,
            tile=self.tile,
            tile_pad=self.tile_pad,
            pre_pad=self.pre_pad,
            half=not self.fp32 and device.type != "cpu",
            device=device,
        )
        of_the_original = self.model_path is None and self.name in PUBLISHED
        default = _SCALE_OF_THE_ORIGINAL if of_the_original else upsampler.scale
        outscale = default if self.outscale is None else self.outscale
        faces = load_gfpgan(upsampler, outscale) if self.face_enhance else None
        return Enhancer(upsampler, outscale, self.alpha_upsampler, faces)

    def _weights(self, say: Callable[[str], None]) -> tuple[str | list[str], list[float] | None]:
        if self.model_path is None and self.name == _GENERAL:
            strength = self.denoise_strength
            strength = _DENOISE_STRENGTH if strength is None else strength
            if strength < 1:
                return [_GENERAL, _LESS_DENOISING], [strength, 1 - strength]
        elif self.denoise_strength is not None:
            say(f"-dn is ignored: only {_GENERAL} has a strength of denoising")
        return self.model_path or self.name, None
