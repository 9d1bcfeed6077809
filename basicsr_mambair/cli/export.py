"""``basicsr export``."""

from __future__ import annotations

from pathlib import Path

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option
from basicsr_mambair.cli.weights_file import output_option, write_weights


@click.command()
@click.argument("weights", metavar="FILE|NAME")
@output_option
@click.option(
    "--raw",
    is_flag=True,
    help="Export the weights of the last iteration instead of their average (EMA).",
)
@click.option(
    "--half",
    is_flag=True,
    help="Store the weights in 16 bits: half the size. Whoever loads them computes in 32 bits.",
)
@modules_option
def export(weights: str, output: Path, raw: bool, half: bool, modules: tuple[str, ...]) -> None:
    """Write a file with the weights of a network alone, to share.

    The argument is the same as for `restore -w`. From a checkpoint of training, the averaged
    weights (EMA) are exported, or with --raw the last ones: after a short training run the average
    still contains some of the initial weights. The file also holds the network's section of the
    option file, so that nobody needs the option file to load it.

    A .pth holds the weights as 'params' and, unless --raw is given, as 'params_ema' (the same
    tensors, stored once): BasicSR and Real-ESRGAN read one or the other.

    \b
    basicsr export tiny_x2 -o experiments/pretrained_models/tiny_x2.safetensors
    basicsr export tiny_x2 -o tiny_x2.pth
    basicsr export my_training --half -o small.safetensors
    """
    import_modules(modules)
    from mambair.checkpoint import in_half_precision
    from mambair.inference.loading import load_network
    from mambair.inference.weights import find_weights

    path = find_weights(weights)
    net, section = load_network(path, key="params" if raw else "params_ema")
    state = net.state_dict()
    if half:
        state = in_half_precision(state, path)
    write_weights(state, section, output, averaged=not raw)
