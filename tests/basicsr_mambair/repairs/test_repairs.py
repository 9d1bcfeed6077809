"""Every repair: the check holds with it, and fails without it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import basicsr  # noqa: F401  (which applies the repairs)
import numpy as np
import pytest
import torch
from torch import nn

from basicsr_mambair import repairs
from tests.conftest import tiny_network

REPAIRS = {repair.name: repair for repair in repairs.repairs()}


@contextmanager
def without(name: str) -> Iterator[None]:
    repair = REPAIRS[name]
    repair.undo()
    try:
        yield
    finally:
        repair.apply()


@contextmanager
def single_process_group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def jpeg_quality(tmp_path: Path) -> None:
    from basicsr.data.degradations import random_add_jpg_compression

    result = random_add_jpg_compression(np.zeros((8, 8, 3), np.float32), (80.2, 80.4))
    assert result.shape == (8, 8, 3)


def checkpoint_writes(tmp_path: Path) -> None:
    from basicsr.models.base_model import BaseModel

    blocked = tmp_path / "models"
    blocked.write_text("a file where a folder is wanted")
    model = BaseModel.__new__(BaseModel)
    model.opt = {"path": {"models": str(blocked)}, "dist": False}
    logging.getLogger("basicsr").disabled = True
    try:
        with pytest.raises(Exception, match="could not be written") as raised:
            model.save_network(nn.Linear(1, 1), "net_g", 1)
    finally:
        logging.getLogger("basicsr").disabled = False
    assert "net_g_1.pth" in str(raised.value)


def checkpoint_reads(tmp_path: Path) -> None:
    from basicsr.models.base_model import BaseModel
    from safetensors.torch import save_file

    net = nn.Linear(2, 2)
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    other = nn.Linear(2, 2)
    BaseModel.__new__(BaseModel).load_network(other, str(tmp_path / "weights.safetensors"))
    assert torch.equal(other.weight, net.weight)


def process_group_without_gpu(tmp_path: Path) -> None:
    from basicsr.utils import dist_util

    dist_util._init_dist_pytorch(
        "nccl", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    try:
        assert torch.distributed.get_backend() == "gloo"
    finally:
        torch.distributed.destroy_process_group()


def ddp_without_gpu(tmp_path: Path) -> None:
    from basicsr.models.base_model import BaseModel

    model = BaseModel.__new__(BaseModel)
    model.opt = {"dist": True, "num_gpu": 0}
    model.device = torch.device("cpu")
    with single_process_group(tmp_path):
        net = model.model_to_device(nn.Linear(1, 1))
        assert isinstance(net, nn.parallel.DistributedDataParallel)
        net(torch.ones(1, 1)).sum().backward()


class _RandomDraws(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return float(np.random.rand())


def loader_workers(tmp_path: Path) -> None:
    import basicsr.data
    from basicsr.data.data_sampler import EnlargedSampler

    section = {"phase": "train", "batch_size_per_gpu": 4, "num_worker_per_gpu": 1}
    dataset = _RandomDraws()

    def draws(seed: int, rank: int, epochs: int) -> list[torch.Tensor]:
        sampler = EnlargedSampler(dataset, 1, 0)
        loader = basicsr.data.build_dataloader(
            dataset, section, num_gpu=0, sampler=sampler, seed=seed
        )
        loader.worker_init_fn.keywords["rank"] = rank
        result = []
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            result += list(loader)
        return result

    first, second = draws(seed=0, rank=0, epochs=2)
    assert not torch.equal(first, second), "two epochs draw the same"
    assert torch.equal(draws(0, 0, 2)[1], second), "a run cannot be repeated"
    assert not torch.equal(draws(1, 0, 1)[0], first), "two seeds draw the same"
    assert not torch.equal(draws(0, 1, 1)[0], first), "two ranks draw the same"


class _Unreadable(_RandomDraws):
    def __getitem__(self, index: int) -> float:
        raise ValueError("picture 3 is damaged")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def prefetch_errors(tmp_path: Path) -> None:
    from basicsr.data.prefetch_dataloader import PrefetchDataLoader

    outcome: list[BaseException | None] = []

    def read() -> None:
        try:
            next(iter(PrefetchDataLoader(1, dataset=_Unreadable())))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert outcome, "the loader waits forever"
    assert "picture 3 is damaged" in str(outcome[0])


def training_pipeline(tmp_path: Path) -> None:
    import basicsr.train
    import cv2
    import yaml

    for name, side in (("GT", 32), ("LQ", 16)):
        (tmp_path / name).mkdir()
        for number in range(3):
            picture = np.full((side, side, 3), 80 * number, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), picture)
    roots = {"dataroot_gt": str(tmp_path / "GT"), "dataroot_lq": str(tmp_path / "LQ")}
    contents = {
        "name": "run", "model_type": "SRModel", "scale": 2, "num_gpu": 0, "manual_seed": 1,
        "datasets": {"train": {
            "type": "PairedImageDataset", **roots, "gt_size": 16, "batch_size_per_gpu": 4,
            "num_worker_per_gpu": 0}},
        "network_g": {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4,
                      "num_block": 1, "upscale": 2},
        "train": {"optim_g": {"type": "Adam", "lr": 1e-4}, "total_iter": 3,
                  "scheduler": {"type": "MultiStepLR", "milestones": [2]},
                  "pixel_opt": {"type": "L1Loss"}},
        "logger": {"save_checkpoint_freq": 3},
    }  # fmt: skip
    file = tmp_path / "run.yml"
    file.write_text(yaml.safe_dump(contents))
    argv = sys.argv
    sys.argv = ["train.py", "-opt", str(file)]
    try:
        basicsr.train.train_pipeline(str(tmp_path))
    finally:
        sys.argv = argv
    states = tmp_path / "experiments" / "run" / "training_states"
    assert (states / "3.state").exists(), "less than a batch of pictures is never trained on"


def every_optimizer(tmp_path: Path) -> None:
    from basicsr.models.base_model import BaseModel

    model = BaseModel.__new__(BaseModel)
    optimizer = model.get_optimizer(
        "AdamW", nn.Linear(1, 1).parameters(), lr=1e-3, weight_decay=0.1
    )
    assert isinstance(optimizer, torch.optim.AdamW)
    with pytest.raises(ValueError, match="no optimizer 'AdamWW'; did you mean 'AdamW'"):
        model.get_optimizer("AdamWW", [], lr=1e-3)


def every_scheduler(tmp_path: Path) -> None:
    from basicsr.models.base_model import BaseModel

    for kind, rest in (("CosineAnnealingRestartCyclicLR", {"eta_mins": [0.5]}),
                       ("CosineAnnealingRestartLR", {})):  # fmt: skip
        model = BaseModel.__new__(BaseModel)
        model.opt = {"train": {"scheduler": {"type": kind, "periods": [4], **rest}}}
        model.optimizers, model.schedulers = [torch.optim.SGD(nn.Linear(1, 1).parameters(), 1)], []
        model.setup_schedulers()
        assert type(model.schedulers[0]).__name__ == kind


def cuda_on_device_of_model(tmp_path: Path) -> None:
    from basicsr.models.realesrnet_model import RealESRNetModel

    network = {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 2}
    options = {
        "num_gpu": 0, "dist": False, "is_train": False, "network_g": network, "path": {},
        "queue_size": 4,
    }  # fmt: skip
    model = RealESRNetModel(options)
    for _ in range(4):
        model.lq, model.gt = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 8, 8)
        model._dequeue_and_enqueue()
    assert model.lq.shape == (2, 3, 4, 4)
    assert model.jpeger(torch.rand(1, 3, 16, 16), quality=80).shape == (1, 3, 16, 16)


def filtering_any_strides(tmp_path: Path) -> None:
    from basicsr.models import realesrgan_model

    pictures = torch.rand(2, 3, 12, 12)
    kernels = torch.rand(2, 5, 5)
    expected = realesrgan_model.filter2D(pictures, kernels)
    channels_last = pictures.to(memory_format=torch.channels_last)
    assert torch.equal(realesrgan_model.filter2D(channels_last, kernels), expected)


def option_loading(tmp_path: Path) -> None:
    import yaml
    from basicsr.utils import options

    file = tmp_path / "run.yml"
    roots = {name: str(tmp_path / name) for name in "abcd"}
    for root in roots.values():
        Path(root).mkdir()
    contents = {
        "name": "run", "model_type": "SRModel", "scale": 2, "num_gpu": "auto", "manual_seed": 1,
        "datasets": {"test": {
            "name": "t", "type": "PairedImageDataset", "io_backend": {"type": "disk"},
            "dataroot_gt": [roots["a"], roots["b"]], "dataroot_lq": [roots["c"], roots["d"]]}},
        "network_g": tiny_network(), "path": {"results_root": str(tmp_path / "out")},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(contents))
    argv = sys.argv
    sys.argv = ["test.py", "-opt", str(file), "--local-rank", "0"]
    try:
        opt, arguments = options.parse_options(str(tmp_path), is_train=False)
    finally:
        sys.argv = argv
    assert arguments.opt == str(file)
    assert opt["path"]["results_root"] == str(tmp_path / "out" / "run")
    assert opt["datasets"]["test"]["dataroot_gt"] == [roots["a"], roots["b"]]


def option_copies(tmp_path: Path) -> None:
    import yaml
    from basicsr.utils import options

    (tmp_path / "base.yml").write_text("scale: 2\nname: base\n")
    file = tmp_path / "run.yml"
    file.write_text("extends: base.yml\nname: run\n")
    (tmp_path / "out").mkdir()
    options.copy_opt_file(str(file), str(tmp_path / "out"))
    copied = (tmp_path / "out" / "run.yml").read_text()
    assert copied.startswith("# GENERATE TIME")
    assert yaml.safe_load(copied) == {"scale": 2, "name": "run"}
    plain = tmp_path / "base.yml"
    options.copy_opt_file(str(plain), str(tmp_path / "out"))
    assert (tmp_path / "out" / "base.yml").read_text().endswith(plain.read_text())


def log_encoding(tmp_path: Path) -> None:
    from basicsr.utils import get_root_logger

    log = get_root_logger(f"test{tmp_path}", log_file=str(tmp_path / "run.log"))
    (handler,) = [each for each in log.handlers if isinstance(each, logging.FileHandler)]
    assert handler.encoding == "utf-8", "the encoding is the locale's"
    log.info("σ ×2")
    handler.close()
    assert (tmp_path / "run.log").read_bytes().endswith("σ ×2\n".encode())


def wandb_ids(tmp_path: Path) -> None:
    """A package wandb as it is now: without ``generate_id``."""
    from basicsr.utils import logger

    begun: list[dict[str, object]] = []
    package = SimpleNamespace(util=SimpleNamespace(), init=lambda **given: begun.append(given))
    options = {"name": "run", "logger": {"wandb": {"project": "mine"}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", package)
        patch.setitem(sys.modules, "wandb.util", package.util)
        logger.init_wandb_logger(options)
    assert begun[0]["project"] == "mine"
    assert begun[0]["id"]


def validation_results(tmp_path: Path) -> None:
    from basicsr.models.sr_model import SRModel

    picture = {"lq": torch.zeros(1, 3, 4, 4), "lq_path": ["night.png"]}
    loader = SimpleNamespace(dataset=SimpleNamespace(opt={"name": "set"}))
    loader = type("Loader", (list,), vars(loader))([picture])
    model = SRModel.__new__(SRModel)
    model.opt, model.is_train, model.device = {"val": {}}, False, torch.device("cpu")
    model.net_g = nn.Conv2d(3, 3, 1)
    nn.init.constant_(model.net_g.weight, float("nan"))
    with pytest.raises(ValueError, match=r"night\.png: the network's result is not finite"):
        model.nondist_validation(loader, "measured", None, False)


def names_of_results(tmp_path: Path) -> None:
    from basicsr.utils import img_util

    def crash(*_: object) -> None:
        raise AssertionError("cv2.imwrite got a name that would end this process")

    path = os.path.join(tmp_path, "new", os.fsdecode(b"caf\xe9.png"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cv2.imwrite", crash)
        img_util.imwrite(np.zeros((2, 2, 3), np.uint8), path)
    assert os.path.exists(path)


def dataset_building(tmp_path: Path) -> None:
    from basicsr.data import build_dataset

    for folder, names in (("HR", "ab"), ("LR", "a")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.png").touch()
    section = {"type": "PairedImageDataset", "name": "a", "phase": "val",
               "io_backend": {"type": "disk"},
               "dataroot_gt": f"{tmp_path}/HR", "dataroot_lq": f"{tmp_path}/LR"}  # fmt: skip
    with pytest.raises(ValueError, match=r"HR, .*LR: cannot be read by PairedImageDataset: lq and"):
        build_dataset(section)
    (tmp_path / "none").mkdir()
    section |= dict.fromkeys(("dataroot_gt", "dataroot_lq"), f"{tmp_path}/none")
    with pytest.raises(ValueError, match="none: PairedImageDataset finds no picture there"):
        build_dataset(section)


# Check, and how it fails without the repair.
CHECKS: dict[str, tuple[Callable[[Path], None], type[BaseException], str]] = {
    check.__name__: (check, error, message)
    for check, error, message in (
        (jpeg_quality, Exception, "float|integer|params|quality"),
        (checkpoint_writes, BaseException, "DID NOT RAISE|local variable 'logger'|not match"),
        (checkpoint_reads, Exception, "map_location|invalid load key"),
        (process_group_without_gpu, Exception, "environ|RANK|modulo|division"),
        (ddp_without_gpu, Exception, "CUDA|cuda|NVIDIA"),
        (names_of_results, AssertionError, "would end this process"),
        (dataset_building, AssertionError, "different number of images"),
        (loader_workers, AssertionError, "two epochs draw the same"),
        (prefetch_errors, AssertionError, "the loader waits forever"),
        (training_pipeline, AssertionError, "never trained on"),
        (every_optimizer, NotImplementedError, "AdamW is not supperted"),
        (every_scheduler, NotImplementedError, "CosineAnnealingRestartCyclicLR is not implemented"),
        (cuda_on_device_of_model, Exception, "CUDA|cuda|NVIDIA"),
        (filtering_any_strides, RuntimeError, "view size is not compatible"),
        (option_loading, SystemExit, "2"),
        (option_copies, AssertionError, "extends"),
        (wandb_ids, AttributeError, "generate_id"),
        (validation_results, BaseException, "DID NOT RAISE"),
        (log_encoding, AssertionError, "the encoding is the locale's"),
    )
}

# Repairs of imports: a fresh process, with what they replace hidden if need be.
IMPORTS = {
    "functional_tensor": ("torchvision.transforms.functional_tensor", "basicsr.data.degradations"),
    "scipy_filters": ("scipy.ndimage.filters", "basicsr.metrics.niqe"),
    "distutils_version": ("distutils", "basicsr.archs.arch_util"),
    "former_losses": ("basicsr.losses.losses", "basicsr.losses.losses"),
}

_IMPORT = """
import sys
import scipy.ndimage  # imports its own deprecated sub-modules
sys.modules[{hidden!r}] = None
{package}
import importlib
import basicsr
importlib.import_module({user!r})
"""


@pytest.mark.parametrize("name", CHECKS)
def test_holds_with_the_repair(name: str, tmp_path: Path) -> None:
    assert REPAIRS[name].applied, "not needed here: the fault no longer exists, drop the repair"
    CHECKS[name][0](tmp_path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", CHECKS)
def test_fails_without_the_repair(name: str, tmp_path: Path) -> None:
    check, error, message = CHECKS[name]
    with without(name), pytest.raises(error, match=message):
        check(tmp_path)


@pytest.mark.parametrize("name", IMPORTS)
def test_import_of_basicsr(name: str) -> None:
    hidden, user = IMPORTS[name]

    def run(package: str) -> SimpleNamespace:
        code = _IMPORT.format(hidden=hidden, user=user, package=package)
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert run("import basicsr_mambair").returncode == 0
    one_missing = (
        "from basicsr_mambair.repairs import repair; "
        f"[r.apply() for r in repair.repairs() if r.name != {name!r}]"
    )
    plain = run(
        "import importlib.util, types; "
        "spec = importlib.util.find_spec('basicsr_mambair'); "
        "package = types.ModuleType('basicsr_mambair'); "
        "package.__path__ = list(spec.submodule_search_locations); "
        f"sys.modules['basicsr_mambair'] = package; {one_missing}"
    )
    assert plain.returncode != 0
    assert "ModuleNotFoundError" in plain.stderr
    assert hidden in plain.stderr


def test_every_repair_has_a_check() -> None:
    assert set(REPAIRS) == set(CHECKS) | set(IMPORTS)


def test_repairs_are_described_and_applied_once() -> None:
    for repair in REPAIRS.values():
        assert repair.fault
        assert repair.thread
        replaced = list(repair.replaced)
        repair.apply()
        assert repair.replaced == replaced


def test_an_installed_basicsr_is_not_written_to() -> None:
    import basicsr.utils.options as options

    source = Path(options.__file__).read_text()
    assert "'--local_rank', type=int" in source
