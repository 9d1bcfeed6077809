"""Option files with one thing wrong: refused by name, or legal, and then they run.

Every key of three training files is deleted, misspelt and given values of the wrong kind. Nothing
but an :class:`OptionError` may come of it; what is accepted stands in ``tests/data/mutations``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from basicsr_mambair.options import OptionError, load_options, surroundings
from benchmarks.damage.child import Child
from benchmarks.damage.commands import call
from benchmarks.damage.options import (
    FILES,
    Mutation,
    every_mutation,
    load,
    mutated,
    reviewed,
)
from benchmarks.damage.options import surroundings as write_surroundings

EVERY = every_mutation()
LEGAL = set().union(*map(reviewed, FILES))

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_surroundings(tmp_path)
    # Extras: what is accepted must not depend on whether they are installed here.
    monkeypatch.setattr(surroundings, "_is_installed", lambda package: True)


@pytest.mark.parametrize("file", FILES)
def test_whole_files_are_accepted(file: str) -> None:
    Path("run.yml").write_text(yaml.safe_dump(FILES[file]()))
    load_options("run.yml", is_train=True)


def test_a_random_part() -> None:
    @settings(max_examples=settings().max_examples * 3)
    @given(st.sampled_from(EVERY))
    def search(mutation: Mutation) -> None:
        assert load(mutation) == (mutation in LEGAL)

    search()


@pytest.mark.nightly
@pytest.mark.parametrize("file", FILES)
def test_every_slip_at_every_place(file: str) -> None:
    assert len(EVERY) > 2500
    accepted = {each for each in EVERY if each[0] == file and load(each)}
    assert accepted == reviewed(file)


@pytest.mark.nightly
@pytest.mark.parametrize("file", FILES)
def test_what_is_accepted_trains(file: str, tmp_path: Path) -> None:
    """To the second iteration, or to a sentence about what the options name and is not there."""
    wrong = {}
    with Child(300) as patient:  # torch.compile takes its time
        for number, mutation in enumerate(sorted(reviewed(file), key=str)):
            if "wandb" in mutation[1]:
                continue  # it would look for its server
            folder = tmp_path / str(number)
            write_surroundings(folder)
            options: dict[str, Any] = mutated(mutation)
            (folder / "run.yml").write_text(yaml.safe_dump(options))
            line = ["train", "-opt", "run.yml"]
            if options["train"]["total_iter"] > 4:
                line += ["--force_yml", "train:total_iter=2"]
            verdict = patient.run(call, line, str(folder))
            absent = any(words in verdict.said for words in ("needs the package", "no partner"))
            if verdict.kind != "survived" and not absent:
                wrong[mutation] = verdict.said[-600:]
    assert not wrong


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("datasets.train.use_hflip", "false"),
        ("datasets.train.io_backend", 5),
        ("datasets.train.io_backend.tyqpe", "disk"),
        ("datasets.train.degradation", {"type": "gaussian_noise", "sigma": math.nan}),
        ("datasets.train.persistent_workers", True),
        ("datasets.train.prefetch_mode", "gpu"),
        ("datasets.train.gt_size", 4096),
        ("datasets.train.dataroot_gt", ""),
        ("train.optim_g.lr", 0),
        ("train.optim_g.lr", math.nan),
        ("train.optim_g.type", ["Adam"]),
        ("train.optim_g.amsgrad", "false"),
        ("train.ema_decay", 1),
        ("train.scheduler.periods", [2]),
        ("train.scheduler.restart_weights", [1, 1]),
        ("train.pixel_opt", None),
        ("train.pixel_opt.reduction", "none"),
        ("train.warm_start", True),
        ("network_g.d_state", 0),
        ("network_g.embed_dim", -4),
        ("network_g.embed_dim", 20),
        ("network_g.img_range", 0),
        ("network_g.depths", [10**12]),
        ("val.metrics.psnr.crop_border", -1),
        ("val.save_img", "false"),
        ("name", ""),
        ("name", "../../x"),
        ("logger.wandb.project", " "),
    ],
)
def test_what_cannot_work_is_refused_with_its_line(where: str, value: object) -> None:
    options: dict[str, Any] = FILES["training"]()
    *parents, last = where.split(".")
    section = options
    for key in parents:
        section = section[key]
    section[last] = value
    Path("run.yml").write_text(yaml.safe_dump(options))
    with pytest.raises(OptionError, match=r"^run\.yml:\d+: ") as raised:
        load_options("run.yml", is_train=True)
    assert all(problem.source for problem in raised.value.problems)
