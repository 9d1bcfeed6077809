"""``basicsr explain``, from weights and pictures to drawings and tables."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result

from basicsr_mambair.cli.explain import FINDINGS
from basicsr_mambair.cli.main import main
from mambair import findings
from mambair.archs.registry import build_network
from mambair.checkpoint import SECTION_KEY, save_checkpoint
from tests.conftest import ROOT, photograph, tiny_network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures, and weights of MambaIRv2, MambaIR and SwinIR."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("coffee", "chelsea"):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), photograph(name, 33, 40))
    common = {"upscale": 2, "depths": [1], "upsampler": "pixelshuffledirect", "embed_dim": 16}
    sections = {
        "two": tiny_network(depths=[1], num_heads=[2]),
        "one": {"type": "MambaIR", "d_state": 2, "mlp_ratio": 1.5, **common},
        "swin": {"type": "SwinIR", "img_size": 16, "window_size": 4, "num_heads": [2], **common},
    }
    for name, section in sections.items():
        state = build_network(section).state_dict()
        save_checkpoint({"params": state, SECTION_KEY: section}, tmp_path / f"{name}.pth")
    return tmp_path


def explain(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def test_names_are_those_of_the_package():
    assert set(FINDINGS) == {*findings.OF_ONE_PICTURE, "receptive_field"}


def test_what_is_left_out_of_a_folder_is_said(folder):
    (folder / "photos" / "more").mkdir()
    arguments = ("-w", "two.pth", "--side", 16, "--finding", "semantic_neighbors")
    result = explain("photos", *arguments)
    assert result.exit_code == 0, result.output
    assert "left out: photos: 1 sub-folders: more" in result.output


def test_what_is_not_looked_at_of_a_picture_is_said(folder):
    pictures = ROOT / "tests" / "data" / "pictures"
    arguments = ("-w", "two.pth", "--side", 16, "--finding", "semantic_neighbors")
    result = explain(pictures / "pages.tif", pictures / "o6_rgba.png", *arguments)
    assert result.exit_code == 0, result.output
    assert "pages.tif: further pages or frames\n" in result.output
    assert "o6_rgba.png: its transparency\n" in result.output
    assert result.output.count("left out") == 2


def test_a_whole_family(folder):
    result = explain(
        "photos", "-w", "two.pth", "-w", "one.pth", "-w", "swin.pth", "--side", 16,
        "--field-side", 16, "-o", "out", "--pixel", "20,16",
        "--finding", "semantic_neighbors", "--finding", "direction_redundancy",
        "--finding", "receptive_field", "--finding", "attentive_map",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    names = {path.name for path in Path("out").iterdir()}
    expected = {"two_one_swin_2_pictures_receptive_field"}
    for photo in ("coffee", "chelsea"):
        expected |= {
            f"two_{photo}_semantic_neighbors",
            f"two_{photo}_attentive_map",
            f"one_{photo}_direction_redundancy",
        }
    assert names == {name + suffix for name in expected for suffix in (".png", ".csv")}
    assert "semantic_neighbors: not shown: MambaIR does not route its tokens" in result.output
    assert "not shown: SwinIR has no block with a selective scan" in result.output
    assert "two_coffee: 16×16 of 40×33 pixels, from column 12, row 8" in result.output
    with Path("out/two_one_swin_2_pictures_receptive_field.csv").open() as file:
        assert {line["network"] for line in csv.DictReader(file)} == {"two", "one", "swin"}
    with Path("out/two_coffee_attentive_map.csv").open() as file:
        assert [(line["x"], line["y"]) for line in csv.DictReader(file)] == [("20", "16")]


def test_routing(folder):
    arguments = ("photos/coffee.png", "--finding", "semantic_neighbors", "-w", "two.pth")
    sampled = explain(*arguments, "-o", "sampled")
    without_noise = explain(*arguments, "-o", "argmax", "--routing", "argmax")
    assert sampled.exit_code == without_noise.exit_code == 0
    table = "two_coffee_semantic_neighbors.csv"
    assert Path("sampled", table).read_text() != Path("argmax", table).read_text()
    refused = explain(*arguments[:-1], "one.pth", "--routing", "argmax")
    assert "--routing is left out: one, a MambaIR, has none" in refused.output


def test_what_is_replaced_is_said(folder):
    arguments = ("-w", "two.pth", "--side", 16, "--finding", "semantic_neighbors")
    for replaced in (False, True):
        result = explain("photos/coffee.png", *arguments)
        assert result.exit_code == 0, result.output
        assert ("(replaced)" in result.output) is replaced
    field = ("-w", "two.pth", "--finding", "receptive_field")
    for name in ("coffee", "chelsea"):
        assert "(replaced)" not in explain(f"photos/{name}.png", *field).output
        assert Path(f"findings/two_{name}_receptive_field.png").exists()


def test_names_of_files_do_not_meet(folder):
    os.replace("photos/coffee.png", "photos/x_coffee.png")
    os.replace("photos/chelsea.png", "photos/coffee.png")
    shutil.copy("two.pth", "two_x.pth")
    result = explain("photos", "-w", "two.pth", "-w", "two_x.pth", "--field-side", 16)
    assert result.exit_code == 2
    assert "two pairs of weights and picture would be named two_x_coffee" in result.output
    assert not Path("findings").exists()


def test_nothing_to_show(folder):
    result = explain("photos", "-w", "two.pth", "--finding", "direction_redundancy")
    assert result.exit_code == 1
    assert "direction_redundancy: not shown: MambaIRv2Light scans in one" in result.output
    assert "none of the findings that were asked for could be shown" in result.output


@pytest.mark.parametrize(
    ("finding", "option"), [("decay", "--side"), ("receptive_field", "--field-side")]
)
def test_too_little_memory(finding, option, folder, monkeypatch):
    def measure(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . can't allocate memory")

    monkeypatch.setattr(findings, finding, measure)
    if finding in findings.OF_ONE_PICTURE:
        monkeypatch.setitem(findings.OF_ONE_PICTURE, finding, measure)
    result = explain("photos/coffee.png", "-w", "two.pth", "--finding", finding)
    assert result.exit_code == 1
    assert f"not enough memory; try a smaller {option}" in result.output


def test_receptive_fields_of_small_pictures(folder):
    cv2.imwrite("photos/small.png", photograph("coffee", 30, 27))
    result = explain("photos", "-w", "two.pth", "-w", "swin.pth", "--finding", "receptive_field")
    assert result.exit_code == 0, result.output
    assert "out of 24×24 pixels, mean of 3 pictures" in result.output
    assert "over 24×24 pixels, because photos/small.png has 27×30 (--field-side" in result.output


def test_sides_that_networks_take_together(folder):
    for window in (5, 112):
        section = tiny_network(depths=[1], num_heads=[2], window_size=window)
        state = build_network(section).state_dict()
        save_checkpoint({"params": state, SECTION_KEY: section}, f"w{window}.pth")
    field = ("--finding", "receptive_field")
    result = explain("photos", "-w", "two.pth", "-w", "w5.pth", *field)
    assert result.exit_code == 0, result.output
    assert "out of 20×20 pixels" in result.output  # multiples of 4 and of 5
    cv2.imwrite("large.png", photograph("coffee", 120, 130))
    # Other findings do not depend on it, and it is as long as it has to be.
    result = explain("large.png", "-w", "w112.pth", "--finding", "semantic_neighbors")
    assert result.exit_code == 0, result.output
    result = explain("large.png", "-w", "w112.pth", *field)
    assert "out of 112×112 pixels" in result.output
    result = explain("large.png", "photos", "-w", "w112.pth", *field)
    assert result.exit_code == 1
    assert "photos/chelsea.png, w112: a receptive field needs 112×112 pixels here" in result.output


def test_a_pixel_is_looked_for_where_there_is_an_attentive_map(folder):
    cv2.imwrite("odd.png", photograph("coffee", 33, 45))
    arguments = ("-w", "two.pth", "-w", "one.pth", "--side", 0, "--finding", "attentive_map")
    Path("swin.pth").rename("s.pth")
    result = explain("odd.png", *arguments, "-w", "s.pth", "--pixel", "0,32")
    assert (result.exit_code, "two: pixel 0,32 is outside" in result.output) == (1, True)
    result = explain("odd.png", *arguments, "-w", "s.pth", "--pixel", "0,31")
    assert result.exit_code == 0, result.output
    assert "MambaIR has no prompts" in result.output


def test_nothing_is_measured_before_all_is_known_to_fit(folder):
    cv2.imwrite("photos/small.png", photograph("coffee", 16, 24))
    for arguments, message in (
        (["--field-side", 16, "--pixel", "30,20"], "photos/small.png, two: pixel 30,20 is outside"),
        (["--field-side", 24], "photos/small.png, two: the picture is 24×16 pixels; 24×24 of it"),
        (["--finding", "receptive_field", "--field-side", 24], "photos/small.png, two: the"),
    ):
        result = explain("photos", "-w", "two.pth", *arguments)
        assert (result.exit_code, message in result.output) == (1, True), result.output
        assert not Path("findings").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "-w", "two.pth", "--pixel", "3"], "--pixel: must be X,Y in pixels, got '3'"),
        (["nothing.png", "-w", "two.pth"], "nothing.png: no such file, folder or pattern"),
        (["photos", "-w", "none"], "none: is neither a weights file nor the name of a model"),
        (["photos", "-w", "two.pth", "-w", "./two.pth"], "two of the weights are named two"),
        (["photos/coffee.png", "photos/coffee.bmp", "-w", "two.pth"], "two pictures are named"),
        (
            ["photos/coffee.png", "-w", "two.pth", "--pixel", "900,1"],
            "coffee.png, two: pixel 900,1 is outside",
        ),
        (
            ["photos/coffee.png", "-w", "two.pth", "--side", "2"],
            "coffee.png, two: the picture is 40×33 pixels",
        ),
        (
            ["photos", "-w", "two.pth", "--finding", "decay", "--pixel", "1,1"],
            "--pixel has no effect on --finding decay",
        ),
        (
            ["photos", "-w", "two.pth", "--finding", "receptive_field", "--side", "16"],
            "--side has no effect on --finding receptive_field",
        ),
        (
            ["photos", "-w", "two.pth", "--finding", "decay", "--field-side", "16"],
            "--field-side has no effect on --finding decay",
        ),
        (
            ["photos", "-w", "two.pth", "--finding", "receptive_field", "--field-side", "96"],
            "chelsea.png, two: the picture is 40×33 pixels; 96×96 of it are needed",
        ),
    ],
)
def test_what_is_wrong_is_said(folder, arguments, message):
    cv2.imwrite("photos/coffee.bmp", photograph("coffee", 33, 40))
    if "photos" in arguments:
        Path("photos/coffee.bmp").unlink()
    result = explain(*arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert not Path("findings").exists()
