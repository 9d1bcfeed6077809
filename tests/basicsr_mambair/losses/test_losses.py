"""Laws of every loss that the package registers: a new one is tested by being registered."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor

from basicsr_mambair.losses.ldl_loss import LDLLoss
from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, ReducedLoss
from tests.basicsr_mambair.models.test_restoration_model import batch, model

OWN = {
    name: cls for name, cls in LOSS_REGISTRY if cls.__module__.startswith("basicsr_mambair.losses.")
}
COMPARING = [name for name, cls in OWN.items() if issubclass(cls, ReducedLoss)]
PICTURE_LOSSES = [name for name, cls in OWN.items() if issubclass(cls, PictureLoss)]
# Arguments other than the defaults that a loss is tested with, too.
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "FFTLoss": [{"norm": "ortho"}],
    "FocalFrequencyLoss": [{"alpha": 0.5, "patch_factor": 2}],
    "ColorLoss": [{"sigma": 1.0}],
    "MSSSIMLoss": [{"scales": 1}, {"scales": 2}],
    "LDLLoss": [{"ksize": 3}],
    "LPIPSLoss": [],
    "VGGLoss": [{"criterion": "l2"}, {"criterion": "fro"}],
}
CASES = [(name, each) for name in COMPARING for each in ({}, *ARGUMENTS.get(name, ()))]
needs_files = pytest.mark.usefixtures("classifiers")


@pytest.fixture
def section(vgg_file: Path) -> Any:
    """Arguments of a loss, with the file it needs."""

    def complete(name: str, **arguments: Any) -> dict[str, Any]:
        if name == "VGGLoss":
            layers = {"conv1_2": 0.5, "relu2_1": 1, "conv2_2": 2}
            arguments = {"layer_weights": layers, "weights": str(vgg_file), **arguments}
        if name == "LPIPSLoss":
            arguments = {"net": "alex", **arguments}
        return arguments

    return complete


@pytest.fixture
def build(section: Any) -> Any:
    return lambda name, **arguments: OWN[name](**section(name, **arguments))


def pictures(size: int = 36) -> tuple[Tensor, Tensor]:
    """A picture with edges, colors and texture, and noise of the same shape; float64."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*[torch.linspace(0, 1, size, dtype=torch.float64)] * 2, indexing="ij")
    truth = torch.stack([(x > y).double() * 0.6 + 0.2, x * y, (9 * x).sin() * 0.3 + 0.5])
    truth = truth + 0.05 * torch.rand(2, 3, size, size, generator=generator, dtype=torch.float64)
    return truth, torch.randn(truth.shape, generator=generator, dtype=torch.float64)


def computed(loss: Any, pred: Tensor, target: Tensor, ema: Tensor | None = None) -> Tensor:
    if isinstance(loss, LDLLoss):
        return loss(pred, target, pred if ema is None else ema)
    return loss(pred, target)


def test_every_loss_is_documented() -> None:
    assert len(OWN) >= 10
    page = (Path(__file__).parents[3] / "docs" / "losses.md").read_text(encoding="utf-8")
    for name, cls in OWN.items():
        assert f"`{name}`" in page, name
        assert re.search(r"\((?:[^()]| et al)*(19|20)\d\d", cls.__doc__), f"{name}: its source"
        assert "loss_weight" in inspect.signature(cls).parameters


@needs_files
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_zero_for_equal_pictures_with_a_finite_gradient(
    name: str, arguments: dict, build: Any
) -> None:
    truth, _ = pictures()
    loss = build(name, **arguments).double()
    pred = truth.clone().requires_grad_()
    value = computed(loss, pred, truth)
    assert value.item() == pytest.approx(0, abs=1e-6)
    value.backward()
    assert torch.isfinite(pred.grad).all()


@needs_files
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_falls_as_the_picture_comes_nearer(name: str, arguments: dict, build: Any) -> None:
    truth, noise = pictures()
    loss = build(name, **arguments).double()
    values = [float(computed(loss, truth + sigma * noise, truth)) for sigma in (0.1, 0.05, 0.02, 0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[1] > values[2] > 1e-9


@needs_files
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_gradients(name: str, arguments: dict, build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, noise = pictures()
    truth, noise = truth[:1], noise[:1]
    loss = build(name, **arguments).double()
    pred = (truth + 0.05 * noise).requires_grad_()
    ema = truth + 0.04 * noise
    # Weights that are not differentiated are held where they are.
    for method in ("weights", "artifacts"):
        if hasattr(loss, method):
            inputs = (pred.detach(), truth, ema)[: 3 if method == "artifacts" else 2]
            held = getattr(loss, method)(*inputs)
            monkeypatch.setattr(loss, method, lambda *pictures, held=held: held)
    assert torch.autograd.gradcheck(
        lambda x: computed(loss, x, truth, ema), (pred,), fast_mode=True, atol=1e-6
    )


@needs_files
@pytest.mark.parametrize("name", COMPARING)
def test_weight_and_reduction(name: str, build: Any) -> None:
    truth, noise = pictures()
    pred = truth + 0.05 * noise
    each = computed(build(name, reduction="none").double(), pred, truth)
    mean = computed(build(name).double(), pred, truth)
    total = computed(build(name, reduction="sum").double(), pred, truth)
    weighted = computed(build(name, loss_weight=0.25).double(), pred, truth)
    assert each.ndim >= 1
    assert each.shape[0] == 2
    assert float(mean) == pytest.approx(float(each.mean()))
    assert float(total) == pytest.approx(float(each.sum()))
    assert float(weighted) == pytest.approx(float(mean) / 4)
    with pytest.raises(LossError, match="reduction: must be 'mean', 'sum' or 'none', got 'all'"):
        build(name, reduction="all")


@needs_files
@pytest.mark.parametrize("name", COMPARING)
def test_pictures_that_do_not_fit_are_named(name: str, build: Any) -> None:
    loss = build(name)
    with pytest.raises(LossError, match=f"{name}: the pictures have different shapes"):
        computed(loss, torch.rand(1, 3, 40, 40), torch.rand(1, 3, 20, 40), torch.rand(1, 3, 40, 40))
    if loss.channels:
        gray = torch.rand(1, 1, 40, 40)
        with pytest.raises(LossError, match=f"{name} needs 3 channels"):
            computed(loss, gray, gray)
    if loss.minimum_size > 1:
        small = torch.rand(1, 3, loss.minimum_size - 1, 40)
        with pytest.raises(LossError, match=f"{name} needs at least"):
            computed(loss, small, small)
        least = torch.rand(2, 1, 3, loss.minimum_size, 40)
        assert torch.isfinite(computed(loss, *least))


@pytest.mark.parametrize("name", [n for n in PICTURE_LOSSES if OWN[n].channels is None])
def test_gray_pictures(name: str, build: Any) -> None:
    truth, noise = (each[:, :1] for each in pictures())
    assert float(build(name).double()(truth + 0.05 * noise, truth)) > 0


@needs_files
@pytest.mark.parametrize("name", PICTURE_LOSSES)
def test_a_training_step(name: str, section: Any) -> None:
    own = {"type": name, "loss_weight": 0.5, **section(name)}
    trained = model(train={"own_opt": own})
    before = trained.net_g.conv_first.weight.clone()
    data = batch(2)
    data = {
        key: torch.nn.functional.interpolate(value, scale_factor=3) for key, value in data.items()
    }
    trained.feed_data(data)
    trained.optimize_parameters(1)
    assert list(trained.log_dict) == ["l_pix", "l_own"]
    assert trained.log_dict["l_own"] > 0
    assert not torch.equal(trained.net_g.conv_first.weight, before)
