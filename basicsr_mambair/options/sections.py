"""The sections that every option file has, as types: the keys that BasicSR itself reads.

What a dataset, a model or a metric adds is declared where it lives (see
:mod:`basicsr_mambair.options.fields`); BasicSR's own datasets and models are in
:mod:`basicsr_mambair.options.stock`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from basicsr_mambair.options.fields import option
from basicsr_mambair.options.progressive import ProgressiveOptions

_LARGEST_SEED = 2**32 - 2**16  # numpy's limit, less what ranks and workers add


def _folder_name(name: str) -> str | None:
    if not name.strip() or name in (".", "..") or any(c in name for c in "/\\\0"):
        return f"names a folder, so it cannot be empty, '.' or '..' or hold a slash, got {name!r}"
    return None


def _not_blank(text: str) -> str | None:
    return None if text.strip() else "must not be empty; null turns it off"


def _module_names(names: list[str]) -> str | None:
    wrong = [n for n in names if not all(part.isidentifier() for part in n.split("."))]
    return f"{wrong[0]!r} is not the name of a module (my_package.archs)" if wrong else None


@dataclass
class TopOptions:
    """Keys at the top of an option file."""

    name: str = option(doc="Name of the run and of its folder.", check=_folder_name)
    model_type: str = option(doc="Model: the class that trains and validates the networks.")
    scale: int = option(
        required=False, shown="1", doc="Factor by which the network enlarges.", ge=1, le=64
    )
    num_gpu: Literal["auto"] | int = option(
        "auto", doc="GPUs to use; 'auto': all, 0: the CPU.", ge=0, le=4096, filled=True
    )
    manual_seed: int | None = option(
        None, doc="Seed of every random generator; null draws one.", ge=0, le=_LARGEST_SEED
    )
    imports: list[str] | None = option(
        None, doc="Modules to import first, which register networks, losses…", check=_module_names
    )
    datasets: dict[str, Any] = option(doc="Datasets: `train`, and `val…` or `test…`.")
    path: dict[str, Any] = option(required=False, doc="Weights to begin with, and folders.")
    train: dict[str, Any] = option(required="train", doc="How to train.")
    val: dict[str, Any] | None = option(required=False, doc="How to validate and measure.")
    logger: dict[str, Any] = option(required=False, doc="How often to log and to save.")
    dist_params: dict[str, Any] | None = option(
        None, doc="How processes under Slurm talk: `backend`, `port`."
    )
    find_unused_parameters: bool = option(
        False, doc="Let distributed training cope with parameters that a step does not use."
    )
    published: dict[str, Any] | None = option(
        None, doc="Row of the papers that `basicsr report` compares the measurement with."
    )


@dataclass
class PublishedOptions:
    """`published`: the row in the papers."""

    task: Literal["sr", "jpeg", "denoising_color", "real_denoising"] = option(doc="Task.")
    setting: int = option(doc="Scale, JPEG quality or σ; 1 for real noise.", ge=1, le=255)
    method: str = option(required=False, doc="Name of the method in the papers' tables.")


@dataclass
class PathOptions:
    """`path`, without the keys of each network (:class:`NetworkPathOptions`)."""

    resume_state: str | None = option(
        None, doc="Training state (`.state`) to continue from.", filled=True
    )
    ignore_resume_networks: list[str] | str | None = option(
        None, doc="Networks whose weights resuming leaves as `pretrain_network_…` says."
    )
    experiments_root: str | None = option(
        None, doc="Parent of a training's folder.", shown="`./experiments`"
    )
    results_root: str | None = option(None, doc="Parent of a test's folder.", shown="`./results`")
    root: str | None = option(None, doc="Ignored; BasicSR's own files may hold it.")


@dataclass
class NetworkPathOptions:
    """`path`, for a network `network_g`; `…_d` for `network_d`, and so on."""

    pretrain_network: str | None = option(None, doc="Weights to begin with.")
    strict_load: bool = option(True, doc="Refuse weights whose tensors do not all fit.")
    param_key: str | None = option(
        "params", doc="Entry of the file: `params`, `params_ema`; null: the file itself."
    )


@dataclass
class WandbOptions:
    """`logger.wandb`: logging to Weights & Biases."""

    project: str | None = option(None, doc="Project; null: no wandb.", check=_not_blank)
    resume_id: str | None = option(
        None,
        doc="Id of the wandb run to go on with; null: that of this run, which its folder keeps.",
    )


@dataclass
class LoggerOptions:
    """`logger`, of a training."""

    print_freq: int = option(100, doc="Iterations between lines of the log.", ge=1, filled=True)
    save_checkpoint_freq: int = option(
        5000, doc="Iterations between checkpoints.", ge=1, filled=True
    )
    keep_last: int | None = option(
        None, doc="Checkpoints that stay, the newest; null: all of them.", ge=1
    )
    keep_every: int | None = option(
        None, doc="Iterations of whose multiples checkpoints stay, whatever `keep_last` is.", ge=1
    )
    keep_best: str | None = option(
        None, doc="Metric of `val.metrics`: weights that are its best so far are kept too."
    )
    save_safetensors: bool = option(
        False, doc="Also write the weights to use of every checkpoint as `.safetensors`, beside it."
    )
    use_tb_logger: bool = option(False, doc="Also log to TensorBoard.", filled=True)
    wandb: dict[str, Any] | None = option(
        None, doc="Also log to Weights & Biases.", section=WandbOptions
    )


@dataclass
class DistributedOptions:
    """`dist_params`, read under `--launcher slurm`."""

    backend: Literal["nccl", "gloo"] = option("nccl", doc="Backend of torch.distributed.")
    port: int = option(29500, doc="Port of the first process.", ge=1, le=65535)


@dataclass
class TrainOptions:
    """`train`, of every model. `pixel_opt` and every other loss is a section with `type`."""

    total_iter: int = option(doc="Iterations.", ge=1, le=10**12)
    optim_g: dict[str, Any] = option(
        doc="Optimizer: `type` (`AdamW`, or `package.Class`), and its arguments."
    )
    scheduler: dict[str, Any] = option(doc="Schedule of the learning rate: `type`, arguments.")
    pixel_opt: dict[str, Any] | None = option(None, doc="Loss of pixels: `type`, arguments.")
    perceptual_opt: dict[str, Any] | None = option(
        None, doc="Loss of VGG features: `type`, arguments."
    )
    ema_decay: float = option(
        0, doc="Decay of the averaged weights, which are validated and saved; 0: none.", ge=0, lt=1
    )
    warmup_iter: int = option(
        -1, doc="Iterations in which the learning rate rises from 0; -1: none.", ge=-1, le=10**12
    )
    deterministic: bool = option(
        False, doc="On a GPU, choose operators that give the same bits every time; slower."
    )
    max_skipped_steps: int = option(
        10, doc="Steps in a row whose loss or gradients are not finite, which end the run.", ge=1
    )


@dataclass
class ValOptions:
    """`val`, of every model."""

    val_freq: int = option(required=False, doc="Iterations between validations.", ge=1)
    save_img: bool = option(
        required=False, doc="Save the restored pictures.", shown="false; in a test true"
    )
    suffix: str | None = option(None, doc="End of the saved pictures' names; null: the run's name.")
    metrics: dict[str, Any] | None = option(
        None, doc="Metrics by name: sections with `type` and arguments."
    )
    pbar: bool = option(False, doc="Show a progress bar.")


@dataclass
class MetricOptions:
    """A section of `val.metrics`; other keys are arguments of the metric."""

    type: str = option(doc="Function: `calculate_psnr`, `calculate_ssim`…")
    crop_border: int = option(doc="Pixels left out at every edge.", ge=0, le=1024)
    better: Literal["higher", "lower"] = option(
        "higher", doc="Whether the higher or the lower value is reported as the best."
    )
    test_y_channel: bool = option(False, doc="Measure the luma of YCbCr.")
    input_order: Literal["HWC"] = option("HWC", doc="Order of the axes; models hand over HWC.")


@dataclass
class DatasetOptions:
    """A section of `datasets`, of whatever type."""

    type: str = option(doc="Class of the dataset.")
    name: str = option(required=False, doc="Name in logs and folders.", shown="its key",
                       check=_folder_name)  # fmt: skip
    io_backend: dict[str, Any] = option(
        required=False, doc="`type`: disk, lmdb or memcached, and its arguments.", shown="disk"
    )
    phase: Literal["train", "val", "test"] = option(
        required=False, doc="Set from the section's key.", shown="from the key"
    )
    scale: int = option(required=False, doc="Set from `scale`.", ge=1, le=64, shown="`scale`")
    batch_size_per_gpu: int = option(
        required="train", doc="Crops a batch, for each GPU or process.", ge=1, le=65536
    )
    num_worker_per_gpu: int = option(
        2, doc="Processes that read pictures, for each GPU; 0: none.", ge=0, le=256
    )
    dataset_enlarge_ratio: float = option(
        1, doc="How many times an epoch goes through the pictures.", gt=0, le=10**6
    )
    prefetch_mode: Literal["cpu", "cuda"] | None = option(
        None, doc="Read batches ahead: in a thread (cpu) or a CUDA stream (cuda)."
    )
    num_prefetch_queue: int = option(1, doc="Batches that `prefetch_mode: cpu` reads ahead.",
                                     ge=1, le=10**4)  # fmt: skip
    pin_memory: bool = option(False, doc="Read batches into pinned memory; `cuda` needs it.")
    persistent_workers: bool = option(False, doc="Keep the processes between epochs.")
    use_shuffle: bool = option(True, doc="Ignored; BasicSR's own files may hold it.")
    on_bad_image: Literal["error", "skip"] = option(
        "error",
        doc="A picture of a training that cannot be read ends the run, or the next one takes its "
        "place.",
    )


@dataclass
class CropOptions(ProgressiveOptions):
    """Crops and flips of a training, and what is done to samples."""

    gt_size: int = option(
        required="train", doc="Side of the crops, in pixels of the result.", ge=1, le=2**20
    )
    use_hflip: bool = option(True, doc="Flip crops left–right at random.")
    use_rot: bool = option(True, doc="Flip up–down and transpose crops at random.")
    color: Literal["y"] | None = option(None, doc="y: the luma of YCbCr alone.")
    mean: list[float] | None = option(None, doc="Subtracted, one number a channel.")
    std: list[float] | None = option(None, doc="Divisor, one number a channel.", gt=0)


@dataclass
class MultiStepSchedule:
    """`train.scheduler` of type `MultiStepLR` (or `MultiStepRestartLR`)."""

    type: str = option(doc="`MultiStepLR`.")
    milestones: list[int] = option(doc="Iterations after which the rate is multiplied.", ge=0)
    gamma: float = option(0.1, doc="Factor at a milestone.", gt=0, le=1)
    restarts: list[int] = option([0], doc="Iterations at which the rate starts anew.", ge=0)
    restart_weights: list[float] = option([1], doc="Factors of the first rate at restarts.", ge=0)


@dataclass
class CosineSchedule:
    """`train.scheduler` of type `CosineAnnealingRestartLR`."""

    type: str = option(doc="`CosineAnnealingRestartLR`.")
    periods: list[int] = option(
        required=False, doc="Iterations of every cosine.", shown="one, of `total_iter`", ge=1
    )
    restart_weights: list[float] = option(
        required=False, doc="Factor of the first rate, for every cosine.", shown="1 each", ge=0
    )
    eta_min: float = option(0, doc="Rate at the end of a cosine.", ge=0, le=100)


@dataclass
class CosineCyclicSchedule:
    """`train.scheduler` of type `CosineAnnealingRestartCyclicLR`."""

    type: str = option(doc="`CosineAnnealingRestartCyclicLR`.")
    periods: list[int] = option(doc="Iterations of every cosine.", ge=1)
    restart_weights: list[float] = option(
        required=False, doc="Factor of every cosine.", shown="1 each", ge=0
    )
    eta_mins: list[float] = option(
        doc="Rate at the end of every cosine; the first rate itself: constant.", ge=0, le=100
    )


# BasicSR's names of its schedulers, and the classes behind the names.
SCHEDULERS = {
    "MultiStepLR": ("MultiStepRestartLR", MultiStepSchedule),
    "MultiStepRestartLR": ("MultiStepRestartLR", MultiStepSchedule),
    "CosineAnnealingRestartLR": ("CosineAnnealingRestartLR", CosineSchedule),
    "CosineAnnealingRestartCyclicLR": ("CosineAnnealingRestartCyclicLR", CosineCyclicSchedule),
}
IO_BACKENDS = ("disk", "lmdb", "memcached")
NETWORK_PATHS = ("pretrain_network", "strict_load", "param_key")  # followed by _g, _d, …
