"""The networks against outputs, losses and gradients of the authors' definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mambair import archs
from tests.conftest import Golden, read_golden

NAMES = ("car_gray", "classic_x4", "denoise_color", "light_x2", "realworld_x4")


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


def build(golden: Golden, **changes: object) -> nn.Module:
    net = getattr(archs, golden.arch)(**{**golden.config, **changes})
    net.load_state_dict(golden.state(), strict=True)
    return net


def largest_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max())


def test_output_without_noise(golden: Golden) -> None:
    net = build(golden, routing="argmax").eval()
    with torch.no_grad():
        output = net(golden.tensors["input"])
    assert largest_difference(output, golden.tensors["output.argmax"]) < 1e-4


def test_output_with_the_noise_of_the_global_generator(golden: Golden) -> None:
    net = build(golden, routing_seed=None).eval()
    torch.manual_seed(golden.gumbel_seed)
    with torch.no_grad():
        output = net(golden.tensors["input"])
    assert largest_difference(output, golden.tensors["output.gumbel"]) < 1e-4


@pytest.mark.parametrize("name", ["mambair_x2", "mambairunet"])
def test_output_without_routing(name: str) -> None:
    golden = read_golden(name)
    net = build(golden).eval()
    with torch.no_grad():
        output = net(golden.tensors["input"])
    assert largest_difference(output, golden.tensors["output"]) < 1e-4


@pytest.mark.parametrize("use_checkpoint", [False, True])
@pytest.mark.parametrize("name", [*NAMES, "mambairunet"])
def test_loss_and_gradients(name: str, use_checkpoint: bool) -> None:
    golden = read_golden(name)
    net = build(golden, use_checkpoint=use_checkpoint).train()
    torch.manual_seed(golden.gumbel_seed)
    loss = (net(golden.tensors["input"]) - golden.tensors["target"]).abs().mean()
    assert abs(float(loss - golden.tensors["train.loss"])) < 1e-5
    loss.backward()

    gradients = {name: p.grad for name, p in net.named_parameters()}
    assert gradients.keys() == golden.grad_norms.keys()
    for name, norm in golden.grad_norms.items():
        assert float(gradients[name].norm()) == pytest.approx(norm, rel=1e-3), name
    listed = [key for key in golden.tensors if key.startswith("grad.")]
    assert listed
    for key in listed:
        expected = golden.tensors[key]
        difference = largest_difference(gradients[key.removeprefix("grad.")], expected)
        assert difference < 1e-3 * expected.abs().max(), key
