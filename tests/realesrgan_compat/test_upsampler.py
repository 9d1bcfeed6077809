"""RealESRGANer: what every picture becomes, and that bad input is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import mambair
from mambair.archs.registry import build_network
from mambair.checkpoint import CheckpointError, save_checkpoint, save_safetensors
from mambair.imaging.errors import PictureError
from realesrgan_compat import RealESRGANer
from realesrgan_compat.errors import UpsamplerError
from realesrgan_compat.networks import rrdbnet_section, srvgg_section
from tests.conftest import photograph, tiny_network

FOREIGN = [
    {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "scale": scale, "num_feat": 8,
     "num_block": 2, "num_grow_ch": 4}
    for scale in (1, 2, 4)
] + [
    {"type": "SRVGGNetCompact", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 3,
     "upscale": 4, "act_type": "prelu"}
]  # fmt: skip


@pytest.fixture(scope="module")
def upsampler() -> RealESRGANer:
    return RealESRGANer(2, "tiny_x2", device="cpu")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("shape", "mode"),
    [((), "L"), ((1,), "L"), ((2,), "LA"), ((3,), "RGB"), ((4,), "RGBA")],
)
def test_every_kind_of_picture(
    upsampler: RealESRGANer, shape: tuple[int, ...], mode: str, kind: type
) -> None:
    picture = np.full((11, 14, *shape), 100, kind)
    for outscale, size in ((None, (22, 28)), (2, (22, 28)), (1.5, (16, 21))):
        output, found = upsampler.enhance(picture, outscale=outscale)
        assert (output.shape, output.dtype, found) == ((*size, *shape), kind, mode)
        if kind is np.uint8:
            assert np.abs(output.astype(int) - 100).max() <= 3


def test_a_dark_picture_of_sixteen_bits_keeps_them(upsampler: RealESRGANer) -> None:
    output, _ = upsampler.enhance(np.full((8, 8, 3), 200, np.uint16))
    assert output.dtype == np.uint16


def test_alpha_is_enlarged_linearly_on_request(upsampler: RealESRGANer) -> None:
    picture = np.dstack([photograph(height=16, width=16), np.tile(np.uint8([0, 255] * 8), (16, 1))])
    linear, _ = upsampler.enhance(picture, alpha_upsampler="bicubic")
    by_network, _ = upsampler.enhance(picture)
    np.testing.assert_array_equal(linear[..., :3], by_network[..., :3])
    np.testing.assert_array_equal(linear[0, :4, 3], [0, 64, 191, 191])
    assert (linear[..., 3] != by_network[..., 3]).any()


def test_the_pixels_are_those_of_mambair() -> None:
    picture = photograph(height=40, width=48)
    upsampler = RealESRGANer(2, "tiny_x2", pre_pad=0, device="cpu")
    expected = mambair.load("tiny_x2", tile=None, device="cpu")(picture, "bgr")
    np.testing.assert_array_equal(upsampler.enhance(picture)[0], expected)


def test_tiles_join() -> None:
    picture = photograph(height=50, width=70)
    whole = RealESRGANer(2, "tiny_x2", device="cpu").enhance(picture)[0].astype(int)
    tiled = RealESRGANer(2, "tiny_x2", tile=32, device="cpu").enhance(picture)[0].astype(int)
    assert whole.shape == tiled.shape
    assert np.abs(whole - tiled).mean() < 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 30, 3), (3, 2)])
def test_pictures_smaller_than_the_padding(upsampler: RealESRGANer, shape: tuple) -> None:
    output, _ = upsampler.enhance(np.zeros(shape, np.uint8))
    assert output.shape[:2] == (2 * shape[0], 2 * shape[1])


def test_the_steps_can_be_called_one_by_one(upsampler: RealESRGANer) -> None:
    picture = photograph(height=17, width=24)
    upsampler.pre_process(picture[..., ::-1] / np.float32(255))
    assert upsampler.img.shape == (1, 3, 28, 34)  # 10 pixels more, and even
    upsampler.process()
    output = upsampler.post_process()[0].clamp(0, 1).numpy()[::-1].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.rint(output * 255), upsampler.enhance(picture)[0])


@pytest.mark.parametrize("layout", ["params_ema", "params", "bare", "safetensors"])
def test_layouts_of_weights(tmp_path: Path, layout: str) -> None:
    net = build_network(tiny_network())
    path = tmp_path / f"net.{'safetensors' if layout == 'safetensors' else 'pth'}"
    if layout == "safetensors":
        save_safetensors(net.state_dict(), path, {})
    else:
        save_checkpoint(net.state_dict() if layout == "bare" else {layout: net.state_dict()}, path)
    picture = photograph(height=16, width=20)
    by_weights = RealESRGANer(2, str(path), device="cpu").enhance(picture)[0]
    given = RealESRGANer(2, path, model=build_network(tiny_network()), device="cpu")
    np.testing.assert_array_equal(by_weights, given.enhance(picture)[0])
    assert not given.model.training


@pytest.mark.parametrize("section", FOREIGN, ids=lambda each: f"{each['type']}")
def test_networks_of_real_esrgan_are_recognized(tmp_path: Path, section: dict) -> None:
    pytest.importorskip("basicsr")
    torch.manual_seed(0)
    net = build_network(section)
    detect = rrdbnet_section if section["type"] == "RRDBNet" else srvgg_section
    assert detect(net.state_dict()) == section
    save_checkpoint({"params_ema": net.state_dict()}, tmp_path / "net.pth")
    upsampler = RealESRGANer(None, tmp_path / "net.pth", tile=15, tile_pad=4, device="cpu")
    output, _ = upsampler.enhance(photograph(height=21, width=33))
    scale = section.get("scale", section.get("upscale"))
    assert upsampler.scale == scale
    assert output.shape == (21 * scale, 33 * scale, 3)


def test_two_files_are_mixed(tmp_path: Path) -> None:
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        paths.append(tmp_path / f"{seed}.pth")
        save_checkpoint({"params": build_network(tiny_network()).state_dict()}, paths[-1])
    first, second, mixed = (
        RealESRGANer(2, source, dni_weight=shares, device="cpu")
        for source, shares in ((paths[0], None), (paths[1], None), (paths, [0.25, 0.75]))
    )
    states = [each.model.state_dict() for each in (first, second, mixed)]
    for name, value in states[2].items():
        if value.is_floating_point():
            expected = 0.25 * states[0][name] + 0.75 * states[1][name]
            torch.testing.assert_close(value, expected)
    loaded = mixed.dni(str(paths[0]), str(paths[1]), [0.25, 0.75])
    assert loaded["params"].keys() == states[2].keys()


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gray.pth"
    save_checkpoint({"params": build_network(tiny_network(in_chans=1)).state_dict()}, path)
    for error, words, arguments in [
        (UpsamplerError, "scale 4 was given.*tiny_x2.*enlarges by 2", (4, "tiny_x2")),
        (CheckpointError, "tiny_x9", (2, "tiny_x9")),
        (UpsamplerError, "dni_weight must hold 2 numbers, not none", (2, ["a", "b"])),
        (UpsamplerError, "not 1", (2, ["a", "b"], [1.0])),
        (UpsamplerError, "gray.pth.*takes 1 channel.*basicsr restore", (2, path)),
        (UpsamplerError, "tile must not be negative", (2, "tiny_x2", None, None, -1)),
        (CheckpointError, "cannot be mixed", (2, ["tiny_x2", "tiny_x4"], [0.5, 0.5])),
    ]:
        with pytest.raises(error, match=words):
            RealESRGANer(*arguments)


def test_weights_that_do_not_fit_a_given_model_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"tiny_x2\.safetensors.*do not fit MambaIRv2Light"):
        RealESRGANer(2, "tiny_x2", model=build_network(tiny_network()), device="cpu")


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"uint8, \(4, 4, 5\)"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.full((4, 4), 0.5, np.float32), "0 to 255"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_picture_is_named(
    upsampler: RealESRGANer, picture: np.ndarray, words: str
) -> None:
    with pytest.raises(PictureError, match=words):
        upsampler.enhance(picture)


def test_what_a_cpu_cannot_do_is_said() -> None:
    with pytest.warns(UserWarning, match="the CPU runs in float32"):
        assert not RealESRGANer(2, "tiny_x2", half=True, device="cpu").half
    with pytest.warns(UserWarning, match="gpu_id 3: there is no CUDA device"):
        RealESRGANer(2, "tiny_x2", gpu_id=3)
