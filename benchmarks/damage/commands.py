"""The commands of this project, run in this process as a user's shell runs them."""

from __future__ import annotations

import os
import random
import shutil
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from benchmarks.damage.child import Child, Verdict, count
from benchmarks.damage.outcome import Outcome
from mambair.imaging.listing import printable

QUICK, FULL = 60, 2_000
NOBODY = 65534  # the user of that name, on every Unix


def call(
    arguments: Sequence[str], folder: str, names: str = "", as_nobody: bool = False
) -> Verdict:
    """Runs a command.

    Args:
        arguments: those of ``basicsr``.
        folder: where it is run.
        names: what a message must name if the command does not end well.
        as_nobody: run without the right to read everything that root has.
    """
    from click.testing import CliRunner

    from basicsr_mambair.cli import main

    here = os.getcwd()
    os.chdir(folder)
    if as_nobody and os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        result = CliRunner().invoke(main, list(arguments))
    finally:
        if os.geteuid() == NOBODY:
            os.seteuid(0)
        os.chdir(here)
    shown = f"basicsr {' '.join(arguments)}"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        place = "".join(traceback.format_exception(result.exception)[-3:])
        return Verdict("failed", f"{shown}: {type(result.exception).__name__}: {place}")
    if "Traceback" in result.output:
        return Verdict("failed", f"{shown}: shows a traceback: {result.output[-1500:]}")
    if result.exit_code == 0:
        return Verdict("survived", result.output)
    if not result.output.strip():
        return Verdict("failed", f"{shown}: status {result.exit_code} without a word")
    if names and names not in result.output and printable(names) not in result.output:
        return Verdict("failed", f"{shown}: does not name {names!r}: {result.output[-1500:]}")
    return Verdict("named", result.output)


def workplace(folder: Path) -> Path:
    """Makes a folder with a data set of two pairs, weights, and option files that name them."""
    from mambair.archs.registry import build_network
    from mambair.checkpoint import save_checkpoint
    from mambair.imaging.resizing import imresize
    from mambair.imaging.writing import write_image

    for name in "ab":
        picture = np.random.default_rng(ord(name)).integers(0, 256, (48, 48, 3), np.uint8)
        write_image(picture, folder / "HR" / f"{name}.png")
        write_image(imresize(picture, 1 / 2), folder / "LR" / f"{name}.png")
    network = {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4,
               "num_block": 1, "upscale": 2}  # fmt: skip
    state = build_network(network).state_dict()
    save_checkpoint({"params": state, "network": network}, folder / "weights.pth")
    pairs = {"type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR"}
    val = {"val_freq": 2, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}}
    common = {"scale": 2, "num_gpu": 0, "manual_seed": 1, "network_g": network}
    train = {
        **common,
        "model_type": "RestorationModel",
        "datasets": {
            "train": {
                "type": "DegradedImageDataset", "dataroot_gt": "HR", "gt_size": 8,
                "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 4,
            },
            "val": pairs,
        },
        "train": {
            "total_iter": 2, "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [5]},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": val,
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2},
    }  # fmt: skip
    test = {
        **common,
        "model_type": "RestorationModel",
        "datasets": {"test": {**pairs, "name": "pairs"}},
        "path": {"pretrain_network_g": "weights.pth"},
        "val": val,
    }
    # The same by BasicSR's own model and dataset.
    stock = {**test, "model_type": "SRModel"}
    for name, contents in (("train", train), ("test", test), ("stock", stock)):
        (folder / f"{name}.yml").write_text(yaml.safe_dump({**contents, "name": name}))
    return folder


#: Values that a person or a script may give by mistake.
STRANGE_TEXT = (
    "", " ", "-1", "0", "1e99", "nan", "seven", "nowhere/a.png", "HR", "HR/a.png", "train.yml",
    "text.pth", os.fsdecode(b"caf\xe9"), "two\nlines", "{}", "*", "a" * 300, "-",
    "~nobody/a", "a=b",
)  # fmt: skip
#: Command lines that work in a workplace: what is strange is put into these.
LINES = {
    "train": "-opt train.yml",
    "test": "-opt test.yml",
    "runs": "",
    "plot": "run",
    "restore": "LR/a.png -o out -w weights.pth",
    "models": "",
    "report": "-opt test.yml",
    "prepare lr": "HR --scale 2 -o lr",
    "prepare jpeg": "HR -q 30 -o jpeg",
    "prepare crops": "HR -o crops",
    "prepare lmdb": "HR -o a.lmdb",
    "prepare sidd": "HR -o sidd",
    "prepare check": "-opt train.yml",
    "preview": "-opt train.yml -o sheet.png",
    "validate": "-opt train.yml",
    "schema": "-o schema.json",
    "complexity": "-opt train.yml",
    "explain": "LR/a.png -w weights.pth -o findings",
    "export": "weights.pth exported.safetensors",
    "interpolate": "weights.pth weights.pth --weight 0.5 -o mixed.pth",
    "doctor": "",
}


def strange_lines() -> list[list[str]]:
    """Every command with every one of its options and arguments given every strange value."""
    import click

    from basicsr_mambair.cli import main

    lines = []
    for name, rest in LINES.items():
        command: click.Command = main
        for part in name.split():
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), part)
            assert found is not None
            command = found
        given = [*name.split(), *rest.split()]
        for parameter in command.params:
            if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
                continue
            for value in STRANGE_TEXT:
                if isinstance(parameter, click.Option):
                    lines.append([*given, max(parameter.opts, key=len), value])
                else:
                    # A value that begins with a dash is an option, unless -- stands before it.
                    lines.append([*name.split(), "--", value])
        lines.append([*given, "--unknown"])
        lines.append([*given, *["too", "many"] * 3])
        lines.append(name.split())
    return lines


def call_line(line: list[str], folder: str) -> Verdict:
    """Runs a command line in a fresh copy of a workplace."""
    place = f"{folder}_used"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    (Path(place) / "text.pth").write_text("no weights")
    verdict = call(line, place)
    if verdict.kind == "named" and len(verdict.said.strip().splitlines()[-1]) > 1500:
        return Verdict("failed", f"basicsr {line}: a message of {len(verdict.said)} characters")
    return verdict


def provoke(budget: int, seed: int, folder: Path) -> list[Outcome]:
    """See :class:`benchmarks.damage.outcome.Provoke`."""
    place = workplace(folder / "place")
    lines = strange_lines()
    outcome = Outcome("command lines with a strange value")
    with Child(120) as child:
        for line in random.Random(seed).sample(lines, min(budget, len(lines))):
            count(outcome, child.run(call_line, line, str(place)), "")
    return [outcome]
