"""``basicsr interpolate``."""

from __future__ import annotations

from pathlib import Path

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option
from basicsr_mambair.cli.weights_file import output_option, write_weights


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--weight",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="The share of A: 1 is A, 0 is B.",
)
@output_option
@click.option(
    "--raw",
    is_flag=True,
    help="Mix the weights of the last iteration instead of their average (EMA).",
)
@modules_option
def interpolate(
    first: str, second: str, weight: float, output: Path, raw: bool, modules: tuple[str, ...]
) -> None:
    """Mix two weights files of the same network: weight · A + (1 − weight) · B.

    A and B are files or names, as for `restore -w`. Network interpolation (Wang et al., CVPR 2019)
    steers between two trainings that began with the same weights, for example between smooth (PSNR)
    and sharp (adversarial), or between much and little denoising.

    \b
    basicsr interpolate sharp.pth smooth.pth --weight 0.7 -o between.pth
    """
    import_modules(modules)
    from mambair.inference.interpolation import interpolate_files
    from mambair.inference.weights import find_weights

    paths = [find_weights(name) for name in (first, second)]
    key = "params" if raw else "params_ema"
    mixed, section = interpolate_files(paths, [weight, 1 - weight], key)
    write_weights(mixed, section, output, averaged=not raw)
