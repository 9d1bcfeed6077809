"""``basicsr preview``."""

from __future__ import annotations

from pathlib import Path

import click

from basicsr_mambair.training.arguments import joined_overrides, overrides_arguments


@click.command()
@click.option("-opt", "--opt", "opt", required=True, metavar="FILE", help="Option file (YAML).")
@click.option(
    "--dataset",
    metavar="NAME",
    help="Dataset of the file, by key or name; by default the training data, or the first.",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Number of samples.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("preview.png"),
    show_default=True,
    help="The picture to write; what was drawn goes beside it, into a file ending in .json.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31),
    help="Seed of the run; by default the file's manual_seed, or 0.",
)
@overrides_arguments
def preview(
    opt: str,
    dataset: str | None,
    count: int,
    output: Path,
    seed: int | None,
    force_yml: tuple[str, ...],
    more: tuple[str, ...],
) -> None:
    """Show what a training will see: true picture, input, and what was drawn for it.

    Writes a contact sheet of the first samples that a run with this seed trains on. The input is
    enlarged by repeating pixels. If the model degrades the pictures itself, as Real-ESRGAN's do,
    it makes the inputs here too. Of large pictures the part with most detail is shown.

    \b
    basicsr preview -opt options/train/quickstart.yml
    basicsr preview -opt FILE --dataset val -n 4 -o val.png
    """
    import json

    from basicsr_mambair.options import is_training_file
    from basicsr_mambair.training.requirements import require_basicsr

    require_basicsr()
    from basicsr_mambair.preview.samples import preview_samples
    from basicsr_mambair.preview.sheet import contact_sheet
    from mambair.imaging.writing import write_bytes, write_image

    if output.suffix == ".json":
        raise click.BadParameter("must be the name of a picture", param_hint="--output")
    shown = preview_samples(
        opt,
        is_training_file(opt),
        dataset=dataset,
        count=count,
        seed=seed,
        overrides=joined_overrides(force_yml, more),
    )
    title = f"{Path(opt).name}, {shown.dataset}, seed {shown.seed}: GT and LQ"
    write_image(contact_sheet(shown.samples, title), output)
    draws = {
        "option_file": opt,
        "dataset": shown.dataset,
        "seed": shown.seed,
        "samples": [{"name": each.name, "drawn": each.drawn} for each in shown.samples],
    }
    record = output.with_suffix(".json")
    write_bytes(json.dumps(draws, indent=1).encode(), record)
    click.echo(f"{output}: {len(shown.samples)} samples of {shown.dataset}; draws in {record}")
