"""``basicsr export``."""

from __future__ import annotations

from pathlib import Path

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option


@click.command()
@click.argument("weights", metavar="FILE|NAME")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write: NAME.safetensors, or NAME.pth in BasicSR's layout.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Export the weights of the last iteration instead of their average (EMA).",
)
@modules_option
def export(weights: str, output: Path, raw: bool, modules: tuple[str, ...]) -> None:
    """Write a file with the weights of a network alone, to share.

    The argument is the same as for `restore -w`. From a checkpoint of training, the averaged
    weights (EMA) are exported, or with --raw the last ones: after a short training run the average
    still contains some of the initial weights. The file also holds the network's section of the
    option file, so that nobody needs the option file to load it.

    \b
    basicsr export tiny_x2 -o experiments/pretrained_models/tiny_x2.safetensors
    basicsr export tiny_x2 -o tiny_x2.pth
    """
    import_modules(modules)
    from mambair.checkpoint import SECTION_KEY, save_checkpoint, save_safetensors
    from mambair.inference.loading import load_network
    from mambair.inference.weights import find_weights

    if output.suffix not in (".safetensors", ".pth"):
        raise click.BadParameter("must end in .safetensors or .pth", param_hint="--output")
    net, section = load_network(find_weights(weights), key="params" if raw else "params_ema")
    if output.suffix == ".pth":
        save_checkpoint({"params": net.state_dict(), SECTION_KEY: section}, output)
    else:
        save_safetensors(net.state_dict(), output, {SECTION_KEY: section})
    click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
