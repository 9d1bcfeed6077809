"""A run that was stopped and resumed ends as one that never stopped, bit for bit."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from basicsr_mambair.models import RestorationModel
from basicsr_mambair.training.interrupts import TrainingInterrupted
from tests.basicsr_mambair.training.runs import Runs, contents, differences, figures, folder_for

COSINE = {"type": "CosineAnnealingRestartLR", "periods": [4, 6], "restart_weights": [1, 0.5],
          "eta_min": 1e-5}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"datasets__train__num_worker_per_gpu": 2},
        {"datasets__train__num_worker_per_gpu": 1, "datasets__train__prefetch_mode": "cpu",
         "datasets__train__persistent_workers": True, "datasets__train__num_prefetch_queue": 3},
        {"datasets__train__prefetch_mode": "cpu", "train__warmup_iter": 8},
        {"datasets__train__batch_size_per_gpu": 20},  # more than an epoch
        {"train__scheduler": COSINE, "train__gradient_accumulation": 2},
        {"train__amp": "bf16", "train__optim_g": {"type": "AdamW", "lr": 1e-3}},
        {"train__amp": "fp16", "train__grad_clip_norm": 0.5},
        {"train__optim_g": {"type": "SGD", "lr": 1e-2, "momentum": 0.9}, "train__ema_decay": 0},
        {"logger__save_checkpoint_freq": 4},  # saved and validated at the same iteration
    ],
    ids=str,
)  # fmt: skip
def test_stopped_and_resumed(changes: dict[str, Any], pairs: Path) -> None:
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(contents(**changes))
    parts.train(contents(**changes), stop_after=5)
    torch.rand(100)  # whatever else the process has drawn
    parts.train(contents(**changes), resume=True, stop_after=8)
    parts.train(contents(**changes), resume=True)
    expected, found = whole.end(), parts.end()
    assert sorted(expected["losses"]) == list(range(1, 10))
    assert sorted(expected["figures"]) == [4, 8, 9], "validated when due and at the end, once each"
    assert differences(expected, found) == []


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        ({"type": "schedulefree.AdamWScheduleFree", "lr": 0.01, "warmup_steps": 3}, None),
        ({"type": "schedulefree.SGDScheduleFree", "lr": 0.1, "warmup_steps": 7}, None),
        ({"type": "schedulefree.RAdamScheduleFree", "lr": 0.01}, None),
        ({"type": "prodigyopt.Prodigy", "lr": 1.0, "use_bias_correction": True}, None),
        ({"type": "prodigyopt.Prodigy", "lr": 1.0, "safeguard_warmup": True}, COSINE),
    ],
    ids=str,
)
@pytest.mark.parametrize("frequency", [3, 4])  # with a validation at another iteration, or the same
def test_optimizers_of_other_packages(
    optimizer: dict[str, Any], scheduler: dict[str, Any] | None, frequency: int, pairs: Path
) -> None:
    """Their own averages, step sizes and counters are part of the state."""
    pytest.importorskip(optimizer["type"].split(".")[0])
    options = contents(
        train__optim_g=optimizer, train__ema_decay=0, logger__save_checkpoint_freq=frequency,
        train__scheduler=scheduler or {"type": "MultiStepLR", "milestones": []},
    )  # fmt: skip
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(copy.deepcopy(options))
    parts.train(copy.deepcopy(options), stop_after=5)
    parts.train(copy.deepcopy(options), resume=True)
    assert differences(whole.end(), parts.end()) == []
    assert differences(figures(whole.own), figures(parts.own)) == []


def test_two_networks(pairs: Path) -> None:
    """BasicSR's own model with a discriminator: two optimizers, spectral norms."""
    options = contents(
        total=6, model_type="SRGANModel",
        network_d={"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4},
        train__optim_d={"type": "Adam", "lr": 1e-3},
        train__gan_opt={"type": "GANLoss", "gan_type": "vanilla", "real_label_val": 1.0,
                        "fake_label_val": 0.0, "loss_weight": 0.1},
    )  # fmt: skip
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(options)
    parts.train(options, stop_after=4)
    parts.train(options, resume=True)
    assert len(parts.end()["others"]) == 1
    assert differences(whole.end(), parts.end()) == []


def test_a_network_that_draws_in_training(pairs: Path) -> None:
    """Routing noise comes from the generator of the process."""
    network = {
        "type": "MambaIRv2Light", "upscale": 2, "embed_dim": 28, "d_state": 2, "depths": [1],
        "num_heads": [2], "window_size": 4, "inner_rank": 4, "num_tokens": 4, "mlp_ratio": 1.0,
        "upsampler": "pixelshuffledirect",
    }  # fmt: skip
    whole, parts = (Runs(folder_for(pairs, name)) for name in ("whole", "parts"))
    whole.train(contents(total=6, network_g=network))
    parts.train(contents(total=6, network_g=network), stop_after=4)
    parts.train(contents(total=6, network_g=network), resume=True)
    assert differences(whole.end(), parts.end()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_matter(workers: int, pairs: Path) -> None:
    none, some = (Runs(folder_for(pairs, name)) for name in ("none", "some"))
    none.train(contents(total=3))
    some.train(contents(total=3, datasets__train__num_worker_per_gpu=workers))
    assert differences(none.losses, some.losses) == []


def test_a_drawn_seed_is_kept(pairs: Path) -> None:
    runs = Runs(pairs)
    runs.train(contents(manual_seed=None), stop_after=4)
    runs.train(contents(manual_seed=None), resume=True)
    first = torch.load(runs.own / "training_states" / "3.state")["seed"]
    assert runs.end()["state"]["seed"] == first


def test_how_often_one_validates_does_not_change_the_training(pairs: Path) -> None:
    often, never = (Runs(folder_for(pairs, name)) for name in ("often", "never"))
    often.train(contents(total=4, val__val_freq=1))
    never.train(contents(total=4, val__val_freq=100))
    assert differences(often.losses, never.losses) == []
    assert often.figures[4] == never.figures[4]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves(
    name: str, workers: int, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To all processes of the group, as ``timeout``, systemd and schedulers send it."""
    if not hasattr(signal, name):
        pytest.skip("this system has no such signal")
    whole, parts = (Runs(folder_for(pairs, each)) for each in ("whole", "parts"))
    whole.train(contents())
    step = RestorationModel.optimize_parameters

    def optimize_parameters(self: Any, current_iter: int) -> None:
        step(self, current_iter)
        if current_iter == 5:
            group = multiprocessing.active_children()
            assert len(group) == workers
            # By another process: torch's workers obey their parent.
            processes = map(str, (os.getpid(), *(each.pid for each in group)))
            subprocess.run(["kill", f"-{name.removeprefix('SIG')}", *processes], check=True)
            time.sleep(0.2)  # until all have noticed

    options = contents(datasets__train__num_worker_per_gpu=workers)
    with monkeypatch.context() as patch:
        patch.setattr(RestorationModel, "optimize_parameters", optimize_parameters)
        with pytest.raises(TrainingInterrupted, match=r"saved iteration 5\. .*--auto_resume"):
            parts.train(options)
    assert (parts.own / "training_states" / "5.state").exists()
    parts.train(options, resume=True)
    assert differences(whole.end(), parts.end()) == []


def test_the_log_has_true_words(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("basicsr")
    logger.addHandler(caplog.handler)
    try:
        Runs(pairs).train(contents(total=4, val__val_freq=4))
    finally:
        logger.removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split("[eta: ")[1].split(",")[0] for line in lines if "[eta: " in line][-1] == (
        "0:00:00"
    )
    assert "day" not in "".join(line for line in lines if "[eta: " in line)
    assert sum("# psnr" in line for line in lines) == 1
    assert "@ 4 iter" in caplog.text


def test_another_number_of_threads_is_named(
    pairs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides the last bits of sums on a CPU; tests train with one thread."""
    logger, runs = logging.getLogger("basicsr"), Runs(pairs)
    logger.addHandler(caplog.handler)
    try:
        runs.train(contents(), stop_after=4)
        assert torch.load(runs.own / "training_states" / "3.state")["threads"] == 1
        runs.train(contents(), stop_after=5, resume=True)
        assert "threads of the CPU" not in caplog.text
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        runs.train(contents(), stop_after=5, resume=True)
    finally:
        logger.removeHandler(caplog.handler)
    assert "the number of threads of the CPU was 1 and is 2 from here" in caplog.text
    assert "OMP_NUM_THREADS=1 gives the same bits as before" in caplog.text
