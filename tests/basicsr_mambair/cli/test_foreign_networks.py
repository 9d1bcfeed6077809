"""Networks of BasicSR and of the user's own: trained, restored with, and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mambair.imaging.reading import read_image
from mambair.imaging.writing import write_image
from tests.conftest import photograph, run_basicsr

NETWORKS: list[dict[str, Any]] = [
    {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2},
    {"type": "MSRResNet", "num_feat": 8, "num_block": 1, "upscale": 2},
    {"type": "SwinIR", "upscale": 2, "img_size": 16, "window_size": 8, "embed_dim": 12,
     "depths": [1], "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffledirect"},
]  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS, ids=lambda section: section["type"])
def test_what_train_writes_restore_reads(network: dict[str, Any], pairs: Path) -> None:
    contents = {
        "name": "mine", "model_type": "SRModel", "scale": 2, "num_gpu": 0, "manual_seed": 0,
        "datasets": {"train": {
            "name": "three", "type": "PairedImageDataset", "dataroot_gt": "HR",
            "dataroot_lq": "LR", "filename_tmpl": "{}x2", "io_backend": {"type": "disk"},
            "gt_size": 32, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 1,
            "batch_size_per_gpu": 2, "dataset_enlarge_ratio": 4, "use_shuffle": True}},
        "network_g": network, "path": {},
        "train": {"total_iter": 1, "warmup_iter": -1, "ema_decay": 0.9,
                  "optim_g": {"type": "Adam", "lr": 1.0e-4},
                  "scheduler": {"type": "MultiStepLR", "milestones": [1]},
                  "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}},
        "logger": {"print_freq": 1, "save_checkpoint_freq": 5, "use_tb_logger": False},
    }  # fmt: skip
    (pairs / "mine.yml").write_text(yaml.safe_dump(contents))
    run = run_basicsr("train", "-opt", "mine.yml", cwd=pairs)
    assert run.returncode == 0, run.stdout + run.stderr
    write_image(photograph(height=21, width=27), pairs / "odd.png")
    run = run_basicsr("restore", "odd.png", "-w", "mine", "--tile", "16", cwd=pairs)
    assert run.returncode == 0, run.stdout + run.stderr
    assert read_image(pairs / "restored" / "mine" / "odd.png").shape == (42, 54, 3)


_MODULE = """
from torch import nn
from mambair.archs.registry import register_arch

@register_arch
class Nearest(nn.Module):
    def __init__(self, factor=3):
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=factor)
        self.gain = nn.Parameter(__import__("torch").ones(1))

    def forward(self, x):
        return self.gain * self.enlarge(x)
"""


def test_a_network_of_the_users_own(tmp_path: Path) -> None:
    import torch

    (tmp_path / "my_networks.py").write_text(_MODULE)
    section = {"type": "Nearest", "factor": 2}
    torch.save({"params": {"gain": torch.ones(1)}, "network": section}, tmp_path / "mine.pth")
    image = photograph(height=20, width=30)
    write_image(image, tmp_path / "a.png")
    run = run_basicsr("restore", "a.png", "-w", "mine.pth", cwd=tmp_path)
    assert run.returncode == 1
    assert "mine.pth: holds a Nearest, which cannot be built" in run.stderr
    assert "Traceback" not in run.stderr
    named = ["--import", "my_networks"]
    run = run_basicsr("restore", "a.png", "-w", "mine.pth", *named, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    restored = read_image(tmp_path / "restored" / "mine" / "a.png")
    np.testing.assert_array_equal(restored, image.repeat(2, 0).repeat(2, 1))
    run = run_basicsr("export", "mine.pth", "-o", "b.safetensors", *named, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    run = run_basicsr(
        "restore", "a.png", "-w", "b.safetensors", "--import", "no_such", cwd=tmp_path
    )
    assert run.returncode == 1
    assert "no_such: cannot be imported" in run.stderr


@pytest.mark.parametrize(
    ("network", "answer"),
    [
        (
            {"type": "EDVR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8},
            "EDVR: cannot be counted",
        ),
        ({"type": "StyleGAN2Generator", "out_size": 32}, "StyleGAN2Generator: cannot be counted"),
        ({"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_block": 1, "scale": 2}, "MACs"),
        ({"type": "RIDNet", "in_channels": 3, "mid_channels": 16, "out_channels": 3}, "MACs"),
        ({"type": "ECBSR", "num_in_ch": 1, "num_out_ch": 1, "num_block": 1, "num_channel": 8,
          "with_idt": False, "act_type": "prelu", "scale": 2}, "MACs"),
    ],
    ids=lambda each: each["type"] if isinstance(each, dict) else "",
)  # fmt: skip
def test_a_figure_or_a_sentence(network: dict[str, Any], answer: str) -> None:
    from mambair.archs.contract import ContractError
    from mambair.complexity import measure_network

    if answer == "MACs":
        assert measure_network(network, 15, 21).total_macs > 0
    else:
        with pytest.raises(ContractError, match="does not map one picture"):
            measure_network(network, 15, 21)
