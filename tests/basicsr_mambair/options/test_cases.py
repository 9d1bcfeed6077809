"""Option files that once went wrong, by the commands that users run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from basicsr_mambair.options import OptionError, load_options
from tests.conftest import ROOT, photograph, run_basicsr, tiny_network

CASES = ROOT / "tests" / "data" / "cases"


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("HR", "hr"):
        (tmp_path / folder).mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / folder / "a.png"), photograph())
    (tmp_path / "meta.txt").write_text("a.png (96,128,3)\n")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_basicsr(*arguments, cwd=Path.cwd())


def write(contents: dict[str, Any], name: str = "run.yml") -> str:
    Path(name).write_text(yaml.safe_dump(contents), encoding="utf-8")
    return name


def case(name: str) -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load((CASES / name).read_text(encoding="utf-8"))
    return options


def training(**changes: Any) -> dict[str, Any]:
    data = {
        "type": "DegradedImageDataset", "dataroot_gt": "HR", "gt_size": 32,
        "batch_size_per_gpu": 1, "num_worker_per_gpu": 0,
    }  # fmt: skip
    return {
        "name": "run",
        "model_type": "MambaIRv2Model",
        "scale": 2,
        "num_gpu": 0,
        "datasets": {"train": data},
        "network_g": tiny_network(),
        "train": {
            "total_iter": 1,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [5]},
            "pixel_opt": {"type": "L1Loss"},
        },
        **changes,
    }


def for_testing(**datasets: Any) -> dict[str, Any]:
    options = training(datasets=datasets)
    del options["train"]
    return options


def test_a_key_that_a_model_reads_without_default() -> None:
    options = case("realesrnet_otf.yml")
    options["model_type"] = "RealESRNetModel_basicsr"  # this project's has a default
    load_options(write(options), is_train=True)
    del options["gt_usm"]
    done = run("train", "-opt", write(options))
    assert done.returncode == 1
    assert "run.yml: gt_usm: is missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("experiments").exists()


@pytest.mark.parametrize("window_size", [8, 16])
def test_published_files_name_a_key_that_mambair_ignores(window_size: int) -> None:
    network = {
        "type": "MambaIR", "upscale": 2, "img_size": 16, "embed_dim": 8, "d_state": 2,
        "depths": [1], "mlp_ratio": 1, "upsampler": "pixelshuffledirect",
        "window_size": window_size,
    }  # fmt: skip
    options = training(network_g=network, model_type="MambaIRModel")
    with pytest.warns(UserWarning, match=r"network_g.window_size: MambaIR has no windows"):
        loaded = load_options(write(options), is_train=True)
    assert "window_size" not in loaded["network_g"]


@pytest.mark.parametrize("kind", ["HATModel", "DATModel"])
def test_models_of_other_packages(kind: str) -> None:
    with pytest.raises(OptionError, match=rf"model_type: there is no model '{kind}'") as raised:
        load_options(write(training(model_type=kind)), is_train=True)
    assert "imports: [my_package.my_module]" in str(raised.value)
    assert "did you mean" not in str(raised.value)


def test_networks_of_other_packages() -> None:
    options = training(network_g={"type": "BSRN", "num_feat": 8})
    with pytest.raises(OptionError, match=r"network_g.type: there is no arch 'BSRN'") as raised:
        load_options(write(options), is_train=True)
    assert "imports: [my_package.my_module]" in str(raised.value)
    assert "did you mean" not in str(raised.value)


def test_a_network_and_a_loss_of_ones_own() -> None:
    Path("my_networks.py").write_text(
        "import torch\n"
        "from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY\n"
        "@ARCH_REGISTRY.register()\n"
        "class MyNetwork(torch.nn.Module):\n"
        "    def __init__(self, feats=4):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 12, 3, padding=1)\n"
        "    def forward(self, x):\n"
        "        return torch.nn.functional.pixel_shuffle(self.conv(x), 2)\n"
        "@LOSS_REGISTRY.register()\n"
        "class MyLoss(torch.nn.Module):\n"
        "    def __init__(self, loss_weight=1.0):\n"
        "        super().__init__()\n"
        "        self.loss_weight = loss_weight\n"
        "    def forward(self, x, y):\n"
        "        return self.loss_weight * (x - y).abs().mean()\n"
    )
    options = training(imports=["my_networks"], network_g={"type": "MyNetwork"})
    options["train"]["frequency_opt"] = {"type": "MyLoss", "loss_weight": 0.5}
    options["logger"] = {"print_freq": 1, "save_checkpoint_freq": 1}
    done = run("train", "-opt", write(options))
    assert done.returncode == 0, done.stderr
    (log,) = Path("experiments/run").glob("train_*.log")
    assert "l_pix" in log.read_text() or "l_pixel" in log.read_text()
    assert "l_frequency" in log.read_text()


def test_packages_that_logging_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr_mambair.options import surroundings

    monkeypatch.setattr(surroundings, "_is_installed", lambda package: False)
    path = write(training(logger={"use_tb_logger": True, "wandb": {"project": "mine"}}))
    with pytest.raises(OptionError) as raised:
        load_options(path, is_train=True)
    text = str(raised.value)
    assert "logger.use_tb_logger: needs the package tensorboard: pip install tensorboard" in text
    assert "logger.wandb.project: needs the package wandb: pip install wandb" in text


def test_vgg_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def fail(url: str, target: str) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", "cache")
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    options = training()
    options["train"]["perceptual_opt"] = {
        "type": "PerceptualLoss", "layer_weights": {"conv5_4": 1},
    }  # fmt: skip
    path = write(options)
    with pytest.raises(OptionError, match=r"PerceptualLoss needs the weights of vgg19") as raised:
        load_options(path, is_train=True)
    assert "put https://" in str(raised.value)
    assert "vgg19-dcbb9e9d.pth" in str(raised.value)


def test_psnr_without_true_pictures() -> None:
    options = case("test_single.yml")
    options["datasets"]["test_1"]["dataroot_lq"] = "HR"
    done = run("test", "-opt", write(options))
    assert done.returncode == 1
    assert "val.metrics.psnr: calculate_psnr compares with true pictures" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("results").exists()


def test_some_datasets_of_a_file() -> None:
    there = {"type": "DegradedImageDataset", "dataroot_gt": "HR", "name": "Here"}
    options = for_testing(test_1=there, test_2={**there, "dataroot_gt": "gone", "name": "Gone"})
    options["val"] = {
        "save_img": False, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2}},
    }  # fmt: skip
    refused = run("test", "-opt", write(options))
    assert refused.returncode == 1
    assert "--only Here" in refused.stderr
    done = run("test", "-opt", "run.yml", "--only", "Here")
    assert done.returncode == 0, done.stderr
    (log,) = Path("results/run").glob("test_*.log")
    assert "Here" in log.read_text()
    assert "psnr" in log.read_text()


def test_the_documented_change_of_the_quickstart() -> None:
    quickstart = ROOT / "options" / "train" / "quickstart.yml"
    loaded = load_options(quickstart, is_train=True, overrides=["train:total_iter=1000"])
    assert loaded["train"]["total_iter"] == 1000
    assert loaded["train"]["scheduler"]["periods"] == [1000]


def test_a_short_quickstart_trains() -> None:
    done = run(
        "train", "-opt", str(ROOT / "options" / "train" / "quickstart.yml"), "--force_yml",
        "train:total_iter=2", "datasets:val:include=[coffee.png]", "logger:print_freq=1",
        "num_gpu=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path("experiments/quickstart/models/net_g_latest.pth").is_file()


def test_validate() -> None:
    good = run("validate", "-opt", write(training(), "good.yml"))
    assert (good.returncode, good.stdout.strip()) == (0, "good.yml: valid, for training")
    options = training(scale="two")
    options["train"]["total_itr"] = 5
    write(options, "bad.yml")
    lines = Path("bad.yml").read_text().splitlines()
    scale = lines.index("scale: two") + 1
    total = lines.index("  total_itr: 5") + 1
    bad = run("validate", "-opt", "good.yml", "-opt", "bad.yml", "-opt", "none.yml")
    assert bad.returncode == 1
    assert "good.yml: valid" in bad.stdout
    assert f"bad.yml:{scale}: scale: must be a whole number" in bad.stderr
    assert f"bad.yml:{total}: train.total_itr: unknown key; did you mean" in bad.stderr
    assert "none.yml: the option file does not exist" in bad.stderr
    folder = run("validate", ".")
    assert (folder.returncode, folder.stderr.strip()) == (1, ".: is not a file")
    assert run("validate", "good.yml").returncode == 0
    assert "no option file is named" in run("validate").stderr
    assert "Traceback" not in bad.stderr
    assert not Path("experiments").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"include": ["none.png"]}, "datasets.val.include: "),
        ({"include": ["coffee.png", "none.png"]}, "is named 'none.png'"),
        ({"include": []}, "datasets.val.include: "),
        ({"exclude": "*"}, "datasets.val.exclude: "),
        ({"dataroot_gt": "empty"}, "datasets.val.dataroot_gt: empty: no picture in this folder"),
    ],
)
def test_pictures_of_validation_are_looked_for_first(change: dict[str, Any], message: str) -> None:
    Path("empty").mkdir()
    options = training()
    options["datasets"]["val"] = {
        "name": "some", "type": "DegradedImageDataset", "dataroot_gt": "pkg://skimage/data",
        "include": ["coffee.png"], "degradation": "bicubic", "io_backend": {"type": "disk"},
    }  # fmt: skip
    assert run("validate", write(options, "good.yml")).returncode == 0
    options["datasets"]["val"].update(change)
    refused = run("validate", write(options, "bad.yml"))
    assert refused.returncode == 1
    assert message in refused.stderr


@pytest.mark.parametrize("key", ["meta_info", "meta_info_file"])
def test_listed_pictures_are_not_looked_for_by_pattern(key: str) -> None:
    """The folder itself holds no picture, as those of HAT's files."""
    Path("all/DF2K").mkdir(parents=True)
    shutil.copy(next(Path("HR").iterdir()), "all/DF2K/a.png")
    Path("listed.txt").write_text("DF2K/a.png\n")
    options = training()
    options["datasets"]["train"] = {
        "name": "some", "type": "RealESRGANDataset", "dataroot_gt": "all", key: "listed.txt",
        "io_backend": {"type": "disk"}, "gt_size": 32, "batch_size_per_gpu": 2,
    }  # fmt: skip
    done = run("validate", write(options, "listed.yml"))
    assert "no picture in this folder" not in done.stderr
    del options["datasets"]["train"][key]
    done = run("validate", write(options, "folder.yml"))
    assert "dataroot_gt: all: no picture in this folder" in done.stderr


WITHOUT_BASICSR = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "basicsr":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import importlib.util
sys.meta_path.insert(0, Absent())
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "basicsr" else real(name, *rest)
from basicsr_mambair.cli.main import main
main(sys.argv[1:], prog_name="basicsr")
"""


def without_basicsr(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_BASICSR, *arguments], capture_output=True, text=True
    )


def test_complexity_where_basicsr_cannot_be_installed() -> None:
    done = without_basicsr("complexity", "-opt", str(ROOT / "options" / "test" / "tiny_x2.yml"))
    assert done.returncode == 0, done.stderr
    assert "257,988" in done.stdout
    write(for_testing(test_1={}) | {"network_g": {"type": "EDSR"}})
    unknown = without_basicsr("complexity", "-opt", "run.yml")
    assert unknown.returncode == 1
    assert "network_g.type" in unknown.stderr
    assert "BasicSR, which has more, is not installed" in unknown.stderr


def test_what_needs_basicsr_says_so() -> None:
    shutil.copy(ROOT / "options" / "test" / "tiny_x2.yml", "run.yml")
    done = without_basicsr("validate", "-opt", "run.yml")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "basicsr" in done.stderr.lower()
