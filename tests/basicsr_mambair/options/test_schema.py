"""The JSON Schema: current, true of every file of the project, and of use against slips."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from basicsr_mambair.cli.main import main
from basicsr_mambair.options.schema import schema_text
from basicsr_mambair.options.sources import OptionLoader
from tests.conftest import ROOT

SHIPPED = ROOT / "options" / "schema.json"
FILES = sorted((ROOT / "options").glob("*/*.yml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(SHIPPED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=OptionLoader)


def test_the_shipped_schema_is_current() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == schema_text(), (
        "run: basicsr schema -o options/schema.json"
    )


def test_the_command_writes_it(tmp_path: Path) -> None:
    printed = CliRunner().invoke(main, ["schema"])
    assert printed.exit_code == 0
    assert json.loads(printed.output)["$schema"].endswith("2020-12/schema")
    target = tmp_path / "schema.json"
    assert CliRunner().invoke(main, ["schema", "-o", str(target)]).exit_code == 0
    assert target.read_text(encoding="utf-8") == printed.output
    missing = CliRunner().invoke(main, ["schema", "-o", str(tmp_path / "no" / "schema.json")])
    assert missing.exit_code == 1
    assert "schema.json: No such file or directory" in missing.output


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_shipped_files_fit(path: Path, validator: Any) -> None:
    found = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(read(path))]
    assert not found
    first = path.read_text(encoding="utf-8").splitlines()[0]
    label, _, target = first.partition("=")
    assert label == "# yaml-language-server: $schema"
    assert (path.parent / target).resolve() == SHIPPED.resolve()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("modle_type", "MambaIRv2Model"),
        ("scale", "two"),
        ("scale", 0),
        ("num_gpu", "two"),
        ("imports", "my_package"),
        ("datasets.trian", {}),
        ("datasets.train.gt_sise", 32),
        ("datasets.train.use_hflip", "yes please"),
        ("datasets.train.batch_size_per_gpu", 0),
        ("datasets.train.prefetch_mode", "gpu"),
        ("datasets.train.io_backend", {"type": "lmbd"}),
        ("network_g.embed_dimm", 48),
        ("network_g.embed_dim", "wide"),
        ("netwrok_g", {}),
        ("path.strict_load_g", "maybe"),
        ("path.pretrain_netwrok_g", "x.pth"),
        ("train.total_iter", "many"),
        ("train.total_itr", 5),
        ("train.pixel_opt.weight", 1),
        ("train.pixel_opt", "L1Loss"),
        ("train.scheduler.gama", 0.5),
        ("train.ema_decay", 1),
        ("val.tile_overlap", "wide"),
        ("val.metrics.psnr.test_y_chanel", True),
        ("val.metrics.psnr.crop_border", -1),
        ("val.savee_img", True),
        ("logger.print_frq", 1),
        ("logger.wandb", {"projekt": "x"}),
        ("published", {"task": "super-resolution"}),
    ],
)
def test_slips_are_marked(where: str, value: object, validator: Any) -> None:
    options = whole_file()
    assert validator.is_valid(options)
    assert not validator.is_valid(edited(options, where, value))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("scale", "${network_g.upscale}"),
        ("train.total_iter", 5e5),
        ("train.scheduler", None),
        ("datasets.val_2", None),
        ("datasets.train.mean", ["${a}", 0.5, 0.5]),
        ("extends", ["a.yml", "b.yml"]),
        ("imports", ["my_package.archs"]),
        ("train.my_own_opt", {"type": "MyLoss", "anything": 1}),
        ("network_g", {"type": "MyNetwork", "anything": 1}),
        ("datasets.train", {"type": "MyDataset", "anything": 1}),
        ("datasets.train", {"gt_size": 32}),
        ("path.param_key_d", None),
    ],
)
def test_what_files_may_hold(where: str, value: object, validator: Any) -> None:
    assert validator.is_valid(edited(whole_file(), where, value))


def test_models_of_other_packages_have_keys_of_their_own(validator: Any) -> None:
    options = edited(whole_file(), "degradation_pool", 180)
    assert not validator.is_valid(options)
    assert validator.is_valid({**options, "model_type": "MyModel"})


def whole_file() -> dict[str, Any]:
    """The quickstart with one metric and a schedule by milestones."""
    options: dict[str, Any] = read(ROOT / "options" / "train" / "quickstart.yml")
    options["train"]["scheduler"] = {"type": "MultiStepLR", "milestones": [5]}
    options["val"]["metrics"] = {"psnr": {"type": "calculate_psnr", "crop_border": 2}}
    return options


def edited(options: dict[str, Any], where: str, value: object) -> dict[str, Any]:
    options = copy.deepcopy(options)
    section = options
    *parents, last = where.split(".")
    for key in parents:
        section = section.setdefault(key, {})
    section[last] = value
    return options
