"""The other commands, and the messages of the command line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from basicsr.metrics import calculate_psnr
from click.testing import CliRunner

from basicsr_mambair import repairs
from basicsr_mambair.cli import main
from basicsr_mambair.data.degradations import build_degradation
from mambair.imaging.jpeg import jpeg
from mambair.imaging.pixels import to_uint8
from mambair.imaging.reading import read_image
from mambair.imaging.writing import write_image
from tests.conftest import photograph, run_basicsr, tiny_network
from tests.mambair.inference.test_restorer import bicubic_network


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_help_lists_the_commands() -> None:
    code, output = invoke("--help")
    assert code == 0
    for name in ("train", "test", "restore", "report", "prepare", "complexity", "export", "doctor"):
        assert name in output
        assert invoke(name, "--help")[0] == 0


def test_errors_of_the_file_system_are_one_sentence() -> None:
    code, output = invoke("complexity", "-opt", "a" * 300)
    assert code == 1
    assert output == f"Error: {'a' * 300}: File name too long\n"


def test_doctor_names_backend_and_repairs() -> None:
    code, output = invoke("doctor")
    assert code == 0
    assert "'auto' selects it" in output
    for repair in repairs.repairs():
        assert repair.name in output


def test_test_measures(pairs: Path) -> None:
    weights = bicubic_network(pairs)
    contents = {
        "name": "measure", "model_type": "MambaIRv2LightModel", "scale": 2, "num_gpu": 1,
        "datasets": {"test_1": {
            "name": "three", "type": "PairedImageDataset", "task": "SR", "dataroot_gt": "HR",
            "dataroot_lq": "LR", "filename_tmpl": "{}x2", "io_backend": {"type": "disk"}}},
        "network_g": tiny_network(),
        "path": {"pretrain_network_g": str(weights), "strict_load_g": True},
        "val": {"baseline": "bicubic", "metrics": {
            "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}},
    }  # fmt: skip
    (pairs / "measure.yml").write_text(yaml.safe_dump(contents))
    run = run_basicsr("test", "-opt", "measure.yml", cwd=pairs)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log
    assert "Validation three" in log
    assert "Validation three, bicubic" in log
    pictures = pairs / "results" / "measure" / "visualization" / "three"
    assert len(list(pictures.iterdir())) == 3


@pytest.mark.parametrize("model", ["RestorationModel", "SRModel"])
def test_results_of_pictures_of_one_name_are_all_saved(model: str, tmp_path: Path) -> None:
    weights = bicubic_network(tmp_path)
    # In the order of the pictures: first/a.bmp, first/a.png, first/b.png, second/a.png.
    for number, name in enumerate(("first/a.bmp", "first/a.png", "first/b.png", "second/a.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(np.full((24, 28, 3), 50 * number, np.uint8), tmp_path / name)
    contents = {
        "name": "measure", "model_type": model, "scale": 2, "num_gpu": 0,
        "datasets": {"test": {
            "name": "two", "type": "DegradedImageDataset", "dataroot_gt": ["first", "second"],
            "degradation": "bicubic"}},
        "network_g": tiny_network(), "path": {"pretrain_network_g": str(weights)},
        "val": {"save_img": True},
    }  # fmt: skip
    (tmp_path / "measure.yml").write_text(yaml.safe_dump(contents))
    run = run_basicsr("test", "-opt", "measure.yml", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    folder = tmp_path / "results" / "measure" / "visualization" / "two"
    assert len(list(folder.iterdir())) == 4
    means = [read_image(folder / f"{each}_measure.png").mean() for each in ("a", "a_2", "b", "a_3")]
    assert np.diff(means).min() > 20  # each picture is brighter than the one before


def test_weights_of_another_size_are_explained(pairs: Path) -> None:
    weights = bicubic_network(pairs)
    contents = {
        "name": "measure", "model_type": "MambaIRv2Model", "scale": 2,
        "datasets": {"test": {"type": "PairedImageDataset", "dataroot_gt": "HR",
                              "dataroot_lq": "LR", "filename_tmpl": "{}x2"}},
        "network_g": tiny_network(embed_dim=32), "path": {"pretrain_network_g": str(weights)},
    }  # fmt: skip
    (pairs / "measure.yml").write_text(yaml.safe_dump(contents))
    run = run_basicsr("test", "-opt", "measure.yml", cwd=pairs)
    assert run.returncode == 1
    assert "tiny.pth: these weights do not fit MambaIRv2Light" in run.stderr
    assert "embed_dim: 28" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Pictures of every kind, one of them damaged."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    color = photograph(height=20, width=30)
    write_image(color, folder / "color.png")
    write_image(color[..., 0], folder / "gray.jpg")
    write_image(color.astype(np.uint16) * 257, folder / "deep.tif")
    write_image(np.dstack([color, color[..., 0]]), folder / "alpha.webp")
    write_image(color, folder / "plain.bmp")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_restore_end_to_end(gallery: Path, tmp_path: Path) -> None:
    bicubic_network(tmp_path)
    run = run_basicsr("restore", "gallery", "-o", "out", "-w", "tiny", cwd=tmp_path)
    assert run.returncode == 1
    assert "broken.png: not a readable picture" in run.stderr
    assert "5 of 6 pictures restored to out" in run.stdout
    assert "left" in run.stderr, "no progress bar"
    restored = {path.name: read_image(path) for path in (tmp_path / "out").glob("[!.]*")}
    assert restored.keys() == {"color.png", "gray.jpg", "deep.tif", "alpha.webp", "plain.bmp"}
    assert restored["color.png"].shape == (40, 60, 3)
    assert restored["gray.jpg"].shape == (40, 60)
    assert restored["deep.tif"].dtype == np.uint16
    assert restored["alpha.webp"].shape == (40, 60, 4)


def test_restore_files_globs_and_formats(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, output = invoke(
        "restore", "gallery/*r*.png", "gallery/plain.bmp", "-o", "out", "-w", "tiny",
        "--format", "png", "--suffix", "_x2", "--tile", "16", "--overlap", "4",
    )  # fmt: skip
    assert code == 1, output  # broken.png
    names = {path.name for path in (tmp_path / "out").glob("[!.]*")}
    assert names == {"color_x2.png", "plain_x2.png"}


def test_restore_simulates_and_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, output = invoke(
        "restore", "pkg://skimage/data/chelsea.png", "-o", "out", "-w", "tiny",
        "--simulate", "--compare", "--tile", "none",
    )  # fmt: skip
    assert code == 0, output
    assert "chelsea.png: Y-PSNR bicubic 35.25 dB, restored 35." in output
    assert cv2.imread("out/chelsea_compare.png") is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png", "-o", "out", "-w", "tiny"], "nowhere.png: no such file, folder"),
        (["gallery", "-o", "gallery", "-w", "tiny"], "a result would replace it"),
        (["gallery", "gallery2", "-o", "out", "-w", "tiny"], "would both become"),
        (["gallery", "-o", "out", "-w", "tinny"], "tinny: is neither a weights file nor"),
        (["gallery", "-o", "out", "-w", "tiny", "--tile", "big"], "must be 'authors', 'none'"),
        (
            ["gallery", "-o", "out", "-w", "tiny", "--tile", "64", "--overlap", "60"],
            "half the tile",
        ),
        (["gallery", "-o", "out", "-w", "tiny", "--device", "gpu"], "--device"),
        (["gallery", "-o", "out", "-w", "tiny", "--device", "cuda"], "--device"),
    ],
)
def test_restore_refuses_before_any_work(
    arguments: list[str], message: str, gallery: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bicubic_network(tmp_path)
    shutil.copytree(gallery, tmp_path / "gallery2")
    monkeypatch.chdir(tmp_path)
    code, output = invoke("restore", *arguments)
    assert code in (1, 2)
    assert message in output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_arguments_of_train() -> None:
    for arguments, message in (
        (["train", "-opt", "no.yml"], "no.yml: the option file does not exist"),
        (["train", "-opt", "no.yml", "x=1"], "to change an option: --force_yml x=1"),
        (["trian"], "No such command 'trian'"),
    ):
        code, output = invoke(*arguments)
        assert code in (1, 2)
        assert message in output


def test_restore_continues_after_any_failure(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mambair.inference import restorer

    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    original = restorer.Restorer.__call__

    def fail_on_gray(self: object, image: np.ndarray, *arguments: object) -> np.ndarray:
        if image.ndim == 2:
            raise RuntimeError("something unforeseen")
        return original(self, image, *arguments)

    monkeypatch.setattr(restorer.Restorer, "__call__", fail_on_gray)
    code, output = invoke("restore", "gallery", "-o", "out", "-w", "tiny")
    assert code == 1
    assert "gray.jpg: RuntimeError: something unforeseen" in output
    assert "4 of 6 pictures restored" in output


def test_restore_plans_comparisons_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bicubic_network(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a_compare.png"):
        write_image(photograph(), tmp_path / name)
    code, output = invoke(
        "restore", "a.png", "a_compare.png", "-o", "out", "-w", "tiny", "--compare"
    )
    assert code == 2
    assert "would both become" in output
    assert not (tmp_path / "out").exists()


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """``photo.png`` in the current directory, far from any weights; and its pixels."""
    monkeypatch.chdir(tmp_path)
    image = photograph("chelsea", 120, 160)
    write_image(image, "photo.png")
    return image


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_restore_enlarges_better_than_bicubic_without_any_weights_named(
    picture: np.ndarray, scale: int
) -> None:
    code, output = invoke("restore", "photo.png", "--scale", scale, "--simulate")
    assert code == 0, output
    gain = float(re.search(r"restored [\d.]+ dB \(([-+.\d]+)\)", output)[1])
    assert gain > 0.5, output
    restored = read_image(f"restored/tiny_x{scale}_simulated/photo.png")
    assert restored.shape == (120 // scale * scale, 160 // scale * scale, 3)


def test_restore_removes_jpeg_artifacts_and_noise(picture: np.ndarray) -> None:
    gray = picture[..., 0]
    compressed = jpeg(gray[..., None], 10)[..., 0]
    noise = np.random.default_rng(0).normal(0, 25, picture.shape)
    noisy = (picture + noise).clip(0, 255).round().astype(np.uint8)
    dark = build_degradation({"type": "camera_noise", "shot": 0.01, "read": 0.0001}, 1)
    taken = to_uint8(dark(picture, np.random.default_rng(0)))
    for task, before, truth, least in (
        ("jpeg", compressed, gray, 0.5), ("denoising", noisy, picture, 5),
        ("camera", taken, picture, 5),
    ):  # fmt: skip
        write_image(before, f"{task}.png")
        code, output = invoke("restore", f"{task}.png", "--task", task, "--tile", "none")
        assert code == 0, output
        after = read_image(f"restored/tiny_{task}/{task}.png")
        gain = calculate_psnr(after, truth, 0) - calculate_psnr(before, truth, 0)
        assert gain > least, task


def test_restore_does_not_take_an_experiment_for_the_default(picture: np.ndarray) -> None:
    """A training of the same name in the current directory may have just begun."""
    models = Path("experiments/tiny_x2/models")
    models.mkdir(parents=True)
    (models / "net_g_latest.pth").write_bytes(b"half-written")
    Path("tiny_x2").write_bytes(b"something else")
    assert invoke("restore", "photo.png", "--tile", "none")[0] == 0


def test_restore_with_self_ensemble(picture: np.ndarray) -> None:
    assert invoke("restore", "photo.png", "--tile", "none")[0] == 0
    arguments = ["--tile", "none", "--self-ensemble", "-o", "eight"]
    assert invoke("restore", "photo.png", *arguments)[0] == 0
    one, eight = read_image("restored/tiny_x2/photo.png"), read_image("eight/photo.png")
    difference = np.abs(one.astype(int) - eight)
    assert 0 < difference.mean() < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", 5], "scale 5: task 'sr' has weights for scale 2, 3, 4"),
        (["--task", "jpeg", "--scale", 2], "scale 2: task 'jpeg' has weights for scale 1"),
        (["--task", "sr", "-w", "tiny_x2"], "--task chooses weights, and so does --weights"),
        (["--scale", 3, "-w", "tiny_x2"], "enlarges by 2"),
        (["-w", "unknown"], "models known here: tiny_camera, tiny_denoising, tiny_jpeg"),
    ],
)
def test_restore_refuses_what_does_not_go_together(
    picture: np.ndarray, arguments: list, message: str
) -> None:
    code, output = invoke("restore", "photo.png", *arguments)
    assert code != 0
    assert message in output
    assert not Path("restored").exists()
