"""Pictures of any depth and color through networks of either color."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mambair.archs import MambaIRv2Light
from mambair.archs.warm_start import start_at_bicubic
from mambair.checkpoint import CheckpointError, save_checkpoint
from mambair.imaging.comparison import comparison, y_psnr
from mambair.imaging.errors import PictureError
from mambair.imaging.resizing import imresize
from mambair.inference import Restorer, Tiling
from mambair.inference.file_to_file import restore_file
from mambair.inference.loading import load_network
from mambair.inference.weights import find_weights
from tests.conftest import photograph, tiny_network

COLOR = photograph(height=40, width=52)


class Repeat(nn.Module):
    """Enlarges by repeating pixels; a network as far as a Restorer can tell."""

    def __init__(self, in_chans: int, upscale: int) -> None:
        super().__init__()
        self.in_chans, self.upscale = in_chans, upscale
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == self.in_chans
        return x.repeat_interleave(self.upscale, -1).repeat_interleave(self.upscale, -2)


def repeated(image: np.ndarray, scale: int) -> np.ndarray:
    return image.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tiling", [Tiling("none"), Tiling("blend", 16, 4), Tiling("authors")])
def test_pixels_arrive_as_they_are(dtype: type, tiling: Tiling) -> None:
    image = COLOR.astype(dtype) * (257 if dtype == np.uint16 else 1)
    result = Restorer(Repeat(3, 2), tiling=tiling)(image)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, repeated(image, 2))


@pytest.mark.parametrize("kind", [">u2", ">f4"])
def test_bytes_in_the_other_order(kind: str) -> None:
    """As astropy, tifffile and memory maps have them."""
    native = np.dtype(kind).newbyteorder("=")
    picture = (photograph(height=12, width=16) / 255.0).astype(np.float32)
    if native.kind == "u":
        picture = (picture * 65535).astype(native)
    model = Restorer(Repeat(3, 2))
    np.testing.assert_array_equal(model(picture.astype(kind)), model(picture))


@pytest.mark.parametrize("in_chans", [1, 3])
def test_gray_stays_gray(in_chans: int) -> None:
    gray = COLOR[..., 0]
    np.testing.assert_array_equal(Restorer(Repeat(in_chans, 2))(gray), repeated(gray, 2))


def test_a_gray_network_restores_luminance_and_keeps_colors() -> None:
    result = Restorer(Repeat(1, 1))(COLOR)
    assert np.abs(result.astype(int) - COLOR).max() <= 1
    assert Restorer(Repeat(1, 2))(COLOR).shape == (80, 104, 3)


@pytest.mark.parametrize("scale", [1, 2])
def test_alpha_is_kept(scale: int) -> None:
    alpha = np.zeros(COLOR.shape[:2], np.uint8)
    alpha[10:30, 10:40] = 255
    result = Restorer(Repeat(3, scale))(np.dstack([COLOR, alpha]))
    seen = repeated(alpha, scale) > 0
    np.testing.assert_array_equal(result[seen, :3], repeated(COLOR, scale)[seen])
    assert (np.abs(result[..., 3].astype(int) - repeated(alpha, scale)) > 40).mean() < 0.1


def bicubic_network(tmp_path: Path) -> Path:
    section = tiny_network()
    section.pop("type")
    net = MambaIRv2Light(**section)
    start_at_bicubic(net)
    path = tmp_path / "experiments" / "pretrained_models" / "tiny.pth"
    save_checkpoint({"params": net.state_dict()}, path)
    return path


def test_from_checkpoint_and_measured(tmp_path: Path) -> None:
    from mambair.imaging.reading import read_image
    from mambair.imaging.writing import write_image

    restorer = Restorer.from_checkpoint(bicubic_network(tmp_path))
    truth = photograph()
    write_image(truth, tmp_path / "truth.png")
    source, target = tmp_path / "truth.png", tmp_path / "out" / "truth.png"
    report = restore_file(restorer, source, target, simulate=True, compare=True)
    low = imresize(truth, 0.5)
    bicubic = y_psnr(imresize(low, 2), truth, 2)
    restored = y_psnr(read_image(target), truth, 2)
    assert restored == pytest.approx(bicubic, abs=0.3)  # the network is a bicubic interpolation
    assert f"bicubic {bicubic:.2f} dB, restored {restored:.2f} dB" in str(report.report)
    panels = read_image(tmp_path / "out" / "truth_compare.png")
    assert panels.shape[1] > 3 * panels.shape[0]


def test_comparison_shows_the_part_with_detail() -> None:
    flat = np.full((400, 500, 3), 128, np.uint8)
    flat[200:240, 300:340] = photograph(height=40, width=40)
    panels = comparison([flat, flat], ["a", "b"])
    assert panels.shape == (160 * 3 + 28, 2 * 480 + 8, 3)
    assert (panels[28:, :480] != 128).any()


def test_weights_by_name(tmp_path: Path) -> None:
    path = bicubic_network(tmp_path)
    assert find_weights(path) == path
    assert find_weights("tiny", tmp_path) == path
    trained = tmp_path / "experiments" / "mine" / "models" / "net_g_latest.pth"
    trained.parent.mkdir(parents=True)
    trained.touch()
    assert find_weights("mine", tmp_path) == trained
    with pytest.raises(CheckpointError, match="other: is neither .* known here: mine, tiny"):
        find_weights("other", tmp_path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "conv.pth"
    torch.save(nn.Conv2d(1, 1, 1).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"conv\.pth: these are not weights of MambaIR"):
        Restorer.from_checkpoint(path)


def test_gray_and_alpha_stay_so() -> None:
    image = np.dstack([COLOR[..., 0], COLOR[..., 1]])
    result = Restorer(Repeat(3, 2))(image)
    assert result.shape == (80, 104, 2)
    np.testing.assert_array_equal(result[..., 0], repeated(image[..., 0], 2))


def test_weights_bring_their_configuration(tmp_path: Path) -> None:
    """``img_range`` is in no tensor; files written by training name it."""
    section = tiny_network(img_range=255.0, routing="argmax")
    net = MambaIRv2Light(**{key: value for key, value in section.items() if key != "type"}).eval()
    path = tmp_path / "a.pth"
    save_checkpoint({"params": net.state_dict(), "network": section}, path)
    loaded, found = load_network(path)
    assert found["img_range"] == 255.0
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(x), net(x))


def test_an_interrupted_experiment_has_weights(tmp_path: Path) -> None:
    folder = tmp_path / "experiments" / "short" / "models"
    folder.mkdir(parents=True)
    for iteration in (5, 20, 10):
        (folder / f"net_g_{iteration}.pth").touch()
    assert find_weights("short", tmp_path).name == "net_g_20.pth"


def test_pictures_too_small_to_measure(tmp_path: Path) -> None:
    from mambair.imaging.writing import write_image

    write_image(COLOR[:3, :4], tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a\.png: too small"):
        restore_file(Restorer(Repeat(3, 2)), tmp_path / "a.png", tmp_path / "b.png", simulate=True)


def test_a_pil_picture_keeps_what_it_says() -> None:
    from PIL import Image

    pictures = Path(__file__).resolve().parents[2] / "data" / "pictures"
    with Image.open(pictures / "icc_in.png") as picture:
        result = Restorer(Repeat(3, 2))(picture)
        assert result.info["icc_profile"] == picture.info["icc_profile"]
    with Image.open(pictures / "o6_rgba.png") as picture:
        result = Restorer(Repeat(3, 2))(picture)
        assert result.size == (80, 120)
        assert result.getexif()[0x0112] == 1
    with Image.open(pictures / "l_trns.png") as picture:
        assert Restorer(Repeat(3, 2))(picture).mode == "LA"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_hidden_color_is_not_seen(dtype: type) -> None:
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = np.zeros((9, 9, 4), dtype)
    image[3:6, 3:6] = top
    seen: list[float] = []

    class Watch(Repeat):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(float(x.min()))
            return super().forward(x)

    restorer = Restorer(Watch(3, 2))
    seen.clear()  # its contract was found by trying
    restorer(image)
    image[..., 3] = 0  # nothing is seen: nothing is better than what is there
    restorer(image)
    assert seen == [1, 0]
