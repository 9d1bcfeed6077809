"""``basicsr models``."""

from __future__ import annotations

import click

from basicsr_mambair.cli.import_option import import_modules, modules_option


@click.command()
@modules_option
def models(modules: tuple[str, ...]) -> None:
    """List the models that `restore -w NAME` accepts.

    They are the weights that come with this package, the experiments under experiments/ of the
    current directory, and the files in experiments/pretrained_models/.
    """
    import_modules(modules)
    from tabulate import tabulate

    from mambair.errors import UserError
    from mambair.inference.loading import describe_model
    from mambair.inference.weights import find_weights, list_models

    rows = []
    for name in list_models():
        path = find_weights(name)
        try:
            model = describe_model(path)
        except UserError as error:
            problem = str(error).removeprefix(f"{path}: ").splitlines()[0]
            rows.append([name, f"cannot be used: {problem}", "", "", "", path])
            continue
        color = "color" if model.contract.in_chans == 3 else "gray"
        network = model.section["type"]
        rows.append([name, network, f"×{model.contract.upscale}", color, model.parameters, path])
    headers = ["name", "network", "scale", "pictures", "parameters", "file"]
    click.echo(tabulate(rows, headers, tablefmt="plain", intfmt=","))
