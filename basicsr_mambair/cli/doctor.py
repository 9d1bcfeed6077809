"""``basicsr doctor``."""

from __future__ import annotations

import importlib.metadata
import platform

import click

_PACKAGES = (
    "basicsr-mambair basicsr torch torchvision numpy opencv-python pillow lmdb scikit-image "
    "safetensors mamba-ssm"
).split()


@click.command()
def doctor() -> None:
    """Show versions, the device, the scan backend, and what was repaired in BasicSR."""
    import basicsr  # noqa: F401  (which applies the repairs)
    import torch

    from basicsr_mambair import repairs
    from mambair.inference.device import pick_device
    from mambair.ops import native
    from mambair.ops.selective_scan import available_backends, select_automatic

    click.secho("Versions", bold=True)
    click.echo(f"  {'Python':<16} {platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        click.echo(f"  {package:<16} {version}")

    click.secho("Device", bold=True)
    device = pick_device()
    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            click.echo(f"  cuda:{index}: {torch.cuda.get_device_name(index)}")
    else:
        build = (
            f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
        )
        click.echo(f"  cpu, {torch.get_num_threads()} threads; no CUDA device ({build})")

    click.secho("C++ kernels", bold=True)
    click.echo(f"  {native.describe()}")

    click.secho("Selective scan", bold=True)
    chosen = select_automatic(device.type)
    for name, reason in available_backends(device.type).items():
        state = f"cannot run: {reason}" if reason else "can run"
        if name == chosen:
            state += "; 'auto' takes it: the first of this list that can run"
        click.echo(f"  {name:<16} {state}")

    click.secho("Repairs of BasicSR", bold=True)
    for repair in repairs.repairs():
        mark = click.style("applied   ", fg="green") if repair.applied else "not needed"
        click.echo(f"  {mark} {repair.name}: {repair.fault}")
        click.echo(f"             ({repair.thread})")
