"""Losses in option files: what is refused before a run, and a run with several of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from basicsr_mambair.options import OptionError, load_options
from tests.basicsr_mambair.cli.test_train import option_file
from tests.conftest import run_basicsr


def with_losses(folder: Path, **sections: dict) -> Path:
    contents = yaml.safe_load(option_file(folder, total=2).read_text())
    contents["train"] |= sections
    path = folder / "run.yml"
    path.write_text(yaml.safe_dump(contents))
    return path


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "VGGLoss", "layer_weights": {"conv5_4": 1}},
         r"own_opt: VGGLoss needs .*vgg19-dcbb9e9d\.pth, which does not exist; download https://"),
        ({"type": "VGGLoss", "layer_weights": {"conv5_4": 1}, "weights": "mine.pth"},
         r"own_opt: VGGLoss needs mine\.pth, which does not exist; download .* and put it at mine"),
        ({"type": "VGGLoss", "layer_weights": {"conv5_5": 1}},
         "own_opt.layer_weights: vgg19 has no layer 'conv5_5'; did you mean"),
        ({"type": "VGGLoss", "layer_weights": {"conv5_4": -1}},
         "own_opt.layer_weights: conv5_4 must be a number of at least 0"),
        ({"type": "VGGLoss", "layer_weights": {}}, "own_opt.layer_weights: must be a section of"),
        ({"type": "VGGLoss", "layer_weights": {"conv5_4": 1}, "criterion": "l3"},
         "own_opt.criterion: must be 'l1' or 'l2' or 'fro'"),
        ({"type": "LPIPSLoss"}, r"own_opt: LPIPSLoss needs .*vgg16-397923af\.pth; download"),
        ({"type": "LPIPSLoss", "net": "vgg19"}, "own_opt.net: must be 'alex' or 'vgg' or"),
        ({"type": "DISTSLoss"}, r"own_opt: DISTSLoss needs .*vgg16-397923af\.pth; download"),
        ({"type": "MSSSIMLoss", "scales": 6}, "own_opt: scales: must be from 1 to 5, got 6"),
        ({"type": "ColorLoss", "sigma": 0}, "own_opt: sigma: must be above 0"),
        ({"type": "FFTLoss", "reduction": "none"}, "own_opt.reduction: must be 'mean' or 'sum'"),
        ({"type": "FFTLoss", "norm": "othro"}, "own_opt.norm: must be 'backward' or"),
        ({"type": "LDLLoss"}, "own_opt: needs a discriminator, which"),
        ({"type": "RelativisticGANLoss"}, "own_opt: needs a discriminator, which"),
        ({"type": "PerceptualLoss", "layer_weights": {"conv5_4": 1}, "criterion": "l2"},
         r"own_opt.criterion: must be l1 or fro \(VGGLoss has l2, too\), got 'l2'"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_named(
    section: dict, message: str, pairs: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    path = with_losses(pairs, own_opt=section)
    with pytest.raises(OptionError, match=message) as raised:
        load_options(path, is_train=True)
    assert len(str(raised.value).splitlines()) <= 2  # the file, and one sentence


def test_files_are_not_needed_to_check_the_rest(
    pairs: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    vgg = {"type": "VGGLoss", "layer_weights": {"conv5_4": 1}}
    path = with_losses(pairs, vgg_opt=vgg, lpips_opt={"type": "LPIPSLoss"})
    load_options(path, is_train=True, check_files=False)


def test_a_file_of_vgg19_is_not_taken_for_vgg16(
    pairs: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pairs)
    folder = pairs / "experiments" / "pretrained_models"
    folder.mkdir(parents=True)
    (folder / "vgg19-dcbb9e9d.pth").touch()
    section = {"type": "PerceptualLoss", "layer_weights": {"conv5_3": 1}, "vgg_type": "vgg16"}
    with pytest.raises(OptionError, match="vgg_type: BasicSR takes the weights from experiments/"):
        load_options(with_losses(pairs, own_opt=section), is_train=True)


@pytest.mark.slow
def test_a_run_computes_and_logs_them(pairs: Path, vgg_file: Path) -> None:
    path = with_losses(
        pairs,
        fft_opt={"type": "FFTLoss", "loss_weight": 0.05},
        focal_opt={"type": "FocalFrequencyLoss"},
        gradient_opt={"type": "GradientLoss"},
        color_opt={"type": "ColorLoss"},
        ms_ssim_opt={"type": "MSSSIMLoss"},
        vgg_opt={"type": "VGGLoss", "layer_weights": {"conv2_2": 0.1}, "weights": str(vgg_file)},
    )
    done = run_basicsr("train", "-opt", path, cwd=pairs)
    assert done.returncode == 0, done.stderr
    line = next(
        each for each in (done.stdout + done.stderr).splitlines() if "iter:       2" in each
    )
    for name in ("pix", "fft", "focal", "gradient", "color", "ms_ssim", "vgg"):
        value = re.search(rf"l_{name}: ([\d.e+-]+)", line)
        assert value is not None and float(value[1]) > 0, (name, line)
