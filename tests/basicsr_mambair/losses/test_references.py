"""Losses against formulas and other implementations."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from basicsr.losses.gan_loss import GANLoss
from basicsr.losses.loss_util import get_refined_artifact_map
from torch import Tensor

from basicsr_mambair.classifiers import PerceptualUnavailableError
from basicsr_mambair.losses.color_loss import ColorLoss
from basicsr_mambair.losses.fft_loss import FFTLoss
from basicsr_mambair.losses.focal_frequency_loss import FocalFrequencyLoss
from basicsr_mambair.losses.gradient_loss import GradientLoss
from basicsr_mambair.losses.ldl_loss import LDLLoss
from basicsr_mambair.losses.ms_ssim_loss import MSSSIMLoss
from basicsr_mambair.losses.picture_loss import LossError
from basicsr_mambair.losses.relativistic_gan_loss import RelativisticGANLoss
from basicsr_mambair.losses.vgg_loss import VGGLoss


def pair(size: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (2, channels, size, size)
    truth = torch.rand(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (truth + 0.1 * noise).clamp(0, 1), truth


def test_fft_is_the_l1_of_numpys() -> None:
    pred, truth = pair(16)
    spectrum = torch.from_numpy(np.fft.rfft2((pred - truth).numpy()))
    expected = (spectrum.real.abs().mean() + spectrum.imag.abs().mean()) / 2
    torch.testing.assert_close(FFTLoss()(pred, truth), expected)
    orthonormal = FFTLoss(norm="ortho")(pred, truth)
    torch.testing.assert_close(orthonormal, expected / 16)


def test_focal_frequency_without_focus_is_the_mean_square() -> None:
    pred, truth = pair(16)
    expected = (pred - truth).square().mean()  # Parseval
    torch.testing.assert_close(FocalFrequencyLoss(alpha=0)(pred, truth), expected)
    parts = FocalFrequencyLoss(alpha=0, patch_factor=4)(pred, truth)
    torch.testing.assert_close(parts, expected)


def test_focal_frequency_weights_the_worst_most() -> None:
    # One frequency is wrong by twice as much as another: weights 1 and ½.
    x = torch.arange(16, dtype=torch.float64) / 16
    wave, half = (2 * torch.pi * x).cos(), 0.5 * (6 * torch.pi * x).cos()
    truth = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    of = [float(FocalFrequencyLoss()(truth + each, truth)) for each in (wave, half, wave + half)]
    assert of[0] == pytest.approx(0.5)  # alone, each has the weight 1
    assert of[1] == pytest.approx(0.125)
    assert of[2] == pytest.approx(0.5 + 0.125 / 2)
    with pytest.raises(LossError, match="patch_factor 5 does not divide pictures of 16×16"):
        FocalFrequencyLoss(patch_factor=5)(truth, truth)


def test_gradient_of_a_ramp() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8) * 0.1
    loss = GradientLoss(reduction="none")(ramp, torch.zeros(1, 1, 8, 8))
    torch.testing.assert_close(loss[:, :, 0], torch.full((1, 1, 6, 6), 0.1))
    torch.testing.assert_close(loss[:, :, 1], torch.zeros(1, 1, 6, 6), atol=1e-6, rtol=0)


def test_color_ignores_brightness_and_fine_texture() -> None:
    truth = torch.full((1, 3, 32, 32), 0.5)
    loss = ColorLoss()
    assert float(loss(truth + 0.2, truth)) < 1e-6
    checkers = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2 - 1) * 0.2
    red = torch.tensor([1.0, 0, 0])[:, None, None]
    texture = float(loss(truth + checkers * red, truth))
    tint = float(loss(truth + 0.2 * red, truth))
    assert texture < 0.01 * tint
    assert tint == pytest.approx((0.2 * 0.299 / 1.772 + 0.2 * 0.5) / 2, rel=1e-5)


@pytest.mark.parametrize(("size", "fitting"), [(176, 5), (175, 4), (64, 3), (22, 2), (21, 1)])
def test_ms_ssim_takes_the_scales_that_fit(size: int, fitting: int) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    exponents = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:fitting]
    exponents = exponents / exponents.sum()
    pred, truth = pair(size)
    expected = _ms_ssim(functional, pred, truth, exponents)
    assert float(MSSSIMLoss()(pred, truth)) == pytest.approx(1 - float(expected), abs=1e-5)
    assert float(MSSSIMLoss(scales=fitting)(pred, truth)) == float(MSSSIMLoss()(pred, truth))
    if fitting < 5:
        with pytest.raises(LossError, match=rf"\d scales need \d+ pixels a side, but {size} have"):
            MSSSIMLoss(scales=fitting + 1)(pred, truth)


def _ms_ssim(functional: Any, pred: Tensor, truth: Tensor, exponents: Tensor) -> Tensor:
    """The product of torchmetrics' terms; its own means include windows beyond the edge."""
    product = torch.ones(2, dtype=torch.float64)
    for scale, exponent in enumerate(exponents):
        ssim = partial(functional.structural_similarity_index_measure, pred, truth, data_range=1.0)
        if scale < len(exponents) - 1:
            term = ssim(reduction="none", return_contrast_sensitivity=True)[1]
        else:
            term = ssim(return_full_image=True)[1][..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
        product = product * term**exponent
        pred, truth = (torch.nn.functional.avg_pool2d(each, 2) for each in (pred, truth))
    return product.mean()


def test_ldl_is_basicsrs_for_the_same_map() -> None:
    output, gt = pair(24)
    averaged = gt + 0.5 * (output - gt)
    weights = get_refined_artifact_map(gt, output, averaged, 7)
    expected = torch.nn.functional.l1_loss(weights * output, weights * gt)
    torch.testing.assert_close(LDLLoss()(output, gt, averaged), expected)
    assert float(LDLLoss()(averaged, gt, output)) == 0  # better than the average everywhere


@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan"])
def test_relativistic_is_esrgans(gan_type: str) -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 4, 1, 6, 6, generator=generator).requires_grad_().unbind()
    gan, loss = GANLoss(gan_type, loss_weight=0.1), RelativisticGANLoss(gan_type, loss_weight=0.1)
    expected = (gan(real - fake.mean(), False) + gan(fake - real.mean(), True)) / 2
    torch.testing.assert_close(loss.generator(fake, real), expected)
    by_discriminator = (
        gan(real - fake.mean(), True, is_disc=True) + gan(fake - real.mean(), False, is_disc=True)
    ) / 2
    torch.testing.assert_close(loss.discriminator(fake, real), by_discriminator)
    assert torch.equal(loss(fake, real), loss.generator(fake, real))
    assert torch.equal(loss(fake, real, is_disc=True), loss.discriminator(fake, real))


def test_relativistic_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-0.5, 0.0])
    d_real, d_fake = real - fake.mean(), fake - real.mean()
    loss = RelativisticGANLoss("hinge", loss_weight=2.0)
    discriminator = ((1 - d_real).relu().mean() + (1 + d_fake).relu().mean()) / 2
    generator = ((1 + d_real).relu().mean() + (1 - d_fake).relu().mean()) / 2
    torch.testing.assert_close(loss.discriminator(fake, real), discriminator)
    torch.testing.assert_close(loss.generator(fake, real), 2 * generator)
    with pytest.raises(LossError, match="gan_type: must be .* got 'wgan'"):
        RelativisticGANLoss("wgan")


@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "hinge"])
def test_relativistic_gradients(gan_type: str) -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 3, 2, generator=generator, dtype=torch.float64)
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    loss = RelativisticGANLoss(gan_type)
    torch.autograd.gradcheck(lambda f: loss.generator(f, real), (fake,))
    torch.autograd.gradcheck(lambda f, r: loss.discriminator(f, r), (fake, real))
    loss.generator(fake, real).backward()
    assert real.grad is None  # the generator's step does not go through true pictures
    # The generator's loss falls, and the discriminator's rises, as fakes are judged more real;
    # squares also penalize what is beyond the label.
    if gan_type == "lsgan":
        return
    better = fake.detach() + 0.3
    assert loss.generator(better, real) < loss.generator(fake, real)
    assert loss.discriminator(better, real) > loss.discriminator(fake, real)


def test_relativistic_averages_scales() -> None:
    real, fake = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    loss = RelativisticGANLoss()
    both = (loss.discriminator(fake, real) + loss.discriminator(fake * 2, real)) / 2
    torch.testing.assert_close(loss.discriminator([fake, fake * 2], [real, real]), both)


def test_vgg_is_torchvisions(vgg_file: Path) -> None:
    state = torch.load(vgg_file)
    with torch.device("meta"):
        features = torchvision.models.vgg19(weights=None).features[:8]
    features = features.to_empty(device="cpu")
    features.load_state_dict({key.removeprefix("features."): v for key, v in state.items()})
    pred, truth = (each.float() for each in pair(16))
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    own, true = ((features((each - mean) / std)) for each in (pred, truth))
    layers = {"conv2_2": 2.0}
    for criterion, expected in (
        ("l1", 2 * (own - true).abs().mean()),
        ("l2", 2 * (own - true).square().mean()),
        ("fro", 2 * (own - true).flatten(1).norm(dim=1).mean()),
    ):
        loss = VGGLoss(layers, str(vgg_file), criterion=criterion)
        torch.testing.assert_close(loss(pred, truth), expected)
    assert not any(p.requires_grad for p in loss.parameters())


def test_features_before_relu_are_not_those_after(vgg_file: Path) -> None:
    loss = VGGLoss({"conv1_1": 1, "relu1_1": 1, "conv1_2": 1}, str(vgg_file))
    found = loss.features(pair(8)[0].float())
    assert list(found) == ["conv1_1", "relu1_1", "conv1_2"]
    assert float(found["conv1_1"].min()) < 0
    assert torch.equal(found["relu1_1"], found["conv1_1"].relu())


def test_vgg_files_that_do_not_fit_are_named(
    vgg_file: Path, checkpoints: Path, tmp_path: Path
) -> None:
    with pytest.raises(PerceptualUnavailableError, match=r"VGGLoss needs .*vgg19-dcbb9e9d\.pth"):
        VGGLoss({"conv1_1": 1})
    with pytest.raises(PerceptualUnavailableError, match=r"put it at .*mine\.pth, or name its pl"):
        VGGLoss({"conv1_1": 1}, weights=str(tmp_path / "mine.pth"))
    with pytest.raises(LossError, match=r"vgg19\.pth is not of this network: features\.10\.weight"):
        VGGLoss({"conv3_1": 1}, weights=str(vgg_file))
    with pytest.raises(LossError, match="layer_weights: vgg11 has no layer 'conv1_2'; did you"):
        VGGLoss({"conv1_2": 1}, weights=str(vgg_file), vgg_type="vgg11")
