"""SIDD and DND, the whole way: MATLAB's files, an option file, figures, and what is sent."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import yaml

from basicsr_mambair.metrics import calculate_ssim_matlab
from basicsr_mambair.options import OptionError, load_options
from basicsr_mambair.report import measure, plan, write_report
from mambair.archs import MambaIRUNet
from mambair.checkpoint import save_checkpoint
from mambair.imaging.errors import PictureError
from tests.basicsr_mambair.processes import Job, run
from tests.conftest import ROOT, run_basicsr
from tests.matlab_files import dnd, sidd_pair, write_arrays

NETWORK = {"dim": 30, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}


def option_file(folder: Path, benchmark: str, **changes: object) -> Path:
    """The project's option file of a benchmark, with a small network and its weights."""
    torch.manual_seed(0)
    net = MambaIRUNet(**NETWORK)
    save_checkpoint({"params": net.state_dict()}, folder / "small.pth")
    contents = {
        "extends": str(ROOT / "options" / "test" / f"mambair_real_denoising_{benchmark}.yml"),
        "name": "small", "num_gpu": 0, "network_g": {**NETWORK, "mlp_ratio": 2.0},
        "path": {"pretrain_network_g": "small.pth"}, **changes,
    }  # fmt: skip
    path = folder / f"{benchmark}.yml"
    path.write_text(yaml.safe_dump(contents))
    return path


def restored(folder: Path, pictures: np.ndarray) -> np.ndarray:
    """What the network makes of ``(…, H, W, 3)`` in [0, 1]: clipped, not rounded."""
    net = MambaIRUNet(**NETWORK).eval()
    net.load_state_dict(torch.load(folder / "small.pth")["params"])
    batch = torch.from_numpy(pictures.reshape(-1, *pictures.shape[-3:])).permute(0, 3, 1, 2)
    with torch.no_grad():
        results = [net(each[None])[0] for each in batch]
    return torch.stack(results).clamp(0, 1).permute(0, 2, 3, 1).numpy().reshape(pictures.shape)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(1 / np.mean((a.astype(np.float64) - b) ** 2))


def figures(results: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Means over the blocks, peak 1."""
    pairs = [(results[place], truth[place] / 255) for place in np.ndindex(2, 3)]
    ssim = [calculate_ssim_matlab(255.0 * a, 255.0 * b, 0) for a, b in pairs]
    return float(np.mean([psnr(a, b) for a, b in pairs])), float(np.mean(ssim))


def test_sidd_is_measured_and_sent(tmp_path: Path) -> None:
    """``basicsr test`` on MATLAB 5: the figures of the log, and ``Idenoised.mat``."""
    noisy, true = sidd_pair(tmp_path / "datasets" / "SIDD", "5")
    run = run_basicsr("test", "-opt", option_file(tmp_path, "sidd"), cwd=tmp_path)
    results = restored(tmp_path, noisy.astype(np.float32) / 255)
    text = run.stdout + run.stderr
    found = [float(re.search(rf"# {name}: ([\d.]+)", text)[1]) for name in ("psnr", "ssim")]
    assert found == pytest.approx(figures(results, true), abs=6e-5)
    sent = tmp_path / "results" / "small" / "submission" / "SIDD" / "Idenoised.mat"
    assert str(sent) in text.replace("\n", "")
    written = scipy.io.loadmat(sent)["Idenoised"]
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, results, atol=1e-5)
    # What the benchmark's own script would compute of the file.
    assert figures(written, true) == pytest.approx(figures(results, true), abs=1e-4)
    saved = sorted((tmp_path / "results" / "small" / "visualization" / "SIDD").iterdir())
    assert [path.name for path in saved][:2] == ["0001_01_small.png", "0001_02_small.png"]


def test_the_report_prints_sidd_beside_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``basicsr report`` on MATLAB 7.3."""
    monkeypatch.chdir(tmp_path)
    noisy, true = sidd_pair(tmp_path / "datasets" / "SIDD", "7.3")
    path = option_file(tmp_path, "sidd")
    assert plan(path).pictures[:2] == ("SIDD/0001_01", "SIDD/0001_02")
    measurement = measure(path)
    expected = figures(restored(tmp_path, noisy.astype(np.float32) / 255), true)
    found = [measurement.mean("SIDD", metric) for metric in ("psnr", "ssim")]
    assert found == pytest.approx(expected, abs=1e-4)
    before = [measurement.mean("SIDD", metric, baseline=True) for metric in ("psnr", "ssim")]
    assert before == pytest.approx(figures(noisy / 255, true), abs=1e-4)
    assert all(len(each.stamp[0]) == 2 for each in measurement.pictures)  # the .mat file's
    write_report([measurement], tmp_path / "out", "command")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## Noise of real cameras" in text
    assert re.search(r"\| MambaIR +\|.* 39\.89 \| +0\.9600 \|", text)
    difference = f"({found[0] - 39.89:+.2f})"
    assert difference in text
    assert "clipped to [0, 1] and not rounded" in text


@pytest.mark.slow
def test_two_processes_send_what_one_sends(tmp_path: Path) -> None:
    """``Idenoised.mat`` and DND's bundle, bit for bit, whoever restored the parts."""
    jobs = []
    for n in (1, 2):
        folder = tmp_path / str(n)
        sidd_pair(folder / "datasets" / "SIDD", "5")
        dnd(folder / "datasets" / "DND", "5")
        for benchmark in ("sidd", "dnd"):
            file = option_file(folder, benchmark, name=benchmark)
            jobs.append(Job(str(folder), n, ["test", "-opt", file.name]))
    run(*jobs)
    one, two = (sent_arrays(tmp_path / str(n)) for n in (1, 2))
    assert len(one) == 1 + 5 + 2  # Idenoised.mat, DND's boxes, and its bundle
    assert two == one


def sent_arrays(folder: Path) -> dict[str, dict[str, list[bytes]]]:
    """The variables of every file to be sent, without the date that MATLAB files begin with."""
    files = sorted(folder.rglob("submission/**/*.mat"))
    loaded = {str(path.relative_to(folder)): scipy.io.loadmat(path) for path in files}
    return {
        name: {key: bits(value) for key, value in each.items() if not key.startswith("__")}
        for name, each in loaded.items()
    }


def bits(value: np.ndarray) -> list[bytes]:
    """The bytes of an array, or of those in a cell array."""
    return [each.tobytes() for each in (value.flat if value.dtype == object else [value])]


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_dnd_is_restored_and_sent(version: str, tmp_path: Path) -> None:
    photographs, _ = dnd(tmp_path / "datasets" / "DND", version)
    run = run_basicsr("test", "-opt", option_file(tmp_path, "dnd"), cwd=tmp_path)
    sent = tmp_path / "results" / "small" / "submission" / "DND"
    assert str(sent / "bundled") in (run.stdout + run.stderr).replace("\n", "")
    assert len(list(sent.glob("*.mat"))) == 5
    bundle = scipy.io.loadmat(sent / "bundled" / "0002.mat")
    assert bundle["Idenoised"].shape == (1, 3)
    expected = restored(tmp_path, photographs[1][10:26, :12])  # 16 × 12: padded inside
    np.testing.assert_allclose(bundle["Idenoised"][0, 1], expected, atol=1e-5)
    assert (bundle["israw"].item(), bundle["eval_version"].item()) == (0, "1.0")


def test_blocks_without_truth_are_only_sent(tmp_path: Path) -> None:
    """SIDD's benchmark, as the documentation has it; metrics of it are an option error."""
    noisy, _ = sidd_pair(tmp_path / "datasets" / "SIDD", "5")
    name = "BenchmarkNoisyBlocksSrgb"
    benchmark = Path("datasets", "SIDD", f"{name}.mat")
    write_arrays(tmp_path / benchmark, "5", **{name: noisy})
    section = {"test": {"dataroot_gt": None, "dataroot_lq": str(benchmark)}}
    with pytest.raises(
        OptionError, match=r"calculate_psnr compares with true pictures, which SIDD"
    ):
        load_options(
            option_file(tmp_path, "sidd", datasets=section), is_train=False, check_files=False
        )
    run = run_basicsr(
        "test", "-opt", option_file(tmp_path, "sidd"), "--force_yml",
        f"datasets:test:dataroot_lq={benchmark}", "datasets:test:dataroot_gt=null",
        "val:metrics=null", "val:baseline=null", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    sent = tmp_path / "results" / "small" / "submission" / "SIDD" / "Idenoised.mat"
    expected = restored(tmp_path, noisy.astype(np.float32) / 255)
    np.testing.assert_allclose(scipy.io.loadmat(sent)["Idenoised"], expected, atol=1e-5)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_wrong_files_are_option_errors(version: str, tmp_path: Path) -> None:
    """One sentence with key, file and variable, before anything is built or written."""
    data = tmp_path / "datasets" / "SIDD"
    sidd_pair(data, version)
    write_arrays(data / "ValidationGtBlocksSrgb.mat", version, blocks=np.zeros((2, 2)))
    run = run_basicsr("test", "-opt", option_file(tmp_path, "sidd"), cwd=tmp_path)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert (
        "datasets.test: datasets/SIDD/ValidationGtBlocksSrgb.mat: has no variable "
        "ValidationGtBlocksSrgb; it holds blocks"
    ) in " ".join(run.stderr.split())
    assert not (tmp_path / "results").exists()


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photographs.yml"
    contents = {
        "extends": str(ROOT / "options" / "test" / "tiny_x2.yml"),
        "val": {"submission": True},
    }
    path.write_text(yaml.safe_dump(contents))
    with pytest.raises(OptionError, match=r"val\.submission: .* has no benchmark to send results"):
        load_options(path, is_train=False, check_files=False)
    contents["extends"] = str(ROOT / "options" / "train" / "quickstart.yml")
    path.write_text(yaml.safe_dump(contents))
    with pytest.raises(OptionError, match=r"val\.submission: is written by a test, not in train"):
        load_options(path, is_train=True, check_files=False)


def test_a_benchmark_is_not_for_training() -> None:
    from basicsr.data import build_dataset

    for name, key in (("SIDDBlocksDataset", "a.mat"), ("DNDDataset", "folder")):
        with pytest.raises(ValueError, match=f"type: {name} is for measuring, not for training"):
            build_dataset({"type": name, "phase": "train", "dataroot_lq": key})
    with pytest.raises(
        ValueError, match=r"dataroot_lq: must be a MATLAB file \(\.mat\), got folder"
    ):
        build_dataset({"type": "SIDDBlocksDataset", "phase": "test", "dataroot_lq": "folder"})
    with pytest.raises(PictureError, match=r"a\.mat: cannot be read: No such file"):
        build_dataset({"type": "SIDDBlocksDataset", "phase": "test", "dataroot_lq": "a.mat"})
