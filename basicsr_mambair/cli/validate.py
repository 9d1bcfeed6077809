"""``basicsr validate``."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "-opt", "--opt", "paths", multiple=True, metavar="FILE",
    help="Option file (YAML); may be repeated.",
)  # fmt: skip
@click.option(
    "--files/--no-files",
    default=True,
    show_default=True,
    help="Also check that folders, pictures, weights and packages that a file names exist.",
)
@click.argument("more", nargs=-1, metavar="[FILE]...")
def validate(paths: tuple[str, ...], files: bool, more: tuple[str, ...]) -> None:
    """Check option files without running them; report every problem with file, line and key.

    Exit status 1 if anything is wrong; 0, and one line for each file, otherwise.

    \b
    basicsr validate -opt options/train/quickstart.yml
    basicsr validate --no-files -opt options/train/*.yml
    """
    if not (paths or more):
        raise click.UsageError("no option file is named")
    from basicsr_mambair.options import OptionError, is_training_file, load_options
    from basicsr_mambair.training.requirements import require_basicsr

    require_basicsr()
    wrong = False
    for path in (*paths, *more):
        try:
            is_train = is_training_file(path)
            load_options(path, is_train=is_train, check_files=files, fetch=False)
        except OptionError as error:
            wrong = True
            click.secho(str(error), fg="red", err=True)
        else:
            click.echo(f"{path}: valid, for {'training' if is_train else 'testing'}")
    if wrong:
        raise SystemExit(1)
