"""JPEG on tensors: BasicSR's, near to libjpeg's, and with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.utils.diffjpeg import DiffJPEG

from basicsr_mambair.data.degradations.degradation import to_batch
from basicsr_mambair.data.degradations.differentiable_jpeg import jpeg_of_batch
from mambair.imaging.jpeg import jpeg
from tests.conftest import photograph

QUALITIES = [12.5, 30, 49.9, 50, 77, 95]


def photographs(height: int = 64, width: int = 80) -> torch.Tensor:
    names = ("coffee", "chelsea", "astronaut")
    return torch.cat([to_batch(photograph(name, height, width)) for name in names])


@pytest.mark.parametrize("size", [(64, 80), (50, 70)])
@pytest.mark.parametrize("differentiable", [False, True])
def test_it_is_basicsrs(differentiable: bool, size: tuple[int, int]) -> None:
    stock = DiffJPEG(differentiable=differentiable)
    images = photographs(*size)
    for quality in (QUALITIES[:3], QUALITIES[3:]):
        with torch.no_grad():
            expected = stock(images, quality=torch.tensor(quality, dtype=torch.float32))
        result = jpeg_of_batch(images, quality, "cubic" if differentiable else "round", True)
        # A coefficient halfway between two steps may be rounded to either.
        differs = (result - expected).abs() > 1e-5
        assert differs.float().mean() < 2e-3
        torch.testing.assert_close(result[~differs], expected[~differs], atol=1e-5, rtol=0)


@pytest.mark.parametrize("quality", [20, 60, 90])
def test_gray_is_near_to_libjpeg(quality: int) -> None:
    """libjpeg computes the same, but rounds the tables and the result to whole numbers."""
    image = photograph()[:, :, :1]
    expected = jpeg(image, quality)[..., 0]
    errors = [
        jpeg_of_batch(to_batch(image), [quality], transposed=each)[0, 0].numpy() * 255 - expected
        for each in (False, True)
    ]
    right, transposed = (np.abs(each).mean() for each in errors)
    assert right < min(1, transposed / 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients(channels: int) -> None:
    images = photographs(16, 32)[:1, :channels].double() * 0.8 + 0.1
    gradients = {}
    for rounding in ("round", "cubic", "straight"):
        leaf = images.clone().requires_grad_()
        jpeg_of_batch(leaf, [80], rounding).sum().backward()
        assert leaf.grad is not None and bool(leaf.grad.isfinite().all())
        gradients[rounding] = leaf.grad
    assert not gradients["round"].any()
    assert gradients["cubic"].any()
    # Without rounding JPEG is the identity but for chroma, whose sum is kept: each pixel counts 1.
    torch.testing.assert_close(
        gradients["straight"].sum(1), torch.full((1, 16, 32), float(channels)).double(),
        atol=1e-3, rtol=0,
    )  # fmt: skip


def test_cubic_has_the_gradient_of_its_values() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 1, 16, 16, generator=generator, dtype=torch.float64) * 0.5 + 0.25
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: jpeg_of_batch(x, [60], "cubic"), (images,), eps=1e-7)


def test_the_best_quality_is_finite() -> None:
    images = photographs()
    assert (jpeg_of_batch(images, [100, 100, 99.9])[:, 1] - images[:, 1]).abs().mean() < 0.02


def test_batches_need_no_values() -> None:
    result = jpeg_of_batch(torch.empty(2, 3, 20, 30, device="meta"), [30, 90])
    assert result.device.type == "meta" and result.shape == (2, 3, 20, 30)
