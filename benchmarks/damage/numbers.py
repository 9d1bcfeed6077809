"""Numbers that are not finite: in losses, in weights, in optimizers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.damage.outcome import Outcome
from benchmarks.damage.stopping import Stop, stop_and_continue
from benchmarks.damage.training import HANG, VARIANTS, Training, kill, refusal, tail, wait
from mambair.checkpoint import load_checkpoint, non_finite
from mambair.inference.loading import load_network
from mambair.inference.weights import find_weights
from tests.conftest import write_pairs

QUICK, FULL = 4, 32

Way = Callable[[Path, random.Random, str], tuple[str, bool]]  # what is wrong; whether named

_PLAIN = next(iter(VARIANTS))
_NAN_LOSS = """
import random
import torch
from basicsr.utils.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class SometimesNaN(torch.nn.L1Loss):
    def __init__(self, seed):
        super().__init__()
        self.draws = random.Random(seed)

    def forward(self, output, truth):
        return super().forward(output, truth) * (float("nan") if self.draws.random() < 0.1 else 1)
"""


def provoke(budget: int, seed: int, folder: Path, python: str = sys.executable) -> list[Outcome]:
    """Lets losses explode, and puts NaN and Inf into losses, checkpoints and weights files."""
    draws = random.Random(seed)
    ways: dict[str, Way] = {
        "the loss explodes; continued with a smaller learning rate": _explode,
        "losses of some steps are NaN": _sometimes,
        "one NaN or Inf in weights that restore, test, report are given": _weights,
    }
    if python != sys.executable:  # an older version imports no module of an option file
        del ways["losses of some steps are NaN"]
    outcomes = [
        _try(damage, way, budget // 4, draws, folder / way.__name__, python)
        for damage, way in ways.items()
    ]
    name = "SIGKILL, then one NaN or Inf in the newest state or weights"
    poisoned = {name: (_poison_newest, 1)}
    outcomes += stop_and_continue(poisoned, budget // 4, seed, folder / "newest", python).values()
    return outcomes


def _try(
    damage: str, way: Way, times: int, draws: random.Random, folder: Path, python: str
) -> Outcome:
    outcome = Outcome(damage)
    for number in range(times):
        wrong, named = way(folder / str(number), draws, python)
        if wrong:
            outcome.unnamed.append(f"run {number}: {wrong}")
        elif named:
            outcome.named += 1
        else:
            outcome.survived += 1
    return outcome


def _explode(folder: Path, draws: random.Random, python: str) -> tuple[str, bool]:
    model = draws.choice(["SRModel", VARIANTS[_PLAIN]["model_type"]])
    run = Training(folder, VARIANTS[_PLAIN] | {"model_type": model}, python)
    rate, weight = 10 ** draws.uniform(1, 2), 10 ** draws.uniform(2, 6)
    process = run.start(
        "train:optim_g:type=SGD", f"train:optim_g:lr={rate:.3g}",
        f"train:pixel_opt:loss_weight={weight:.3g}",
    )  # fmt: skip
    status = wait(process)
    case = f"{model}, lr {rate:.3g}, loss weight {weight:.3g}"
    if status is None:
        return f"{case}: hangs", False
    if status != 0:
        wrong = refusal(run.output(), "steps in a row", "not finite", "is nan")
        wrong = wrong or run.finish()
        if wrong:
            return f"{case}: {wrong}", False
    found = _not_finite(run)
    return (f"{case}: status 0, {found}" if found else ""), status != 0


def _sometimes(folder: Path, draws: random.Random, python: str) -> tuple[str, bool]:
    seed = draws.randrange(10**6)
    loss = {"type": "SometimesNaN", "seed": seed}
    run = Training(folder, {"imports": ["sometimes_nan"], "train__pixel_opt": loss}, python)
    (folder / "sometimes_nan.py").write_text(_NAN_LOSS)
    wrong = run.finish() or _not_finite(run)
    if not wrong and "this step is skipped" not in run.output():
        wrong = "no word about a step"
    return f"seed {seed}: {wrong}" if wrong else "", False


def _not_finite(run: Training) -> str:
    wrong = non_finite(load_checkpoint(run.own / "models" / "net_g_latest.pth"))
    return f"the weights are not finite: {wrong[0]}" if wrong else ""


def _weights(folder: Path, draws: random.Random, python: str) -> tuple[str, bool]:
    folder.mkdir(parents=True)
    write_pairs(folder)
    net, section = load_network(find_weights("tiny_x2"))
    weights = dict(net.state_dict())
    wrong = _poison(weights, draws)
    torch.save({"params": weights}, folder / "bad.pth")
    command = draws.choice(["restore", "test", "report"])
    arguments = ["LR", "-o", "out", "-w", "bad.pth"]
    if command != "restore":
        (folder / "test.yml").write_text(yaml.safe_dump(_measurement(section)))
        arguments = ["-opt", "test.yml"]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "basicsr_mambair", command, *arguments], cwd=folder, stdout=output,
            stderr=output, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    status, said = wait(process, HANG), (folder / "output.txt").read_text(errors="replace")
    if status is None:
        return f"{command}: hangs", False
    if status == 0:
        return f"{command}: status 0 with {wrong}: {tail(said)}", False
    unnamed = refusal(said, wrong)
    return (f"{command}: {unnamed}" if unnamed else ""), True


def _measurement(section: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "measured", "model_type": VARIANTS[_PLAIN]["model_type"], "scale": 2, "num_gpu": 0,
        "datasets": {"test": {"name": "test", "type": "PairedImageDataset", "dataroot_gt": "HR",
                              "dataroot_lq": "LR", "filename_tmpl": "{}x2",
                              "io_backend": {"type": "disk"}}},
        "network_g": section,
        "path": {"pretrain_network_g": "bad.pth", "strict_load_g": True},
        "val": {"metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}}},
    }  # fmt: skip


def _poison(values: dict[str, Any], draws: random.Random) -> str:
    """Puts a NaN or an infinite number somewhere into one tensor; returns its name."""
    floats = [key for key, each in values.items() if torch.is_floating_point(each) and each.numel()]
    name = draws.choice(floats)
    wrong = draws.choice([float("nan"), float("inf"), -float("inf")])
    values[name].view(-1)[draws.randrange(values[name].numel())] = wrong
    return name


def _poison_newest(run: Training, process: subprocess.Popen[bytes], draws: random.Random) -> Stop:
    kill(process)
    states = sorted(run.states().items())
    if len(states) < 2:  # there is nothing to fall back to
        return Stop()
    iteration, state = states[-1]
    weights = run.own / "models" / f"net_g_{iteration}.pth"
    path = draws.choice([state, weights])
    contents = load_checkpoint(path)
    if path == state:
        moments = draws.choice(list(contents["optimizers"][0]["state"].values()))
        _poison(moments, draws)
    else:
        _poison(contents[draws.choice(["params", "params_ema"])], draws)
    torch.save(contents, path)
    return Stop()
