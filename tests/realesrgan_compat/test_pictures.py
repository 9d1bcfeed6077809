"""``realesrgan-mambair``: the flags of the original, and what is never lost in silence."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from mambair.archs.registry import build_network
from mambair.checkpoint import CheckpointError, save_checkpoint
from mambair.imaging.reading import read_image
from realesrgan_compat import RealESRGANer, weights
from realesrgan_compat.cli.pictures import pictures
from tests.conftest import ROOT, photograph, tiny_network
from tests.realesrgan_compat.test_upsampler import FOREIGN


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``inputs/`` and the weights ``net.pth`` (×2)."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    color = photograph(height=20, width=24)
    cv2.imwrite(str(inputs / "color.jpg"), color)
    cv2.imwrite(str(inputs / "gray.png"), color[..., 0])
    cv2.imwrite(str(inputs / "deep.png"), color.astype(np.uint16) * 257)
    cv2.imwrite(str(inputs / "alpha.webp"), np.dstack([color, color[..., :1]]))
    torch.manual_seed(0)
    save_checkpoint({"params": build_network(tiny_network()).state_dict()}, tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(pictures, [str(each) for each in arguments])


def results(folder: Path) -> dict[str, tuple]:
    """Name, shape and type of every result."""
    found = {path.name: read_image(path) for path in sorted((folder / "results").iterdir())}
    return {name: (image.shape, str(image.dtype)) for name, image in found.items()}


def test_names_in_capitals(folder: Path) -> None:
    """A picture without alpha keeps its extension; one with alpha becomes a PNG, named so."""
    color = photograph(height=20, width=24)
    for name, picture in (("PLAIN.PNG", color), ("CLEAR.PNG", np.dstack([color, color[..., 0]]))):
        (folder / "inputs" / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    result = run("--model_path", "net.pth")
    assert result.exit_code == 0, result.output
    assert "6 of 6 pictures enlarged" in result.output
    assert results(folder)["PLAIN_out.PNG"] == ((40, 48, 3), "uint8")
    assert results(folder)["CLEAR_out.PNG"] == ((40, 48, 4), "uint8")


@pytest.mark.parametrize(("flag", "value"), [("-s", "nan"), ("-s", "inf"), ("-dn", "nan")])
def test_numbers_that_are_none(flag: str, value: str, folder: Path) -> None:
    result = run("--model_path", "net.pth", flag, value)
    assert result.exit_code == 2
    assert f"{value} is not a finite number" in result.output


def test_names_kinds_and_pixels(folder: Path) -> None:
    (folder / "inputs" / "notes.txt").write_text("not a picture")
    result = run("--model_path", "net.pth")
    assert result.exit_code == 0, result.output
    assert "left out: notes.txt" in result.output
    assert "4 of 4 pictures enlarged to results" in result.output
    assert results(folder) == {
        "alpha_out.png": ((40, 48, 4), "uint8"),
        "color_out.jpg": ((40, 48, 3), "uint8"),
        "deep_out.png": ((40, 48, 3), "uint16"),
        "gray_out.png": ((40, 48), "uint8"),
    }
    upsampler = RealESRGANer(2, "net.pth", pre_pad=0, device="cpu")
    expected, _ = upsampler.enhance(read_image("inputs/gray.png"))
    np.testing.assert_array_equal(read_image("results/gray_out.png"), expected)


def test_flags(folder: Path) -> None:
    flags = "--suffix big -s 3 -t 16 --tile_pad 4 --pre_pad 2 --fp32 --ext png".split()
    more = ["--alpha_upsampler", "bicubic", "-o", "results"]
    result = run("-i", "inputs/alpha.webp", "--model_path", "net.pth", *flags, *more)
    assert result.exit_code == 0, result.output
    assert results(folder) == {"alpha_big.png": ((60, 72, 4), "uint8")}
    upsampler = RealESRGANer(2, "net.pth", tile=16, tile_pad=4, pre_pad=2, device="cpu")
    expected, _ = upsampler.enhance(read_image("inputs/alpha.webp"), 3, "bicubic")
    np.testing.assert_array_equal(read_image("results/alpha_big.png"), expected)


def test_the_models_of_real_esrgan(folder: Path) -> None:
    """Their scripts' names, from ``weights/``; -s is 4 by default, -dn mixes two files."""
    pytest.importorskip("basicsr")
    (folder / "weights").mkdir()
    for seed, name in enumerate(["realesr-general-x4v3", "realesr-general-wdn-x4v3"]):
        torch.manual_seed(seed)
        state = build_network(FOREIGN[-1]).state_dict()
        save_checkpoint({"params": state}, folder / "weights" / f"{name}.pth")
    save_checkpoint(
        {"params_ema": build_network(FOREIGN[1]).state_dict()},
        folder / "weights" / "RealESRGAN_x2plus.pth",
    )
    for name, flags in [
        ("realesr-general-x4v3", ["-dn", "0.3", "--suffix", "three"]),
        ("realesr-general-x4v3", ["-dn", "1", "--suffix", "one"]),
        ("RealESRGAN_x2plus.pth", ["--suffix", "two"]),
    ]:
        result = run("-i", "inputs/gray.png", "-n", name, *flags)
        assert result.exit_code == 0, result.output
    assert {shape for shape, _ in results(folder).values()} == {(80, 96)}
    names = ["realesr-general-x4v3", "realesr-general-wdn-x4v3"]
    mixed = RealESRGANer(4, names, [0.3, 0.7], pre_pad=0, device="cpu")
    expected, _ = mixed.enhance(read_image("inputs/gray.png"))
    np.testing.assert_array_equal(read_image("results/gray_three.png"), expected)
    assert (read_image("results/gray_one.png") != expected).any()


def test_what_is_ignored_is_said(folder: Path) -> None:
    result = run("-i", "inputs/gray.png", "--model_path", "net.pth", "-dn", "0.2", "-g", "0")
    assert result.exit_code == 0
    assert "-dn is ignored" in result.output
    assert "gpu_id 0: there is no CUDA device" in result.output
    assert "float32" not in result.output  # nobody asked for float16


def test_results_that_are_there_stay(folder: Path) -> None:
    arguments = ("-i", "inputs/color.jpg", "--model_path", "net.pth")
    (folder / "results").mkdir()
    there = folder / "results" / "color_out.jpg"
    there.write_text("precious")
    result = run(*arguments)
    assert result.exit_code == 2
    assert "results/color_out.jpg: there already" in result.output
    result = run(*arguments, "--skip-existing")
    assert result.exit_code == 0
    assert "1 of 1 results were there already" in result.output
    assert there.read_text() == "precious"
    assert run(*arguments, "--overwrite").exit_code == 0
    assert read_image(there).shape == (40, 48, 3)


def test_no_result_replaces_a_source_or_another_result(folder: Path) -> None:
    result = run("-o", "inputs", "--suffix", "", "--model_path", "net.pth", "--overwrite")
    assert result.exit_code == 1
    assert "is a picture of the source" in result.output
    (folder / "inputs" / "color.png").write_bytes((folder / "inputs" / "gray.png").read_bytes())
    result = run("--ext", "png", "--model_path", "net.pth")
    assert result.exit_code == 1
    assert "color.jpg" in result.output
    assert "color.png" in result.output
    assert not (folder / "results").exists()


def test_a_damaged_picture_is_named_and_the_others_are_done(folder: Path) -> None:
    (folder / "inputs" / "broken.png").write_bytes(b"\x89PNG broken")
    result = run("--model_path", "net.pth")
    assert result.exit_code == 1
    assert "not enlarged: inputs/broken.png: not a readable picture" in result.output
    assert "4 of 5 pictures" in result.output
    assert len(results(folder)) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-i", "nowhere"], "nowhere: there is no such file or folder"),
        (["--model_path", "no.pth"], "no.pth: is neither"),
        (["-n", "tiny_x9"], "tiny_x9"),
        (["--model_path", "net.pth", "--face_enhance"], "needs the package gfpgan"),
    ],
)
def test_bad_arguments_are_named_before_any_work(
    folder: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gfpgan", None)
    result = run(*arguments)
    assert result.exit_code == 1
    assert words in result.output
    assert not (folder / "results").exists()


def test_faces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for GFPGAN, with its constructor and method, pastes a face of pure white."""
    seen: dict[str, Any] = {}

    class GFPGANer:
        def __init__(
            self, model_path: str, upscale: float = 2, arch: str = "clean",
            channel_multiplier: int = 2, bg_upsampler: Any = None, device: Any = None,
        ) -> None:  # fmt: skip
            seen.update(upscale=upscale, arch=arch, path=model_path)
            self.upscale, self.bg_upsampler = upscale, bg_upsampler

        def enhance(
            self, img: np.ndarray, has_aligned: bool = False, only_center_face: bool = False,
            paste_back: bool = True, weight: float = 0.5,
        ) -> tuple[list, list, np.ndarray]:  # fmt: skip
            assert img.dtype == np.uint8
            assert img.shape[2] == 3
            result = self.bg_upsampler.enhance(img, outscale=self.upscale)[0]
            result[:4, :4] = 255
            return [], [], result

    module = types.ModuleType("gfpgan")
    module.GFPGANer = GFPGANer  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "gfpgan", module)
    result = run("--model_path", "net.pth", "--face_enhance", "-s", "3")
    assert result.exit_code == 0, result.output
    assert seen["upscale"] == 3
    assert seen["arch"] == "clean"
    assert "deep.png: --face_enhance loses 16 bits" in result.output
    assert "alpha.webp: --face_enhance loses alpha" in result.output
    assert {shape for shape, _ in results(folder).values()} == {(60, 72, 3)}
    assert (read_image("results/gray_out.png")[:4, :4] == 255).all()


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """The address of ``net.pth`` on a server in this process."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/net.pth"
    server.shutdown()
    thread.join()
    server.server_close()


def test_weights_are_downloaded_once(folder: Path, address: str) -> None:
    assert weights.locate(address) == Path("weights/net.pth")
    assert Path("weights/net.pth").read_bytes() == Path("net.pth").read_bytes()
    Path("net.pth").unlink()
    assert weights.locate(address).is_file()


def test_a_download_that_fails_says_where_from_and_where_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_RELEASES", address)
    with pytest.raises(
        CheckpointError, match=r"weights/RealESRGAN_x2plus\.pth: is not there.*http://.*put it"
    ):
        weights.locate("RealESRGAN_x2plus")
    assert not Path("weights/RealESRGAN_x2plus.pth").exists()


def test_the_module_is_the_command(folder: Path) -> None:
    arguments = ["-i", "inputs/gray.png", "--model_path", "net.pth"]
    done = subprocess.run(
        [sys.executable, "-m", "realesrgan_compat", *arguments],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(results(folder)) == ["gray_out.png"]
