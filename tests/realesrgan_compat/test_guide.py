"""docs/realesrgan.md and the examples of docstrings: what they show is run as it stands there."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml

from mambair.archs.registry import build_network, build_on_meta
from mambair.checkpoint import save_checkpoint
from mambair.imaging.reading import read_image
from tests.conftest import ROOT, photograph, tiny_network
from tests.realesrgan_compat.test_upsampler import FOREIGN

PAGE = (ROOT / "docs" / "realesrgan.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def sides(diff: str) -> tuple[str, str]:
    """The text before and after a diff."""
    lines = diff.splitlines()
    return tuple(  # type: ignore[return-value]
        "\n".join(line[1:] for line in lines if line[:1] in (" ", sign)) for sign in "-+"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the page's commands name."""
    (tmp_path / "inputs").mkdir()
    picture = photograph(height=24, width=32)
    for name in ("photo.png", "inputs/a.png", "inputs/b.jpg"):
        cv2.imwrite(str(tmp_path / name), picture)
    for name in ("my_mambair", "gan", "psnr"):
        state = build_network(tiny_network()).state_dict()
        save_checkpoint({"params": state}, tmp_path / f"{name}.pth")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


MODULES = {
    "basicsr": "basicsr_mambair",
    "realesrgan-mambair": "realesrgan_compat",
    "realesrgan-mambair-video": "realesrgan_compat.video",
}


@pytest.mark.parametrize("module", ["", ".upsampler", ".networks", ".weights"])
def test_examples_of_docstrings_run(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"realesrgan_compat{module}"))
    assert result.attempted
    assert not result.failed


def test_the_program_runs(folder: Path) -> None:
    (program,) = blocks("python")
    run([sys.executable, "-c", program], folder)
    assert read_image(folder / "photo_out.png").shape == (84, 112, 3)
    old, new = sides(blocks("diff")[0])
    assert "from realesrgan import" in old
    for line in new.splitlines():
        assert line in program


def test_the_commands_run(folder: Path) -> None:
    commands = [sides(blocks("diff")[1])[1], *"".join(blocks("bash")).splitlines()]
    pytest.importorskip("av", minversion="18")
    from tests.realesrgan_compat.test_videos import make_video

    make_video(folder / "film.mp4", range(3))
    assert len(commands) == 5
    for command in commands:
        name, *arguments = shlex.split(command)
        run([sys.executable, "-m", MODULES[name], *arguments], folder)
    expected = {"a_out.png", "b_out.jpg", "a_big.png", "b_big.png", "film_out.mp4"}
    assert {path.name for path in (folder / "results").iterdir()} == expected
    assert (folder / "tiny_x2.pth").is_file()
    assert (folder / "mixed.pth").is_file()


def test_the_sections_build_networks_of_one_scale() -> None:
    old, new = (yaml.safe_load(side)["network_g"] for side in sides(blocks("diff")[2]))
    assert new["upscale"] == 4
    net = build_on_meta(new)
    assert (type(net).__name__, net.upscale) == ("MambaIRv2", 4)
    pytest.importorskip("basicsr")
    assert old.keys() <= FOREIGN[0].keys()
    build_on_meta(old)
