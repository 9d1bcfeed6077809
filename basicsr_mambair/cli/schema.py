"""``basicsr schema``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the schema to this file instead of printing it.",
)  # fmt: skip
def schema(output: Path | None) -> None:
    """Print the JSON Schema of option files, with which editors complete and check them.

    \b
    basicsr schema -o options/schema.json
    """
    from basicsr_mambair.options.schema import schema_text
    from basicsr_mambair.training.requirements import require_basicsr

    require_basicsr()
    text = schema_text()
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from error
