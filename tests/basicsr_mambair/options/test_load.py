"""Option files: what is read, what is completed, and what is refused, by which message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from basicsr_mambair.options import OptionError, load_options
from mambair.imaging.writing import write_image
from tests.conftest import photograph, tiny_network


def options(**changes: Any) -> dict:
    """A small training file, with top-level changes."""
    contents = {
        "name": "run",
        "model_type": "MambaIRv2Model",
        "scale": 2,
        "num_gpu": "auto",
        "datasets": {
            "train": {
                "type": "PairedImageDataset",
                "dataroot_gt": "HR",
                "dataroot_lq": "LR",
                "gt_size": 32,
                "batch_size_per_gpu": 2,
            }
        },
        "network_g": tiny_network(),
        "path": {},
        "train": {
            "total_iter": 10,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [5], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
    }
    return {**contents, **changes}


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that the options name, under the current directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("HR", "LR"):
        (tmp_path / name).mkdir()


def write(tmp_path: Path, contents: dict | str) -> Path:
    path = tmp_path / "run.yml"
    path.write_text(contents if isinstance(contents, str) else yaml.safe_dump(contents))
    return path


def edited(where: str, value: Any) -> dict:
    """The options with ``a.b.c`` set to a value."""
    contents = options()
    section = contents
    *parents, last = where.split(".")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return contents


def test_a_good_file_is_completed(tmp_path: Path) -> None:
    loaded = load_options(write(tmp_path, options()), is_train=True)
    assert loaded["logger"]["print_freq"] == 100
    assert loaded["datasets"]["train"]["io_backend"] == {"type": "disk"}
    assert loaded["datasets"]["train"]["use_rot"] is True
    assert loaded["path"] == {"resume_state": None}


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    text = yaml.safe_dump(options()).replace("lr: 0.001", "lr: 1e-3")
    assert "lr: 1e-3" in text
    loaded = load_options(write(tmp_path, text), is_train=True)
    assert loaded["train"]["optim_g"]["lr"] == 0.001
    text = text.replace("lr: 1e-3", "lr: !!float 2e-4")
    assert load_options(write(tmp_path, text), is_train=True)["train"]["optim_g"]["lr"] == 2e-4


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("netwrok_g", {}, "netwrok_g: unknown key; did you mean 'network_g'"),
        ("modle_type", "x", "modle_type: unknown key; did you mean"),
        ("model_type", "MambaIRv3Model", "model_type: there is no model 'MambaIRv3Model'; did you"),
        ("network_g.embed_dimm", 48, "network_g.embed_dimm: .* did you mean 'embed_dim'"),
        ("network_g.type", "MambaIRv2Ligth", "network_g.type: there is no arch .*'MambaIRv2Light'"),
        ("network_g", None, "network_g: must be a section .* is missing"),
        ("datasets.trian", {}, "datasets.trian: .* did you mean 'train'"),
        ("datasets.train.type", "PairImageDataset", "datasets.train.type: there is no dataset"),
        ("datasets.train.dataroot_qt", "x", None),
        ("datasets.train.gt_sise", 32, None),
        ("datasets.train.gt_size", 33, "datasets.train.gt_size: must be a multiple of scale 2"),
        ("datasets.train.dataroot_lq", ["a", "b"], "dataroot_lq: names 2 folders"),
        ("datasets.train.task", "CRA", "datasets.train.task: must be 'SR' or 'CAR' .* got 'CRA'"),
        (
            "datasets.train.task",
            "denoising_gray",
            "datasets.train.noise: task denoising_gray needs",
        ),
        ("datasets.train.filename_tmpl", "x2", "filename_tmpl: must hold {}"),
        (
            "network_g",
            {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_block": 1},
            "network_g.scale: the network enlarges by 4, but scale is 2",
        ),
        ("path", {"exports": ["a", "b"]}, "path.exports: unknown key, of whose value BasicSR"),
        ("datasets", {}, "datasets: the section is empty"),
        (
            "datasets",
            {"val": {"type": "DegradedImageDataset", "dataroot_gt": "HR"}},
            "datasets: the section train is missing",
        ),
        ("train.total_iter", "many", "train.total_iter: must be a whole number above 0"),
        ("train.total_itr", 5, None),
        ("train.optim_g", {"type": "Adamm", "lr": 1}, "train.optim_g.type: .* did you mean 'Adam'"),
        ("train.optim_g.lrr", 1, "train.optim_g.lrr: Adam has no such argument; did you mean 'lr'"),
        ("train.scheduler.gama", 1, "train.scheduler.gama: .* did you mean 'gamma'"),
        ("train.scheduler", {"type": "MultiStepLR"}, "train.scheduler.milestones: is missing"),
        ("train.scheduler.type", "StepLR", "train.scheduler.type: there is no scheduler 'StepLR'"),
        ("train.pixel_opt.type", "L1", "train.pixel_opt.type: there is no loss 'L1'"),
        ("train.pixel_opt.weight", 1, "train.pixel_opt.weight: L1Loss has no such argument"),
        ("train.grad_clip_norm", -1, "train.grad_clip_norm: must be a number above 0"),
        ("train.gradient_accumulation", 3, "train.gradient_accumulation: must divide"),
        ("train.warm_start", "bilinear", "train.warm_start: must be 'bicubic'"),
        ("train.amp", "half", "train.amp: must be 'bf16' or 'fp16'"),
        ("train.compile", "fast", "train.compile: must be true or a backend .*inductor"),
        ("val.tile", "large", "val.tile: must be 'authors', 'none'"),
        (
            "val.metrics",
            {"psnr": {"type": "calculate_psnrr"}},
            "val.metrics.psnr.type: there is no",
        ),
        ("val.metrics", {"psnr": {"type": "calculate_psnr"}}, "psnr.crop_border: is missing"),
        ("val.metricss", {}, None),
        (
            "val.metrics.psnr",
            {"type": "calculate_psnr", "crop_border": 2, "test_y_chanel": True},
            "val.metrics.psnr.test_y_chanel: unknown key; did you mean 'test_y_channel'",
        ),
        ("val.metrics", ["psnr"], "val.metrics: must be a section"),
        ("path.pretrain_network_g", "no.pth", "path.pretrain_network_g: no.pth does not exist"),
        # The weights of this project are not meant by every file of that name.
        ("path.pretrain_network_g", "mine/tiny_x2.pth", "mine/tiny_x2.pth does not exist"),
        ("path.pretrain_netwrok_g", None, None),
        ("num_gpu", -1, "num_gpu: must be 'auto' or a whole number"),
        ("num_gpu", "two", "num_gpu: must be 'auto' or a whole number"),
        ("logger.print_frq", 1, None),
        ("logger.print_freq", "often", "logger.print_freq: must be a whole number above 0"),
        ("logger", 5, "logger: must be a section of keys and values, got 5"),
        ("path", "here", "path: must be a section"),
        ("path.pretrain_network_G", None, None),
        ("datasets", ["train"], "datasets: must be a section"),
        ("datasets.train", None, "datasets.train: must be a section .* is missing"),
        ("datasets.train.batch_size_per_gpu", "4", "batch_size_per_gpu: must be a whole number"),
        ("datasets.train.dataroot_gt", "HRR", "dataroot_gt: HRR: there is no such file or folder"),
        (
            "datasets.train.io_backend",
            {"type": "lmbd"},
            "io_backend.type: must be 'disk' or 'lmdb'",
        ),
        ("datasets.train.color", "Y", "datasets.train.color: must be 'y'"),
        ("scale", "two", "scale: must be a whole number above 0 and at most 64, got 'two'"),
        ("scale", 4, "network_g.upscale: the network enlarges by 2, but scale is 4"),
        ("name", 12, "name: must be text, got 12"),
        ("network_gg", {}, "network_gg: unknown key; did you mean 'network_g'"),
        ("network_g.embed_dim", 27, "network_g: embed_dim 27 is not a multiple of num_heads 2"),
        ("network_g.scan_backend", "trition", "network_g: scan_backend must be one of"),
        ("train.pixle_opt", {"type": "L1Loss"}, None),
        ("train.percptual_opt", {"type": "PerceptualLoss"}, None),
        ("train.optim_g.type", "LBFGS", "train.optim_g.type: torch.optim has no optimizer 'LBFGS'"),
    ],
)
def test_what_is_wrong_is_named(
    where: str, value: Any, message: str | None, tmp_path: Path
) -> None:
    """A message of ``None`` stands for the key itself, unknown, with a suggestion."""
    contents = edited(where, value)
    message = message or f"{where}: unknown key; did you mean"
    path = write(tmp_path, contents)
    with pytest.raises(OptionError, match=message) as raised:
        load_options(path, is_train=True)
    assert re.match(rf"{re.escape(str(path))}(:\d+)?: ", str(raised.value))


def test_unknown_keys_unlike_any_are_reported(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="option degradation_pool_shuffle is not known"):
        load_options(write(tmp_path, edited("degradation_pool_shuffle", 1)), is_train=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2", "a mapping of keys"),
        ("name: a\nname: b", ":2: duplicate key 'name'"),
        ("name: !!python/object/apply:os.abort []", "not valid YAML"),
    ],
)
def test_files_that_are_no_options(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        load_options(write(tmp_path, text), is_train=True)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"nowhere\.yml: the option file does not exist"):
        load_options(tmp_path / "nowhere.yml", is_train=True)


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, options())
    loaded = load_options(
        path,
        is_train=True,
        overrides=[
            "train:total_iter=7", "name=other", "manual_seed=none", "train:ema_decay=1e-1",
            "network_g:depths=[1, 1]",
        ],
    )  # fmt: skip
    assert (loaded["train"]["total_iter"], loaded["name"]) == (7, "other")
    assert loaded["manual_seed"] is None
    assert loaded["train"]["ema_decay"] == 0.1
    assert loaded["network_g"]["depths"] == [1, 1]
    for entry, message in (
        ("train.total_iter", "not of the form"),
        ("trian:total_iter=7", "there is no section 'trian'; did you mean 'train'"),
        ("train:optim_g=[", r"train:optim_g=\[: train.optim_g: must be a section"),
        ("network_g:embed_dimm=3", "embed_dimm"),
    ):
        with pytest.raises(OptionError, match=message):
            load_options(path, is_train=True, overrides=[entry])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "MambaIRPairedDataset"),
        ({"model_type": "SRModel"}, "PairedImageDataset"),
        ({"model_type": "SRModel", "task": "SR"}, "MambaIRPairedDataset"),
        ({"model_type": "SRModel", "dataroot_gt": ["HR"], "dataroot_lq": ["LR"]},
         "MambaIRPairedDataset"),
    ],
)  # fmt: skip
def test_which_paired_dataset_is_meant(change: dict, expected: str, tmp_path: Path) -> None:
    contents = options()
    contents["model_type"] = change.pop("model_type", contents["model_type"])
    contents["datasets"]["train"].update(change)
    loaded = load_options(write(tmp_path, contents), is_train=True)
    assert loaded["datasets"]["train"]["type"] == expected


def test_only_some_datasets_are_measured(tmp_path: Path) -> None:
    write_image(photograph(height=12, width=16), tmp_path / "HR" / "a.png")
    there = {"type": "DegradedImageDataset", "dataroot_gt": "HR"}
    contents = options(
        datasets={"test_1": {**there, "name": "Set5"}, "test_2": {**there, "dataroot_gt": "gone"}},
    )
    del contents["train"]
    path = write(tmp_path, contents)
    with pytest.raises(OptionError, match=r"gone: there is no (.|\n)*--only Set5"):
        load_options(path, is_train=False)
    assert [*load_options(path, is_train=False, only=["Set5"])["datasets"]] == ["test_1"]
    with pytest.raises(OptionError, match="--only Set55: no dataset .* did you mean 'Set5'"):
        load_options(path, is_train=False, only=["Set55"])


def test_dots_and_new_sections_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, options())
    entries = ["train.total_iter=7", "train:other_opt:type=MSELoss", "datasets.train.name={}x2",
               "train:other_opt:loss_weight=0.5"]  # fmt: skip
    loaded = load_options(path, is_train=True, overrides=entries)
    assert loaded["train"]["total_iter"] == 7
    assert loaded["train"]["other_opt"] == {"type": "MSELoss", "loss_weight": 0.5}
    assert loaded["datasets"]["train"]["name"] == "{}x2"
    with pytest.raises(OptionError, match="there is no option 'totl'"):
        load_options(path, is_train=True, overrides=["totl=7"])


def test_a_replaced_section_is_not_merged(tmp_path: Path) -> None:
    write(tmp_path, options()).rename(tmp_path / "base.yml")
    path = write(
        tmp_path,
        "extends: base.yml\ntrain:\n  scheduler: !replace\n    type: CosineAnnealingRestartLR\n",
    )
    scheduler = load_options(path, is_train=True)["train"]["scheduler"]
    assert scheduler == {
        "type": "CosineAnnealingRestartLR", "periods": [10], "restart_weights": [1],
    }  # fmt: skip


def test_every_problem_is_named_with_the_file_it_came_from(tmp_path: Path) -> None:
    write(tmp_path, edited("train.ema_decay", 2)).rename(tmp_path / "base.yml")
    path = write(tmp_path, "extends: base.yml\nscale: two\n")
    with pytest.raises(OptionError) as raised:
        load_options(path, is_train=True, overrides=["train.warmup_iter=soon"])
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith(f"{path}:2: scale: ") for line in lines)
    assert any(re.match(rf"{tmp_path}/base.yml:\d+: train.ema_decay: ", line) for line in lines)
    assert any("--force_yml train.warmup_iter=soon: train.warmup_iter: " in line for line in lines)


def test_defaults_are_filled_in_only_where_a_dataset_reads_them(tmp_path: Path) -> None:
    """A key that the user did not write is never reported as unknown."""
    contents = options()
    contents["datasets"]["train"] = {
        "type": "FFHQDataset", "dataroot_gt": "HR", "batch_size_per_gpu": 2,
        "mean": [0.5] * 3, "std": [0.5] * 3,
    }  # fmt: skip
    path = write(tmp_path, contents)
    completed = load_options(path, is_train=True, check_files=False)["datasets"]["train"]
    assert completed["use_hflip"] is True
    assert "use_rot" not in completed
