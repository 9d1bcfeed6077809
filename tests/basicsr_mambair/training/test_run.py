"""Options of a run: folders, devices, seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from basicsr_mambair.options import OptionError
from basicsr_mambair.training.arguments import RunArguments
from basicsr_mambair.training.preparation import prepare_run
from tests.basicsr_mambair.options.test_load import _folders, options, write  # noqa: F401


def test_folders_are_under_the_root(tmp_path: Path) -> None:
    path = write(tmp_path, options())
    opt = prepare_run(RunArguments(str(path)), tmp_path, is_train=True)
    own = tmp_path / "experiments" / "run"
    assert opt["path"]["models"] == str(own / "models")
    assert opt["path"]["training_states"] == str(own / "training_states")
    assert opt["path"]["experiments_root"] == str(own)


def test_experiments_root_is_respected(tmp_path: Path) -> None:
    contents = options(path={"experiments_root": str(tmp_path / "big_disk")})
    opt = prepare_run(RunArguments(str(write(tmp_path, contents))), tmp_path, is_train=True)
    assert opt["path"]["log"] == str(tmp_path / "big_disk" / "run")


def test_what_a_model_cannot_train_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    contents = options(model_type="RestorationModel")
    contents["train"]["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla"}
    path = write(tmp_path, contents)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OptionError, match=r"train\.gan_opt: needs a discriminator"):
        prepare_run(RunArguments(str(path)), tmp_path, is_train=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_renames(tmp_path: Path) -> None:
    arguments = RunArguments(str(write(tmp_path, options())), debug=True)
    opt = prepare_run(arguments, tmp_path, is_train=True)
    assert opt["name"] == "debug_run"
    assert opt["logger"]["print_freq"] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="what happens without a GPU")
def test_options_for_gpus_run_without(tmp_path: Path) -> None:
    contents = options(num_gpu=8)
    contents["datasets"]["train"].update(prefetch_mode="cuda", pin_memory=True)
    with pytest.warns(UserWarning, match="num_gpu is 8; this machine has 0"):
        opt = prepare_run(RunArguments(str(write(tmp_path, contents))), tmp_path, is_train=True)
    assert opt["num_gpu"] == 0
    assert opt["datasets"]["train"]["prefetch_mode"] is None
    assert opt["datasets"]["train"]["pin_memory"] is False


def test_seeds_are_set(tmp_path: Path) -> None:
    path = str(write(tmp_path, options(manual_seed=5)))
    prepare_run(RunArguments(path), tmp_path, is_train=True)
    first = torch.rand(3)
    prepare_run(RunArguments(path), tmp_path, is_train=True)
    assert torch.equal(torch.rand(3), first)
