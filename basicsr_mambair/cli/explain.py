"""``basicsr explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option
from basicsr_mambair.cli.restore import expand_inputs

if TYPE_CHECKING:
    from torch import nn

# The names of mambair.findings, which would import torch.
FINDINGS = (
    "attentive_map", "semantic_neighbors", "direction_redundancy", "decay", "attention_matrix",
    "receptive_field",
)  # fmt: skip


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-w", "--weights", "names", required=True, multiple=True, metavar="FILE|NAME",
    help="Weights, as for restore; may be repeated to draw receptive fields side by side.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("findings"),
    show_default=True,
    help="Folder for drawings and tables; it is created.",
)
@click.option(
    "--finding",
    "wanted",
    type=click.Choice(FINDINGS),
    multiple=True,
    help="Only this finding; may be repeated.  [default: all that a network has]",
)
@click.option(
    "--pixel",
    "pixels",
    metavar="X,Y",
    multiple=True,
    help="Pixel whose attentive map is drawn; may be repeated.  [default: three corners]",
)
@click.option(
    "--side",
    type=click.IntRange(0),
    default=256,
    show_default=True,
    help="Look at the middle of the picture, of this side; 0 means the whole picture.",
)
@click.option(
    "--field-side",
    type=click.IntRange(8),
    default=96,
    show_default=True,
    help="Side of the middle over which receptive fields are computed.",
)
@click.option(
    "--routing",
    type=click.Choice(["sampled", "argmax"]),
    help="How MambaIRv2 chooses classes.  [default: as its weights say, usually sampled]",
)
@modules_option
def explain(
    inputs: tuple[str, ...],
    names: tuple[str, ...],
    output: Path,
    wanted: tuple[str, ...],
    pixels: tuple[str, ...],
    side: int,
    field_side: int,
    routing: str | None,
    modules: tuple[str, ...],
) -> None:
    """Draw and measure what the papers found, for any weights.

    INPUT is a picture as the network gets it (for super-resolution, the small one). Each finding
    becomes a drawing, a table (CSV) and a sentence with its main figure:

    \b
    attentive_map         which pixels answer the query of one (MambaIRv2)
    semantic_neighbors    classes, and the sequence before and after reordering (MambaIRv2)
    direction_redundancy  how alike the features of the four scans are (MambaIR)
    decay                 influence against distance in the sequence
    attention_matrix      the matrix M with y = M u, and what prompts add to it
    receptive_field       of any network, over all INPUTs together

    \b
    basicsr explain photo.png -w tiny_x2 -o findings
    basicsr explain photos/ -w tiny_x2 -w swinir.pth -o findings --finding receptive_field
    """
    import_modules(modules)
    from mambair.imaging.reading import read_image
    from mambair.inference.kinds import swap_order
    from mambair.inference.loading import load_network
    from mambair.inference.weights import find_weights

    chosen = [_parse_pixel(text) for text in pixels] or None
    paths = expand_inputs(inputs)
    pictures = {path: swap_order(read_image(path)) for path in paths}
    networks: dict[str, nn.Module] = {}
    for name in names:
        path = find_weights(name)
        net, _ = load_network(path)
        label = name if "/" not in name and not Path(name).suffix else path.stem
        if label in networks:
            raise click.UsageError(f"--weights: {label} is named twice; its files would be too")
        if routing is not None:
            _set_routing(net, routing, label)
        networks[label] = net
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise click.UsageError(
            f"INPUT: {twice[0]} is the name of two pictures, whose files would have one name"
        )
    for label, net in networks.items():
        for path, picture in pictures.items():
            _explain_picture(
                net, picture, label, path, output, wanted or FINDINGS, chosen, side or None
            )
    if "receptive_field" in (wanted or FINDINGS):
        from mambair.findings import receptive_field

        _report(receptive_field(networks, [*pictures.values()], field_side), output, "")


def _explain_picture(
    net: nn.Module,
    picture: Any,
    label: str,
    path: Path,
    output: Path,
    wanted: tuple[str, ...],
    pixels: list[tuple[int, int]] | None,
    side: int | None,
) -> None:
    """All findings of one network and one picture."""
    from mambair.findings import OF_ONE_PICTURE, FindingError, NotApplicableError, Subject

    measures = {name: OF_ONE_PICTURE[name] for name in OF_ONE_PICTURE if name in wanted}
    if not measures:
        return
    try:
        subject = Subject(net, picture, side)
    except FindingError as error:
        raise FindingError(f"{path}: {error}") from error
    height, width = subject.size
    click.echo(f"{label}, {path.name}: {width}×{height} pixels from {subject.left},{subject.top}")
    for name, measure in measures.items():
        try:
            finding = (
                measure(subject, pixels)  # type: ignore[call-arg, arg-type]
                if name == "attentive_map"
                else measure(subject)
            )
        except NotApplicableError as error:
            click.echo(f"  {name}: not shown: {error}")
        except FindingError as error:
            raise FindingError(f"{path}: {name}: {error}") from error
        else:
            _report(finding, output, f"{label}_{path.stem}_")


def _report(finding: Any, output: Path, prefix: str) -> None:
    drawing, table = finding.save(output, prefix)
    click.echo(f"  {finding.name}: {finding.summary()}\n    {drawing}, {table.name}")


def _set_routing(net: nn.Module, routing: str, label: str) -> None:
    set_routing = getattr(net, "set_routing", None)
    if set_routing is None:
        click.echo(f"--routing: {label} is a {type(net).__name__}, which does not route")
        return
    set_routing(routing)


def _parse_pixel(text: str) -> tuple[int, int]:
    x, _, y = text.partition(",")
    if not (x.isdecimal() and y.isdecimal()):
        raise click.BadParameter(f"must be X,Y in pixels, got {text!r}", param_hint="--pixel")
    return int(x), int(y)
