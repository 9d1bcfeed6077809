"""``basicsr explain``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from basicsr_mambair.cli.import_option import import_modules, modules_option
from mambair.errors import UserError, is_out_of_memory
from mambair.imaging.listing import (
    PACKAGE_SCHEME,
    pictures_of,
    printable,
    resolve_root,
    survey,
)

if TYPE_CHECKING:
    from torch import nn

    from mambair.findings import Finding, Subject
    from mambair.imaging.pixels import Pixels

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
    help="Side of the middle over which receptive fields are computed.  "
    "[default: the longest up to 96 that all pictures have and all networks take]",
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
    field_side: int | None,
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
    from basicsr_mambair.progress import progress_bar
    from mambair.findings import OF_ONE_PICTURE, Subject, attentive_map, receptive_field
    from mambair.findings.receptive_field import subject_of

    _check_used(wanted)
    wanted = wanted or FINDINGS
    measures = {name: OF_ONE_PICTURE[name] for name in OF_ONE_PICTURE if name in wanted}
    queries = [_parse_pixel(text) for text in pixels]
    if queries and "attentive_map" in measures:
        measures["attentive_map"] = partial(attentive_map, pixels=queries)
    paths = _unlike_names(inputs)
    _name_left_out(inputs)
    networks = _load(names, routing)
    pictures = {path: _read(path) for path in paths}
    with_field = "receptive_field" in wanted
    if with_field and field_side is None:
        field_side = _field_side(networks, pictures)
    looks = [(label, path) for label in networks for path in pictures]
    prefixes = _prefixes(looks)
    for label, path in looks:  # nothing is measured before all is known to fit
        with _named(label, path):
            if measures:
                subject = Subject(networks[label], pictures[path], side or None)
                if hasattr(networks[label], "set_routing"):  # others have no attentive map
                    for query in queries:
                        subject.locate(*query)
            if with_field and field_side is not None:
                subject_of(networks[label], pictures[path], field_side)
    shown = 0
    with progress_bar(len(looks) * (len(measures) + with_field), "explain") as bar:
        for label, path in looks if measures else ():
            with _named(label, path):
                subject = Subject(networks[label], pictures[path], side or None)
                shown += _explain_one(subject, measures, output, prefixes[label, path], bar)
        if with_field:
            bar.set_description("receptive_field")
            with _enough_memory("--field-side"):
                field = receptive_field(networks, [*pictures.values()], field_side, bar.update)
            seen = paths[0].stem if len(paths) == 1 else f"{len(paths)}_pictures"
            bar.write(printable(", ".join(networks)))
            bar.write(_saved(field, output, f"{'_'.join(networks)}_{seen}_"))
            shown += 1
    if not shown:
        raise click.ClickException("none of the findings that were asked for could be shown")


def _check_used(wanted: tuple[str, ...]) -> None:
    """Refuses options of findings that ``--finding`` leaves out."""
    context = click.get_current_context()
    of_one_picture = tuple(name for name in FINDINGS if name != "receptive_field")
    for parameter, option, readers in (
        ("pixels", "--pixel", ("attentive_map",)),
        ("side", "--side", of_one_picture),
        ("field_side", "--field-side", ("receptive_field",)),
    ):
        is_given = context.get_parameter_source(parameter) is not ParameterSource.DEFAULT
        if wanted and is_given and not set(readers) & set(wanted):
            raise click.UsageError(
                f"{option} has no effect on --finding {' --finding '.join(wanted)}"
            )


def _field_side(networks: Mapping[str, nn.Module], pictures: Mapping[Path, Pixels]) -> int:
    """The usual side of a receptive field; says so where a small picture makes it shorter."""
    from mambair.findings.receptive_field import common_side

    smallest = min(pictures, key=lambda path: min(pictures[path].shape[:2]))
    with _named(", ".join(networks), smallest):
        side = common_side(networks.values(), pictures.values())
    height, width = pictures[smallest].shape[:2]
    if side < common_side(networks.values(), []):
        text = (
            f"note: receptive fields are computed over {side}×{side} pixels, because {smallest} "
            f"has {width}×{height} (--field-side chooses another side)"
        )
        click.secho(printable(text), fg="yellow", err=True)
    return side


def _unlike_names(inputs: tuple[str, ...]) -> list[Path]:
    """The pictures; files are named after them, so their names must differ."""
    paths = list(dict.fromkeys(path for item in inputs for path in pictures_of(item)))
    stems = [path.stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise click.UsageError(f"INPUT: two pictures are named {twice[0]}; explain them apart")
    return paths


def _name_left_out(inputs: tuple[str, ...]) -> None:
    for item in inputs:
        if item.startswith(PACKAGE_SCHEME) or Path(item).expanduser().is_dir():
            root = resolve_root(item)
            for line in survey(root).descriptions() if root.is_dir() else ():
                click.secho(printable(f"left out: {item}: {line}"), fg="yellow", err=True)


def _read(path: Path) -> Pixels:
    """The picture, with its colors in RGB order; says what of the file is not looked at."""
    from mambair.imaging.pixels import swap_order
    from mambair.imaging.reading import read_header, read_image

    picture = swap_order(read_image(path))
    unseen = ["further pages or frames"] if read_header(path).has_more else []
    unseen += ["its transparency"] if picture.ndim == 3 and picture.shape[2] in (2, 4) else []
    if unseen:
        text = f"left out: {path}: {' and '.join(unseen)}"
        click.secho(printable(text), fg="yellow", err=True)
    return picture


def _load(names: tuple[str, ...], routing: str | None) -> dict[str, nn.Module]:
    """The networks by the names of their weights."""
    from mambair.inference.loading import load_network
    from mambair.inference.weights import find_weights

    networks: dict[str, nn.Module] = {}
    for name in names:
        label = Path(name).stem if Path(name).suffix else Path(name).name
        if label in networks:
            raise click.UsageError(f"-w: two of the weights are named {label}; rename one file")
        net, _ = load_network(find_weights(name))
        if routing is not None:
            set_routing = getattr(net, "set_routing", None)
            if set_routing is None:
                click.echo(f"--routing is left out: {label}, a {type(net).__name__}, has none")
            else:
                set_routing(routing)
        networks[label] = net
    return networks


def _prefixes(looks: Sequence[tuple[str, Path]]) -> dict[tuple[str, Path], str]:
    """Beginnings of the names of files, a different one for each network and picture."""
    prefixes: dict[tuple[str, Path], str] = {}
    for label, path in looks:
        prefix = f"{label}_{path.stem}_"
        if prefix in prefixes.values():
            raise click.UsageError(f"two pairs of weights and picture would be named {prefix[:-1]}")
        prefixes[label, path] = prefix
    return prefixes


@contextmanager
def _enough_memory(option: str) -> Iterator[None]:
    """Where memory does not suffice, the message names the option that takes less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"not enough memory; try a smaller {option}") from error


@contextmanager
def _named(label: str, path: Path) -> Iterator[None]:
    """Errors name the picture and the network."""
    try:
        yield
    except UserError as error:
        raise click.ClickException(f"{path}, {label}: {error}") from error


def _explain_one(
    subject: Subject,
    measures: Mapping[str, Callable[[Subject], Finding]],
    output: Path,
    prefix: str,
    bar: Any,
) -> int:
    """Shows some findings of one network and one picture; returns how many it has."""
    from mambair.findings import NotApplicableError

    height, width = subject.size
    whole_height, whole_width = subject.whole
    bar.write(
        f"{printable(prefix).rstrip('_')}: {width}×{height} of {whole_width}×{whole_height} "
        f"pixels, from column {subject.left}, row {subject.top}"
    )
    shown = 0
    for name, measure in measures.items():
        bar.set_description(printable(f"{prefix}{name}"))
        try:
            with _enough_memory("--side"):
                finding = measure(subject)
        except NotApplicableError as error:
            bar.write(f"  {name}: not shown: {error}")
        else:
            bar.write(_saved(finding, output, prefix))
            shown += 1
        bar.update()
    return shown


def _saved(finding: Finding, output: Path, prefix: str) -> str:
    """Writes a finding; says what it is and where."""
    was_there = Path(output, f"{prefix}{finding.name}.png").exists()
    drawing, table = finding.save(output, prefix)
    files = printable(f"{drawing}, {table.name}") + (" (replaced)" if was_there else "")
    return f"  {finding.name}: {finding.summary()}\n    {files}"


def _parse_pixel(text: str) -> tuple[int, int]:
    x, _, y = text.partition(",")
    if not (x.isdecimal() and y.isdecimal()):
        raise click.BadParameter(f"must be X,Y in pixels, got {text!r}", param_hint="--pixel")
    return int(x), int(y)
