"""``basicsr train`` as users run it: processes of their own, killed, resumed, distributed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from basicsr_mambair.runs.metrics import read_metrics
from basicsr_mambair.runs.provenance import last_leg
from tests.conftest import ROOT, run_basicsr, tiny_network

STOCK = """
name: stock
model_type: SRModel
scale: 2
num_gpu: 1
manual_seed: 0
datasets:
  train:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: HR
    dataroot_lq: LR
    filename_tmpl: '{}x2'
    io_backend:
      type: disk
    gt_size: 32
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 1
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 2
    prefetch_mode: ~
  val:
    name: pairs
    type: PairedImageDataset
    dataroot_gt: HR
    dataroot_lq: LR
    filename_tmpl: '{}x2'
    io_backend:
      type: disk
network_g:
  type: MSRResNet
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 8
  num_block: 1
  upscale: 2
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 2e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: CosineAnnealingRestartLR
    periods: [250000, 250000]
    restart_weights: [1, 1]
    eta_min: !!float 1e-7
  total_iter: 6
  warmup_iter: -1
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
val:
  val_freq: !!float 5e3
  save_img: false
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 2
      test_y_channel: false
logger:
  print_freq: 2
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""


def option_file(folder: Path, total: int = 20) -> Path:
    """MambaIRv2Light on the miniature pairs; the learning rate halves at iteration 12."""
    contents = {
        "name": "run", "model_type": "MambaIRv2Model", "scale": 2, "manual_seed": 0,
        "datasets": {
            "train": {
                "type": "DegradedImageDataset", "dataroot_gt": "HR", "gt_size": 16,
                "num_worker_per_gpu": 1, "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 4,
            },
            "val": {
                "type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR",
                "filename_tmpl": "{}x2",
            },
        },
        "network_g": tiny_network(),
        "train": {
            "ema_decay": 0.9, "total_iter": total,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [12], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"val_freq": total, "metrics": {
            "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 5},
    }  # fmt: skip
    path = folder / "run.yml"
    path.write_text(yaml.safe_dump(contents))
    return path


def learning_rates(log: str) -> dict[int, str]:
    """Iteration to the learning rate in a log line."""
    lines = [line for line in log.splitlines() if "[epoch:" in line]
    return {
        int(line.split("iter:")[1].split(",")[0]): line.split("lr:(")[1].split(",")[0]
        for line in lines
    }


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "basicsr_mambair", *map(str, arguments)],
        cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"{path} never appeared"
        time.sleep(0.05)


def test_killed_and_resumed(pairs: Path) -> None:
    option_file(pairs, total=100000)
    process = start("train", "-opt", "run.yml", cwd=pairs)
    states = pairs / "experiments" / "run" / "training_states"
    wait_for(states / "10.state", process)
    process.kill()
    process.communicate()
    last = max(int(path.stem) for path in states.glob("*.state"))

    option_file(pairs, total=last + 7)
    resumed = run_basicsr("train", "-opt", "run.yml", "--auto_resume", cwd=pairs)
    assert resumed.returncode == 0, resumed.stderr
    log = resumed.stdout + resumed.stderr
    assert f"Resuming training from epoch: {(last - 1) // 6}, iter: {last}." in log
    rates = learning_rates(log)
    assert list(rates) == list(range(last + 1, last + 8))
    for iteration, rate in rates.items():
        assert rate == ("1.000e-03" if iteration <= 12 else "5.000e-04"), iteration
    weights = torch.load(pairs / "experiments" / "run" / "models" / "net_g_latest.pth")
    assert weights.keys() == {"params", "params_ema", "network"}
    assert not list((pairs / "experiments").glob("*archived*"))


def test_interrupt_saves_and_says_how_to_continue(pairs: Path) -> None:
    option_file(pairs, total=100000)
    process = start("train", "-opt", "run.yml", cwd=pairs)
    states = pairs / "experiments" / "run" / "training_states"
    wait_for(states / "5.state", process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    saved = int(output.split("saved iteration ")[1].split(".")[0])
    assert (states / f"{saved}.state").exists()
    assert "--auto_resume" in output
    assert output.count("saving after this iteration") == 1, "a worker answered too"
    restored = run_basicsr("restore", "LR", "-o", "out", "-w", "run", cwd=pairs)
    assert restored.returncode == 0, restored.stderr


def torchrun(file: str, *changes: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Trains with two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    launch += ["--master_port", str(20000 + os.getpid() % 20000), "-m", "basicsr_mambair"]
    train = ["train", "-opt", file, "--launcher", "pytorch", "--force_yml", *changes]
    return subprocess.run([*launch, *train], cwd=cwd, capture_output=True, text=True, timeout=240)


def test_distributed_without_a_gpu(pairs: Path) -> None:
    option_file(pairs, total=8)
    run = torchrun("run.yml", "datasets:train:dataset_enlarge_ratio=50", cwd=pairs)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log
    assert "World size (gpu number): 2" in log
    assert list(learning_rates(log)) == list(range(1, 9))
    assert "# psnr:" in log
    own = pairs / "experiments" / "run"
    assert (own / "models" / "net_g_latest.pth").exists()
    reported = [(each["iter"], "val" in each) for each in read_metrics(own)]
    assert reported == [*((i, False) for i in range(1, 9)), (8, True)], "one process reports"
    leg = last_leg(own)
    assert leg is not None
    assert (leg["processes"], leg["end"]["state"]) == (2, "finished")
    assert leg["command"].startswith("torchrun --nproc_per_node=2 -m basicsr_mambair train -opt")


def test_a_stock_file_trains_distributed_with_workers(pairs: Path) -> None:
    """Workers are spawned there, and read BasicSR's own dataset."""
    (pairs / "stock.yml").write_text(STOCK)
    run = torchrun("stock.yml", "train:total_iter=2", cwd=pairs)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (pairs / "experiments" / "stock" / "models" / "net_g_latest.pth").exists()


def test_a_stock_file_trains_unchanged(pairs: Path) -> None:
    (pairs / "stock.yml").write_text(STOCK)
    run = run_basicsr("train", "-opt", "stock.yml", cwd=pairs)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log
    assert "Dataset [PairedImageDataset] - pairs is built." in log
    assert "Model [SRModel] is created." in log
    assert "# psnr:" in log
    assert (pairs / "experiments" / "stock" / "models" / "net_g_latest.pth").exists()
    assert list((pairs / "tb_logger" / "stock").iterdir())


_SCRIPT = """
import os
import basicsr_mambair
from basicsr.train import train_pipeline
if __name__ == "__main__":
    train_pipeline(os.getcwd())
"""


def test_plain_basicsr_in_a_script(pairs: Path) -> None:
    option_file(pairs, total=2)
    (pairs / "my_train.py").write_text(_SCRIPT)
    run = subprocess.run(
        [sys.executable, "my_train.py", "-opt", "run.yml", "--local-rank", "0",
         "--force_yml", "name=mine", "train:total_iter=3"],
        cwd=pairs, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert list(learning_rates(run.stdout + run.stderr)) == [1, 2, 3]
    assert (pairs / "experiments" / "mine" / "models" / "net_g_latest.pth").exists()


def test_the_locale_does_not_matter(pairs: Path) -> None:
    """An option file is UTF-8 even where the default encoding of files is ASCII or cp932."""
    path = option_file(pairs, total=1)
    contents = yaml.safe_load(path.read_text())
    contents["datasets"]["train"]["name"] = "größer"
    text = yaml.safe_dump(contents, allow_unicode=True)
    path.write_text(f"# σ ×2\n{text}", encoding="utf-8")
    c_locale = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run(
        [sys.executable, "-m", "basicsr_mambair", "train", "-opt", "run.yml"],
        cwd=pairs, capture_output=True, timeout=240, env={**os.environ, **c_locale},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode(errors="replace")
    assert b"Logging error" not in run.stderr
    copy = pairs / "experiments" / "run" / "run.yml"
    assert "# σ ×2\n" in copy.read_text(encoding="utf-8")
    (log,) = (pairs / "experiments" / "run").glob("*.log")
    assert "größer" in log.read_text(encoding="utf-8")


def test_shipped_weights_are_found_from_any_folder(pairs: Path) -> None:
    """The shipped option files give a path in a clone."""
    weights = "experiments/pretrained_models/tiny_x2.safetensors"
    path = option_file(pairs)
    contents = yaml.safe_load(path.read_text())
    for key in ("train", "logger"):
        del contents[key]
    del contents["val"]["val_freq"]
    shipped = yaml.safe_load((ROOT / "options" / "base" / "mambairv2_tiny.yml").read_text())
    contents["network_g"] = {**shipped["network_g"], "upscale": 2}
    contents["datasets"] = {"test": contents["datasets"]["val"]}
    contents["path"] = {"pretrain_network_g": weights}
    path.write_text(yaml.safe_dump(contents))
    run = run_basicsr("test", "-opt", "run.yml", cwd=pairs)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log
    assert f"path.pretrain_network_g: {weights} does not exist; " in log
    assert "tiny_x2.safetensors" in log.split("does not exist; using ")[1].splitlines()[0]
    psnr = float(log.split("# psnr: ")[1].split()[0])
    assert psnr > 25, "weights that were not loaded restore nothing"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("network_g:", "netwrok_g:", ":20: netwrok_g: unknown key; did you mean 'network_g'?"),
        ("embed_dim:", "embed_dimm:", ":25: network_g.embed_dimm: MambaIRv2Light has no such "
         "argument; did you mean 'embed_dim'?"),
    ],
)  # fmt: skip
def test_a_typo_stops_before_anything_is_built(
    old: str, new: str, message: str, pairs: Path
) -> None:
    path = option_file(pairs)
    path.write_text(path.read_text().replace(old, new))
    before = sorted(pairs.rglob("*"))
    run = run_basicsr("train", "-opt", "run.yml", cwd=pairs, module=True)
    assert run.returncode == 1
    # A single problem follows "Error: ", several are listed below it.
    assert run.stderr.strip().splitlines()[-1].removeprefix("Error: ") == f"run.yml{message}"
    assert "Traceback" not in run.stderr
    assert sorted(pairs.rglob("*")) == before


def test_a_damaged_picture_ends_the_run_by_name(pairs: Path) -> None:
    option_file(pairs)
    path = pairs / "HR" / "chelsea.png"
    path.write_bytes(path.read_bytes()[:2000])
    run = run_basicsr("train", "-opt", "run.yml", cwd=pairs)
    assert run.returncode == 1
    assert "chelsea.png: not a readable picture" in run.stderr
