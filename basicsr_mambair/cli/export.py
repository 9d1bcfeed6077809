"""``basicsr export``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("weights", metavar="FILE|NAME")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, NAME.safetensors.",
)
@click.option(
    "--raw", is_flag=True, help="The weights of the last iteration, not their average (EMA)."
)
def export(weights: str, output: Path, raw: bool) -> None:
    """Write the weights of a network alone, as safetensors, to pass on.

    WEIGHTS is what `restore -w` takes. Of a training's checkpoint the averaged weights (EMA) are
    taken, unless --raw asks for the last ones: after a short training the average still holds some
    of the first. The file holds the network's section of the option file too.

    \b
    basicsr export tiny_x2 -o experiments/pretrained_models/tiny_x2.safetensors
    """
    from mambair.checkpoint import save_safetensors
    from mambair.inference.weights import find_weights, load_network

    if output.suffix != ".safetensors":
        raise click.BadParameter("must end in .safetensors", param_hint="--output")
    net, section = load_network(find_weights(weights), key="params" if raw else "params_ema")
    save_safetensors(net.state_dict(), output, {"network_g": section})
    click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
