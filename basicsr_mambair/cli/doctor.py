"""``basicsr doctor``."""

from __future__ import annotations

from collections.abc import Iterable

import click


@click.command()
def doctor() -> None:
    """Show versions, the device, the scan backend, and the repairs of BasicSR."""
    for title, lines in (
        ("Versions", _versions),
        ("Device", _device),
        ("C++ kernels", _kernels),
        ("Selective scan", _scan),
        ("BasicSR", _basicsr),
    ):
        click.secho(title, bold=True)
        for line in lines():
            click.echo(f"  {line}")


def _versions() -> Iterable[str]:
    from basicsr_mambair.runs.machine import versions

    for package, version in versions().items():
        yield f"{package:<16} {version}"


def _device() -> Iterable[str]:
    from basicsr_mambair.runs.machine import devices
    from mambair.inference.device import pick_device

    yield from devices(pick_device())


def _kernels() -> Iterable[str]:
    from mambair.ops import native

    yield native.describe()


def _scan() -> Iterable[str]:
    from mambair.inference.device import pick_device
    from mambair.ops.selective_scan import available_backends, select_automatic

    device = pick_device().type
    chosen = select_automatic(device)
    for name, reason in available_backends(device).items():
        state = f"cannot run: {reason}" if reason else "can run"
        if name == chosen:
            state += "; 'auto' selects it: the first in this list that can run"
        yield f"{name:<16} {state}"


def _basicsr() -> Iterable[str]:
    from basicsr_mambair import repairs
    from basicsr_mambair.training.requirements import require_basicsr
    from mambair.errors import UserError

    try:
        require_basicsr()
    except UserError as error:
        yield str(error)
        return
    import basicsr

    yield f"in {basicsr.__path__[0]}; repairs:"
    for repair in repairs.repairs():
        mark = click.style("applied   ", fg="green") if repair.applied else "not needed"
        yield f"{mark} {repair.name}: {repair.fault}"
        yield f"           ({repair.thread})"
