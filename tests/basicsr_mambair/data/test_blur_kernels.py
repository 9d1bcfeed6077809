"""Kernels of blurs: those of BasicSR under the same draws, and what they must be by definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.data import degradations as stock
from basicsr.utils.img_process_util import filter2D

from basicsr_mambair.data.degradations import DEGRADATIONS, Drawn, build_degradation
from basicsr_mambair.data.degradations.defocus_blur import disk_kernel
from basicsr_mambair.data.degradations.kernel_blur import KernelBlur, convolve
from basicsr_mambair.data.degradations.motion_blur import line_kernel

KERNEL_BLURS = [name for name, cls in DEGRADATIONS.items() if issubclass(cls, KernelBlur)]


def blur(name: str, **arguments: Any) -> KernelBlur:
    built = build_degradation({"type": name, **arguments}, scale=1)
    assert isinstance(built, KernelBlur)
    return built


def stock_kernel(name: str, drawn: Drawn, isotropic: bool) -> np.ndarray:
    """BasicSR's kernel of a draw."""
    if name == "sinc_blur":
        return stock.circular_lowpass_kernel(drawn["cutoff"], drawn["size"])
    if name == "isotropic_blur":
        return stock.bivariate_Gaussian(drawn["size"], drawn["sigma"], 0, 0, isotropic=True)
    arguments = [drawn["size"], *drawn["sigma"], drawn["theta"]]
    if name == "anisotropic_blur":
        return stock.bivariate_Gaussian(*arguments, isotropic=False)
    function = {
        "generalized_gaussian_blur": stock.bivariate_generalized_Gaussian,
        "plateau_blur": stock.bivariate_plateau,
    }[name]
    return function(*arguments, drawn["beta"], isotropic=isotropic)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("isotropic_blur", {"sigma": [0.2, 3]}),
        ("anisotropic_blur", {"sigma": [0.2, 3]}),
        ("generalized_gaussian_blur", {"sigma": [0.2, 3]}),
        ("generalized_gaussian_blur", {"sigma": [0.2, 3], "isotropic": True}),
        ("plateau_blur", {"sigma": [0.2, 3]}),
        ("plateau_blur", {"sigma": [0.2, 3], "isotropic": True}),
        ("sinc_blur", {}),
    ],
)
def test_kernels_are_basicsrs(name: str, arguments: dict[str, Any]) -> None:
    operator = blur(name, **arguments, size=[7, 21])
    rng = np.random.default_rng(0)
    for _ in range(50):
        drawn = operator.draw(rng)
        expected = stock_kernel(name, drawn, bool(arguments.get("isotropic")))
        np.testing.assert_allclose(operator.kernel(drawn), expected, rtol=1e-9, atol=1e-15)


def test_filtering_is_basicsrs() -> None:
    operator, rng = blur("anisotropic_blur", sigma=[0.2, 3], size=21), np.random.default_rng(0)
    kernels = [operator.kernel(operator.draw(rng)) for _ in range(3)]
    images = torch.rand(3, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    expected = filter2D(images, torch.from_numpy(np.stack(kernels)).float())
    torch.testing.assert_close(convolve(images, kernels), expected)


@pytest.mark.parametrize("name", KERNEL_BLURS)
def test_kernels_keep_the_mean(name: str) -> None:
    flat = torch.full((2, 3, 24, 32), 0.4)
    for example in DEGRADATIONS[name].examples:
        operator, rng = blur(name, **example), np.random.default_rng(0)
        drawn = [operator.draw(rng) for _ in range(2)]
        for each in drawn:
            kernel = operator.kernel(each)
            assert kernel.shape[0] == kernel.shape[1] <= 2 * operator.halo + 1
            assert kernel.sum() == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(operator.apply_batch(flat, drawn), flat)


@pytest.mark.parametrize("name", KERNEL_BLURS)
def test_batches_need_no_values(name: str) -> None:
    """Nothing is copied back from the device: the computation runs on ``meta``."""
    operator, rng = blur(name, **DEGRADATIONS[name].examples[-1]), np.random.default_rng(0)
    images = torch.empty(2, 3, 24, 32, device="meta")
    result = operator.apply_batch(images, [operator.draw(rng) for _ in range(2)])
    assert result.device.type == "meta" and result.shape == images.shape


def test_shapes_are_drawn_on_both_sides_of_the_gaussian() -> None:
    operator, rng = blur("plateau_blur", sigma=1, beta=[0.5, 8]), np.random.default_rng(0)
    shapes = np.array([operator.draw(rng)["beta"] for _ in range(400)])
    assert 0.4 < (shapes < 1).mean() < 0.6
    one_sided = blur("plateau_blur", sigma=1, beta=[1, 2])
    assert all(1 <= one_sided.draw(rng)["beta"] <= 2 for _ in range(20))


def test_a_line_by_hand() -> None:
    """Four pixels to the right: the ends lie in the middle of a pixel and cover half of it."""
    np.testing.assert_allclose(
        line_kernel(4, 0)[2], np.array([1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8]), atol=1e-3
    )
    np.testing.assert_array_equal(line_kernel(0, 30), [[1]])


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 150])
def test_a_line_has_the_direction_and_spread_of_its_movement(angle: float) -> None:
    kernel = line_kernel(9.5, angle)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    y, x = np.indices(kernel.shape) - len(kernel) // 2
    way = x * math.cos(math.radians(angle)) - y * math.sin(math.radians(angle))
    across = x * math.sin(math.radians(angle)) + y * math.cos(math.radians(angle))
    # A uniform line of length L has the variance L²/12; interpolation adds at most 1/4.
    assert 9.5**2 / 12 <= (kernel * way**2).sum() <= 9.5**2 / 12 + 0.26
    assert (kernel * across**2).sum() <= 0.26


@pytest.mark.parametrize("radius", [0.8, 1.5, 3, 4.2])
def test_a_disk_has_the_area_and_spread_of_its_radius(radius: float) -> None:
    kernel = disk_kernel(radius)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    x = np.arange(len(kernel)) - len(kernel) // 2
    # A disk has the variance r²/4 along each axis; summing over squares adds their own 1/12.
    assert (kernel * x**2).sum() == pytest.approx(radius**2 / 4 + 1 / 12, abs=0.07)
    if radius > 1:
        assert 1 / kernel.max() == pytest.approx(math.pi * radius**2, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"type": "isotropic_blur", "sigma": 1, "size": 8}, "size: must be odd"),
        ({"type": "isotropic_blur", "sigma": 1, "size": [9, 7]}, "size: must be odd"),
        ({"type": "isotropic_blur", "sigma": -1}, "sigma: must be a number or a range"),
        ({"type": "plateau_blur", "sigma": 1, "beta": 0}, "beta: must be above 0"),
        ({"type": "sinc_blur", "cutoff": 4}, "cutoff: must be between 0.1 and π"),
        ({"type": "motion_blur", "length": 500}, "length: must be at most 126"),
        ({"type": "defocus_blur", "radius": 100}, "radius: must be at most 63"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_degradation(options, scale=1)
