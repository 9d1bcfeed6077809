"""``basicsr complexity``."""

from __future__ import annotations

import json
import re

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option


@click.command()
@click.option(
    "-opt", "--opt", "paths", required=True, multiple=True, metavar="FILE",
    help="Option file (YAML); may be repeated.",
)  # fmt: skip
@click.option(
    "--output-size",
    metavar="WxH",
    default="1280x720",
    show_default=True,
    help="Size of the restored picture; the input is smaller by the scale, rounded down.",
)
@click.option("--input-size", metavar="WxH", help="Size of the input; replaces --output-size.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@modules_option
def complexity(
    paths: tuple[str, ...],
    output_size: str,
    input_size: str | None,
    as_json: bool,
    modules: tuple[str, ...],
) -> None:
    """Count parameters, multiply-accumulates and activation memory of networks.

    No network is run: the largest takes seconds on any machine. Networks must map one picture to
    one picture. The column "as published" also counts the other operations that the papers'
    figures include (docs/complexity.md).

    \b
    basicsr complexity -opt options/test/mambairv2_light_x2.yml
    basicsr complexity -opt FILE -opt FILE --input-size 512x512
    """
    import_modules(modules)
    from tabulate import tabulate

    from basicsr_mambair.options import load_any_options
    from mambair.complexity import measure_network

    rows = []
    for path in paths:
        options = load_any_options(path)
        scale = int(options.get("scale", 1))
        if input_size is not None:
            width, height = _parse_size(input_size, "--input-size")
        else:
            width, height = (s // scale for s in _parse_size(output_size, "--output-size"))
        if not (width and height):
            raise click.BadParameter(f"is too small for scale {scale}", param_hint="--output-size")
        try:
            cost = measure_network(options["network_g"], height, width)
        except Exception as error:  # a foreign network may raise anything
            kind = options["network_g"].get("type")
            raise click.ClickException(
                f"{path}: network_g: {kind}: cannot be counted: {error}"
            ) from error
        rows.append(
            {
                "network": options["name"],
                "input": f"{width}x{height}",
                "parameters": cost.parameters,
                **{f"{kind} MACs": count for kind, count in cost.macs.items()},
                "MACs": cost.total_macs,
                "as published": cost.published_macs,
                "memory, inference": cost.inference_bytes,
                "memory, training": cost.training_bytes,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    columns = [(key, [_format(key, row[key]) for row in rows]) for key in rows[0]]
    click.echo(tabulate([[key, *values] for key, values in columns], tablefmt="plain"))


def _parse_size(text: str, option: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)
    if not match:
        raise click.BadParameter(f"must be WIDTHxHEIGHT, got {text!r}", param_hint=option)
    return int(match[1]), int(match[2])


def _format(key: str, value: object) -> str:
    if not isinstance(value, int):
        return str(value)
    if key.startswith("memory"):
        return f"{value / 2**30:.2f} GiB"
    return f"{value:,}" if key == "parameters" else f"{value / 1e9:.3f} G"
