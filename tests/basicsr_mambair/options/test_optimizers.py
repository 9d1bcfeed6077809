"""Optimizers by name: those of torch.optim, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from basicsr_mambair.options import OptionError, load_options
from basicsr_mambair.options.optimizers import optimizer_class
from tests.basicsr_mambair.options.test_load import _folders, edited, options, write  # noqa: F401

OTHERS = {
    "schedulefree.AdamWScheduleFree": {"lr": 0.0025, "warmup_steps": 10},
    "schedulefree.RAdamScheduleFree": {"lr": 0.0025},
    "schedulefree.SGDScheduleFree": {"lr": 1.0},
    "prodigyopt.Prodigy": {"lr": 1.0, "weight_decay": 0.01},
}


@pytest.mark.parametrize("name", OTHERS)
def test_optimizers_of_other_packages(name: str, tmp_path: Path) -> None:
    package = name.partition(".")[0]
    pytest.importorskip(package, reason=f"needs the package {package}")
    contents = options()
    contents["train"]["optim_g"] = {"type": name, **OTHERS[name]}
    loaded = load_options(write(tmp_path, contents), is_train=True)
    cls = optimizer_class(loaded["train"]["optim_g"]["type"])
    assert issubclass(cls, torch.optim.Optimizer)
    contents["train"]["optim_g"]["wieght_decay"] = 0
    with pytest.raises(OptionError, match="train.optim_g.wieght_decay: .*did you mean 'weight_dec"):
        load_options(write(tmp_path, contents), is_train=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.Adam", "needs the package no_such_package, which is not installed: pip"),
        ("torch.optim.Adann", "torch.optim has no optimizer 'Adann'; did you mean 'Adam'?"),
        ("torch.nn.Linear", "torch.nn has no optimizer 'Linear'"),
        ("torch.", "'torch.' is not the dotted name of a class"),
        ("..Adam", "'..Adam' is not the dotted name of a class"),
        ("torch.optim.LBFGS", "step"),
    ],
)
def test_what_is_not_there_is_named(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"train\.optim_g.*" + message):
        load_options(write(tmp_path, edited("train.optim_g.type", name)), is_train=True)


def test_a_module_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_optimizers.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="broken_optimizers cannot be imported: ZeroDivisionError"):
        optimizer_class("broken_optimizers.Sloppy")


def test_a_model_that_does_not_switch_refuses_schedule_free(tmp_path: Path) -> None:
    pytest.importorskip("schedulefree", reason="needs the package schedulefree")
    contents = options(model_type="SRModel")
    contents["train"]["optim_g"] = {"type": "schedulefree.AdamWScheduleFree", "lr": 0.01}
    with pytest.raises(
        OptionError, match=r"train.optim_g.type: AdamWScheduleFree is schedule-free"
    ):
        load_options(write(tmp_path, contents), is_train=True)
