"""The discriminators: what they see, and that a loss of BasicSR takes their output."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from torch import Tensor

from basicsr_mambair.options import OptionError, load_options
from tests.basicsr_mambair.options.test_load import _folders, options, write  # noqa: F401


def discriminator(name: str = "PatchDiscriminatorSN", **arguments: Any) -> Any:
    torch.manual_seed(0)
    return build_network({"type": name, "num_feat": 4, **arguments})


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_is_of_the_size_stated(layers: int, seen: int) -> None:
    net = discriminator(num_layers=layers)
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    logits = net(x)
    side = 128 // 2**layers - 2
    assert logits.shape == (1, 1, side, side)
    logits[0, 0, side // 2, side // 2].backward()
    touched = x.grad[0].abs().sum(dim=0) > 0
    assert int(touched.any(dim=0).sum()) == int(touched.any(dim=1).sum()) == seen


def test_every_convolution_is_normalized() -> None:
    net = discriminator()
    for _ in range(100):  # power iterations
        net(torch.rand(1, 3, 24, 24))
    net.eval()
    for layer in net.layers[::2]:
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert float(norm) == pytest.approx(1, abs=0.02)


def test_small_pictures_and_bad_arguments_are_named() -> None:
    assert discriminator()(torch.rand(1, 3, 24, 24)).numel() == 1
    with pytest.raises(ValueError, match="needs at least 24×24 pixels, got 23×30"):
        discriminator()(torch.rand(1, 3, 23, 30))
    with pytest.raises(ValueError, match="num_layers: must be above 0, got 0"):
        discriminator(num_layers=0)
    with pytest.raises(ValueError, match="num_scales: must be above 0, got 0"):
        discriminator("MultiScaleDiscriminatorSN", num_scales=0)


def test_scales_are_judged_by_discriminators_of_their_own() -> None:
    net = discriminator("MultiScaleDiscriminatorSN", num_layers=2, num_scales=3)
    logits = net(torch.rand(2, 3, 64, 64))
    assert [each.shape for each in logits] == [(2, 1, s, s) for s in (14, 6, 2)]
    first, second = (scale.layers[0].weight for scale in net.scales[:2])
    assert not torch.equal(first, second)


LOSSES = [
    {"type": "MultiScaleGANLoss", "gan_type": "hinge"},
    {"type": "RelativisticGANLoss", "gan_type": "vanilla"},
    {"type": "RelativisticGANLoss", "gan_type": "hinge"},
]


@pytest.mark.parametrize("section", LOSSES, ids=lambda each: "-".join(each.values()))
def test_it_learns_to_tell_noise_from_smooth_pictures(section: dict) -> None:
    net = discriminator("MultiScaleDiscriminatorSN", num_layers=1, num_scales=2)
    loss = build_loss(section)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    history = []
    for _ in range(15):
        fake = torch.rand(4, 3, 24, 24, generator=generator)
        real = torch.nn.functional.avg_pool2d(fake, 9, 1, 4)
        value = _loss(loss, net(fake), net(real))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < 0.95 * history[0]


def _loss(loss: Any, fake: Any, real: Any) -> Tensor:
    if hasattr(loss, "discriminator"):
        return loss.discriminator(fake, real)
    return loss(fake, False, is_disc=True) + loss(real, True, is_disc=True)


def test_weights_go_through_a_file(tmp_path: Path) -> None:
    net = discriminator("MultiScaleDiscriminatorSN", num_layers=1, num_scales=2)
    net(torch.rand(1, 3, 32, 32))
    torch.save(net.state_dict(), tmp_path / "d.pth")
    other = copy.deepcopy(net)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(torch.load(tmp_path / "d.pth"))
    x = torch.rand(1, 3, 32, 32)
    for own, loaded in zip(net.eval()(x), other.eval()(x), strict=True):
        assert torch.equal(own, loaded)


def test_option_files_are_checked(tmp_path: Path) -> None:
    contents = options(model_type="ESRGANModel")
    contents["train"] |= {
        "optim_d": {"type": "Adam", "lr": 1e-4},
        "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
    }
    contents["network_d"] = {"type": "PatchDiscriminatorSN", "num_feat": 4}
    load_options(write(tmp_path, contents), is_train=True)
    contents["network_d"]["num_layer"] = 2
    with pytest.raises(OptionError, match="network_d.num_layer: .*did you mean 'num_layers'"):
        load_options(write(tmp_path, contents), is_train=True)
