"""Beside pip's ``realesrgan`` and a package like HAT's: which class wins, and all of them train."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from basicsr_mambair.data.degradations import DEGRADATIONS, build_degradation
from basicsr_mambair.options import load_options
from tests.conftest import ROOT, photograph, run_basicsr

CASE = ROOT / "tests" / "data" / "cases" / "realesrnet_otf.yml"

needs_realesrgan = pytest.mark.skipif(
    importlib.util.find_spec("realesrgan") is None,
    reason="pip's realesrgan is not installed: pip install --no-deps realesrgan==0.3.0",
)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An option file of Real-ESRGAN whose ``network_g`` is one of this project."""
    monkeypatch.chdir(tmp_path)
    Path("hr").mkdir()
    for name in ("astronaut", "coffee"):
        assert cv2.imwrite(f"hr/{name}.png", photograph(name))
    Path("meta.txt").write_text("astronaut.png (96,128,3)\ncoffee.png (96,128,3)\n")
    loaded: dict[str, Any] = yaml.safe_load(CASE.read_text(encoding="utf-8"))
    loaded["train"]["total_iter"] = 2
    return loaded


def write(contents: dict[str, Any]) -> str:
    Path("run.yml").write_text(yaml.safe_dump(contents), encoding="utf-8")
    return "run.yml"


def with_discriminator(options: dict[str, Any], kind: str) -> dict[str, Any]:
    options.update(model_type=kind, l1_gt_usm=True, percep_gt_usm=True, gan_gt_usm=False)
    options.pop("gt_usm", None)
    options["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
    options["train"] |= {
        "gan_opt": {"type": "GANLoss", "gan_type": "vanilla"},
        "optim_d": {"type": "Adam", "lr": 1e-4},
    }
    return options


def train(options: dict[str, Any]) -> str:
    done = run_basicsr("train", "-opt", write(options), cwd=Path.cwd(), timeout=900)
    assert done.returncode == 0, done.stderr
    assert Path("experiments/otf/models/net_g_latest.pth").is_file()
    return done.stdout + done.stderr


def test_an_option_file_of_real_esrgan_trains_with_ours(options: dict[str, Any]) -> None:
    loaded = load_options(write(options), is_train=True)
    assert loaded["model_type"] == "RealESRNetModel_mambair"
    assert loaded["datasets"]["train"]["type"] == "RealESRGANDataset_mambair"
    assert "is that of" not in train(options)


def test_a_suffix_asks_for_basicsrs(options: dict[str, Any]) -> None:
    options["model_type"] = "RealESRNetModel_basicsr"
    options["datasets"]["train"]["type"] = "RealESRGANDataset_basicsr"
    loaded = load_options(write(options), is_train=True)
    assert loaded["model_type"] == "RealESRNetModel_basicsr"
    del options["gt_usm"]
    with pytest.raises(ValueError, match="gt_usm: is missing"):
        load_options(write(options), is_train=True)


@needs_realesrgan
@pytest.mark.parametrize("first", ["realesrgan", "basicsr_mambair"])
def test_both_orders_of_import(first: str) -> None:
    code = f"""
import basicsr_mambair.repairs
basicsr_mambair.repairs.apply_import_repairs()  # without which realesrgan cannot be imported first
import importlib
for name in sorted(["realesrgan", "basicsr_mambair"], key=lambda name: name != {first!r}):
    importlib.import_module(name)
import basicsr.models
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY
for registry, names in ((MODEL_REGISTRY, ("RealESRGANModel", "RealESRNetModel")),
                        (DATASET_REGISTRY, ("RealESRGANDataset", "RealESRGANPairedDataset"))):
    for name in names:
        modules = [registry.get(name + suffix).__module__.split(".")[0]
                   for suffix in ("", "_mambair", "_basicsr")]
        assert modules == ["realesrgan", "basicsr_mambair", "basicsr"], modules
from basicsr.losses.losses import GANLoss, L1Loss, PerceptualLoss
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_realesrgan
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RealESRNetModel", "RealESRGANModel"])
def test_its_own_models_train_on_a_cpu(kind: str, options: dict[str, Any]) -> None:
    if "GAN" in kind:
        options = with_discriminator(options, kind)
    options["imports"] = ["realesrgan"]
    said = train(options)
    assert f"model_type: {kind} is that of realesrgan.models" in " ".join(said.split())
    assert "is that of realesrgan.data.realesrgan_dataset" in " ".join(said.split())


_LIKE_HAT = '''
import torch
from basicsr.models.srgan_model import SRGANModel
from basicsr.utils import DiffJPEG, USMSharp
from basicsr.utils.img_process_util import filter2D
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class RealHATGANModel(SRGANModel):
    """Degrades in feed_data by the kernels of the data set, and keeps a pool."""

    def __init__(self, opt):
        super().__init__(opt)
        self.jpeger = DiffJPEG(differentiable=False).cuda()
        self.usm_sharpener = USMSharp().cuda()

    @torch.no_grad()
    def feed_data(self, data):
        if "lq" in data:
            return super().feed_data(data)
        self.gt = self.usm_sharpener(data["gt"].to(self.device))
        out = filter2D(self.gt, data["kernel1"].to(self.device))
        out = self.jpeger(out.clamp(0, 1), quality=torch.full((len(out),), 60.0).cuda())
        out = filter2D(out, data["kernel2"].to(self.device))
        out = torch.nn.functional.interpolate(out, scale_factor=1 / self.opt["scale"], mode="area")
        self.lq = filter2D(out, data["sinc_kernel"].to(self.device))
        self.pool = torch.zeros(4, *self.lq.shape[1:]).cuda()
'''


def test_a_model_like_hats_trains_on_a_cpu_with_our_data(options: dict[str, Any]) -> None:
    Path("hat_like.py").write_text(_LIKE_HAT)
    options = with_discriminator(options, "RealHATGANModel")
    options["imports"] = ["hat_like"]
    options["datasets"]["train"]["crop_size"] = 96
    said = train(options)
    assert "Model [RealHATGANModel] is created" in said


@needs_realesrgan
def test_the_same_degradation_from_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blurs, resizing, JPEG, their order and the sharpening; without noise."""
    import realesrgan.models.realesrgan_model as theirs

    from basicsr_mambair.models.usm import sharpen_by_usm

    silent = {"noise_range": [0, 0], "poisson_scale_range": [0, 0]}
    silent |= {f"{key}2": value for key, value in silent.items()}
    pipeline = build_degradation({"type": "second_order", **silent}, 2)
    blur = build_degradation({"type": "mixed_blur"}, 1)
    sinc: Any = DEGRADATIONS["sinc_blur"](size=(7, 21))
    picture = torch.from_numpy(photograph("astronaut", 96, 96)[..., ::-1].copy())
    picture = picture.permute(2, 0, 1)[None].float() / 255
    for seed in range(6):
        drawn = pipeline.draw(np.random.default_rng(seed))
        model = _their_model(theirs, drawn)
        _script(monkeypatch, drawn)
        rounds = [drawn["first"].get("blur"), drawn["second"].get("blur")]
        kernels = [_kernel(blur, each) for each in rounds]
        kernels.append(_kernel(sinc, drawn["end"].get("sinc")))
        names = ("kernel1", "kernel2", "sinc_kernel")
        model.feed_data({"gt": picture, **dict(zip(names, kernels, strict=True))})
        monkeypatch.undo()
        ours = pipeline.apply_batch(sharpen_by_usm(picture), [drawn])
        # JPEG rounds: a hair's breadth before it is a step of its tables after it, in some blocks.
        assert ((ours - model.lq).abs() > 1e-5).float().mean() < 0.02, seed
        assert (ours - model.lq).abs().mean() < 2e-4, seed


def _their_model(module: Any, drawn: dict[str, Any]) -> Any:
    from basicsr.utils import DiffJPEG, USMSharp

    model = module.RealESRGANModel.__new__(module.RealESRGANModel)
    model.device, model.is_train = torch.device("cpu"), True
    model.usm_sharpener, model.jpeger = USMSharp(), DiffJPEG(differentiable=False)
    model.queue_size = 4
    model.opt = {"scale": 2, "gt_size": 96}
    for suffix, each in (("", drawn["first"]), ("2", drawn["second"])):
        quality = float(np.ravel(each["quality"])[0])
        model.opt |= {
            f"jpeg_range{suffix}": [quality, quality],
            f"resize_prob{suffix}": [1, 1, 1],
            f"resize_range{suffix}": [1, 1],
            f"gray_noise_prob{suffix}": 0,
            f"gaussian_noise_prob{suffix}": 1,
            f"noise_range{suffix}": [0, 0],
            f"poisson_scale_range{suffix}": [0, 0],
            "second_blur_prob": 0.5,
        }
    return model


def _script(monkeypatch: pytest.MonkeyPatch, drawn: dict[str, Any]) -> None:
    """Makes the generators that the other package reads say what was drawn here."""
    directions, factors, methods = [], [], []
    for each in (drawn["first"], drawn["second"]):
        factor = each["factor"]
        directions.append("keep" if factor == 1 else "up" if factor > 1 else "down")
        factors += [factor] if factor != 1 else []
        methods.append(each["method"])
    methods.append(drawn["end"]["method"])
    # In the order of the questions: Gaussian noise, second blur, Gaussian noise, JPEG first.
    answers = [0.0, 0.0 if "blur" in drawn["second"] else 1.0, 0.0]
    answers.append(1.0 if drawn["end"]["jpeg_first"] else 0.0)
    monkeypatch.setattr(random, "choices", lambda *_: [directions.pop(0)])
    monkeypatch.setattr(random, "choice", lambda _: methods.pop(0))
    monkeypatch.setattr(random, "randint", lambda low, high: low)
    monkeypatch.setattr(
        np.random, "uniform", lambda *limits: factors.pop(0) if limits else answers.pop(0)
    )


def _kernel(blur: Any, drawn: Any) -> torch.Tensor:
    kernel = np.ones((1, 1)) if drawn is None else blur.kernel(drawn)
    return torch.from_numpy(np.pad(kernel, (21 - len(kernel)) // 2)).float()[None]
