"""``export`` and ``interpolate``: what they write, others read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from basicsr_mambair.cli import main
from mambair.archs.registry import build_network
from mambair.checkpoint import SECTION_KEY, load_checkpoint, save_checkpoint, save_safetensors
from mambair.imaging.reading import read_image
from mambair.imaging.writing import write_image
from mambair.inference.loading import load_network
from tests.conftest import photograph, tiny_network


def basicsr(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def trained(path: Path, seed: int, key: str = "params", **changes: Any) -> dict[str, torch.Tensor]:
    """Writes a weights file of a tiny network as training does; returns the weights."""
    torch.manual_seed(seed)
    section = tiny_network(**changes)
    state = build_network(section).state_dict()
    if path.suffix == ".pth":
        save_checkpoint({key: state, SECTION_KEY: section}, path)
    else:
        save_safetensors(state, path, {SECTION_KEY: section})
    return state


def test_an_exported_pth_is_read_under_either_key_and_not_larger(tmp_path: Path) -> None:
    trained(tmp_path / "a.pth", 1, img_range=2.0)
    for arguments, keys in (((), ["params_ema", "params"]), (("--raw",), ["params"])):
        result = basicsr("export", tmp_path / "a.pth", "-o", tmp_path / "b.pth", *arguments)
        assert result.exit_code == 0, result.output
        contents = load_checkpoint(tmp_path / "b.pth")
        assert [*contents] == [*keys, SECTION_KEY]
        assert contents[SECTION_KEY]["img_range"] == 2.0
        sizes = [(tmp_path / name).stat().st_size for name in ("a.pth", "b.pth")]
        assert sizes[1] < 1.5 * sizes[0]


def test_pip_realesrgan_loads_an_exported_pth(tmp_path: Path) -> None:
    realesrgan = pytest.importorskip("realesrgan")
    assert basicsr("export", "tiny_x2", "-o", tmp_path / "tiny.pth").exit_code == 0
    net, section = load_network(tmp_path / "tiny.pth")
    theirs = realesrgan.RealESRGANer(
        2, str(tmp_path / "tiny.pth"), model=build_network(section), pre_pad=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    picture = photograph(height=16, width=20)
    x = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)))[None] / 255
    with torch.no_grad():
        expected = net(x)[0].clamp(0, 1).numpy()[::-1].transpose(1, 2, 0)
    np.testing.assert_allclose(theirs.enhance(picture)[0], expected * 255, atol=1)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_half_the_size_restores_the_same_picture(tmp_path: Path, suffix: str) -> None:
    write_image(photograph(height=24, width=28), tmp_path / "a.png")
    restored = {}
    for name, arguments in (("whole", ()), ("half", ("--half",))):
        weights = tmp_path / f"{name}.{suffix}"
        result = basicsr("export", "tiny_x2", "-o", weights, *arguments)
        assert result.exit_code == 0, result.output
        output = tmp_path / f"{name}.png"
        result = basicsr("restore", tmp_path / "a.png", "-w", weights, "-o", output)
        assert result.exit_code == 0, result.output
        restored[name] = read_image(output).astype(int)
    sizes = [(tmp_path / f"{name}.{suffix}").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert load_network(tmp_path / f"half.{suffix}")[0].conv_first.weight.dtype == torch.float32
    assert abs(restored["half"] - restored["whole"]).max() <= 1


def test_weights_beyond_16_bits_are_not_written_as_infinite(tmp_path: Path) -> None:
    state = trained(tmp_path / "a.pth", 1)
    state["conv_first.weight"][0, 0, 0, 0] = 7e4
    save_checkpoint({"params": state, SECTION_KEY: tiny_network()}, tmp_path / "a.pth")
    result = basicsr("export", tmp_path / "a.pth", "--half", "-o", tmp_path / "b.pth")
    assert result.exit_code == 1
    assert "a.pth: too large for 16 bits" in result.output
    assert "conv_first.weight" in result.output
    assert not (tmp_path / "b.pth").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_are_mixed(tmp_path: Path, suffix: str) -> None:
    a = trained(tmp_path / "a.pth", 1, "params_ema")
    b = trained(tmp_path / "b.safetensors", 2)
    output = tmp_path / f"c.{suffix}"
    files = (tmp_path / "a.pth", tmp_path / "b.safetensors")
    result = basicsr("interpolate", *files, "--weight", 0.25, "-o", output)
    assert result.exit_code == 0, result.output
    net, section = load_network(output)
    assert section == tiny_network()
    for name, value in net.state_dict().items():
        expected = 0.25 * a[name] + 0.75 * b[name] if value.is_floating_point() else a[name]
        torch.testing.assert_close(value, expected)


def test_the_ends_are_the_files_themselves(tmp_path: Path) -> None:
    files = [tmp_path / "b.pth", tmp_path / "a.pth"]
    states = [trained(path, seed) for seed, path in enumerate(files)]
    for weight in (0, 1):
        output = tmp_path / "c.pth"
        basicsr("interpolate", *reversed(files), "--weight", weight, "-o", output)
        for name, value in load_network(output)[0].state_dict().items():
            assert torch.equal(value, states[weight][name]), name


def test_networks_that_are_not_registered_are_mixed_too(tmp_path: Path) -> None:
    for name, value in (("a", 1.0), ("b", 3.0)):
        save_checkpoint(
            {"params": {"body.weight": torch.full((2,), value)}}, tmp_path / f"{name}.pth"
        )
    result = basicsr(
        "interpolate", tmp_path / "a.pth", tmp_path / "b.pth", "-o", tmp_path / "c.pth"
    )
    assert result.exit_code == 0, result.output
    assert load_checkpoint(tmp_path / "c.pth")["params"]["body.weight"].tolist() == [2.0, 2.0]


def test_what_does_not_match_is_named(tmp_path: Path) -> None:
    trained(tmp_path / "a.pth", 1)
    trained(tmp_path / "wide.pth", 1, embed_dim=32)
    trained(tmp_path / "short.pth", 1, depths=[1, 1])
    for other, words in (
        ("wide.pth", ["wide.pth: not weights of the same", "(28, 3, 3, 3) and (32, 3, 3, 3)"]),
        ("short.pth", ["only in", "a.pth: layers.1.residual_group.layers.1."]),
        ("none.pth", ["none.pth"]),
    ):
        result = basicsr(
            "interpolate", tmp_path / "a.pth", tmp_path / other, "-o", tmp_path / "c.pth"
        )
        assert result.exit_code == 1
        for each in words:
            assert each in result.output
        assert not (tmp_path / "c.pth").exists()
    result = basicsr("interpolate", "tiny_x2", "tiny_x2", "--weight", "nan", "-o", "c.pth")
    assert result.exit_code == 1
    assert "weights cannot be mixed by shares of nan" in result.output
    result = basicsr("interpolate", "tiny_x2", "tiny_x2", "-o", tmp_path / "c.onnx")
    assert result.exit_code == 2
    assert "must end in .safetensors or .pth" in result.output


def test_other_arguments_of_the_network_are_said(tmp_path: Path) -> None:
    trained(tmp_path / "a.pth", 1, img_range=1.0)
    trained(tmp_path / "b.pth", 2, img_range=255.0)
    files = (tmp_path / "a.pth", tmp_path / "b.pth", "-o", tmp_path / "c.pth")
    with pytest.warns(UserWarning, match=r"differ in img_range: 1\.0 and 255\.0; the first"):
        basicsr("interpolate", *files)
    assert load_network(tmp_path / "c.pth")[1]["img_range"] == 1.0
