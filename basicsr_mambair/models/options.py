"""The options that this package's models add to those of BasicSR's ``SRModel``, as types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from basicsr_mambair.models.augmentation import CutBlurOptions, MixingOptions, MixupOptions
from basicsr_mambair.options.fields import option
from basicsr_mambair.options.optimizers import is_schedule_free, optimizer_class
from basicsr_mambair.options.sections import TopOptions, TrainOptions, ValOptions
from basicsr_mambair.options.stock import GanTrain, ModelOptions
from mambair.inference.tiles import TileError, parse_tile

CLIP_NORM = 0.01  # of Restormer's `use_grad_clip`
# Those of torch.optim that treat every element alone, in a form that parts of tensors go through.
SHARDED_OPTIMIZERS = "ASGD Adadelta Adagrad Adam AdamW Adamax NAdam RAdam RMSprop SGD".split()
Wrong = Iterator[tuple[str, str]]  # a key, and what is wrong with it


@dataclass
class RestorationTrain(TrainOptions):
    """`train` of `MambaIRv2Model`; every section `…_opt` that names a loss is computed."""

    grad_clip_norm: float | None = option(
        None, doc="Largest norm of the gradients; larger ones are scaled down.", gt=0
    )
    use_grad_clip: bool = option(
        False, doc=f"Restormer's `grad_clip_norm: {CLIP_NORM}`, as its option files write it."
    )
    gradient_accumulation: int = option(
        1, doc="Parts in which a batch is run: same result, less memory.", ge=1
    )
    warm_start: Literal["bicubic"] | None = option(
        None, doc="Begin as a bicubic interpolation (at scale 1, as the input)."
    )
    amp: Literal["bf16", "fp16"] | None = option(
        None, doc="Mixed precision; scan, norms and loss stay float32."
    )
    compile: bool | str | None = option(
        False, doc="Compile the network: true, or a backend of torch.compile."
    )
    sharding: Literal["fsdp2"] | None = option(
        None,
        doc="Share out weights, gradients and optimizer states among the processes "
        "(`fully_shard`); null: every process holds all.",
    )

    ema_start: int = option(
        0, doc="Iteration up to which the averaged weights follow the weights.", ge=0, le=10**12
    )
    ema_warmup: bool = option(
        False, doc="Let the decay rise: min(`ema_decay`, (1 + n) / (10 + n)) after n iterations."
    )
    mixup: dict[str, Any] | None = option(
        None, doc="Mix pictures of a batch: `probability`, `beta`.", section=MixupOptions
    )
    mixing_augs: dict[str, Any] | None = option(
        None, doc="`mixup`, as Restormer's files write it.", section=MixingOptions
    )
    cutblur: dict[str, Any] | None = option(
        None,
        doc="Put parts of the truth into the input: `probability`, `ratio`.",
        section=CutBlurOptions,
    )

    @staticmethod
    def check_together(train: Mapping[str, Any], options: Mapping[str, Any]) -> Wrong:
        """Reports problems that no single value shows."""
        yield from _check_average(train)
        if train.get("sharding"):
            yield from _check_sharding(train, options)
        for key, own in (("use_grad_clip", "grad_clip_norm"), ("mixing_augs", "mixup")):
            if train.get(key) and train.get(own):
                yield key, f"says what {own} says; one of them is enough"
        parts = train.get("gradient_accumulation", 1)
        datasets = options.get("datasets")
        section = datasets.get("train") if isinstance(datasets, dict) else None
        batch = section.get("batch_size_per_gpu") if isinstance(section, dict) else None
        if isinstance(section, dict) and section.get("mini_batch_sizes"):
            batch = None  # parts need not be equal; a batch of one is one part
        if isinstance(batch, int) and isinstance(parts, int) and parts > 0 and batch % parts:
            text = f"must divide batch_size_per_gpu {batch}, got {parts!r}"
            yield "gradient_accumulation", text
        if isinstance(train.get("compile"), str):
            import torch

            names = torch.compiler.list_backends(exclude_tags=())
            if train["compile"] not in names:
                known = ", ".join(names)
                yield (
                    "compile",
                    (
                        f"must be true or a backend of torch.compile ({known}), "
                        f"got {train['compile']!r}"
                    ),
                )


def _check_average(train: Mapping[str, Any]) -> Wrong:
    """Two averages of the weights, or the beginning of one that is not computed."""
    if not train.get("ema_decay"):
        for key in ("ema_start", "ema_warmup"):
            if train.get(key):
                yield key, "has no effect without ema_decay"
        return
    total, start = train.get("total_iter"), train.get("ema_start")
    if isinstance(total, int) and isinstance(start, int) and start >= total:
        yield "ema_start", f"must be below total_iter {total}, got {start}"
    section = train.get("optim_g")
    if not isinstance(section, dict):
        return
    try:
        cls = optimizer_class(str(section.get("type")))
    except ValueError:  # reported where optimizers are checked
        return
    if is_schedule_free(cls):
        yield "ema_decay", f"must be 0: {cls.__name__} averages the weights itself"


def _check_sharding(train: Mapping[str, Any], options: Mapping[str, Any]) -> Wrong:
    """What cannot be done with parts of tensors."""
    for key, value in (
        ("train.compile", train.get("compile")),
        ("find_unused_parameters", options.get("find_unused_parameters")),
    ):
        if value:
            yield "sharding", f"does not go together with {key}: {value}"
    section = train.get("optim_g")
    name = section.get("type") if isinstance(section, dict) else None
    if name not in SHARDED_OPTIMIZERS:
        known = ", ".join(SHARDED_OPTIMIZERS)
        yield "sharding", f"needs an optimizer that treats every weight alone ({known}), not {name}"


def _check_submission(options: Mapping[str, Any]) -> Wrong:
    """Only some data sets have a benchmark to send results to, and training sends none."""
    from basicsr.utils.registry import DATASET_REGISTRY

    registered, datasets = dict(iter(DATASET_REGISTRY)), options.get("datasets")
    if "train" in options:
        yield "submission", "is written by a test, not in training"
    for key, section in datasets.items() if isinstance(datasets, dict) else ():
        name = section.get("type") if isinstance(section, dict) else None
        if name in registered and not hasattr(registered[name], "submission"):
            yield "submission", f"{name} (datasets.{key}) has no benchmark to send results to"


@dataclass
class RestorationGANTrain(RestorationTrain, GanTrain):
    """`train` of `RestorationGANModel`."""

    gan_opt: dict[str, Any] = option(doc="Adversarial loss: `type`, arguments.")
    ldl_opt: dict[str, Any] | None = option(
        None, doc="Locally discriminative loss; needs `ema_decay`."
    )
    sharding: Literal["fsdp2"] | None = option(
        None,
        doc="Must be null: networks that train against each other are not shared out.",
        check=lambda _: "must be null: networks that train against each other are not shared out",
    )


@dataclass
class RestorationVal(ValOptions):
    """`val` of `MambaIRv2Model`."""

    tile: Literal["authors", "none"] | int | str | None = option(
        "authors",
        doc="Tiles: `authors` (the published protocol), `none`, or the side of blended tiles.",
        filled=True,
    )
    tile_overlap: int | None = option(
        None, doc="Least overlap of blended tiles.", ge=0, shown="32, or a quarter of the side"
    )
    baseline: Literal["bicubic"] | None = option(
        None, doc="Also measure bicubic interpolation (at scale 1, the input)."
    )
    self_ensemble: bool = option(False, doc="Average over the eight orientations.")
    use_image: bool = option(
        True, doc="Measure pictures of 8 bits; false: floats, clipped to [0, 1] and not rounded."
    )
    window_size: int | None = option(
        None, doc="Pad pictures to multiples of it, for a network that does not.", ge=1, le=1024
    )
    max_minibatch: int | None = option(None, doc="Ignored: pictures are restored one by one.", ge=1)
    rgb2bgr: bool = option(
        True,
        doc="Must be true: results are RGB.",
        check=lambda value: None if value else "must be true: networks restore RGB",
    )
    submission: bool = option(
        False,
        doc="`basicsr test` also writes what is sent to the benchmark of SIDD or DND.",
    )

    @staticmethod
    def check_together(val: Mapping[str, Any], options: Mapping[str, Any]) -> Wrong:
        """Reports problems that no single value shows."""
        try:
            parse_tile(val.get("tile", RestorationVal.tile), val.get("tile_overlap"))
        except (TileError, TypeError) as error:
            yield "tile", str(error)
        if val.get("submission"):
            yield from _check_submission(options)


RESTORATION = ModelOptions(
    top=TopOptions,
    train=RestorationTrain,
    val=RestorationVal,
    needs_loss=True,
    every_loss=True,
    schedule_free=True,
)


@dataclass
class ImageCleanVal(RestorationVal):
    """`val` of `ImageCleanModel`."""

    tile: Literal["authors", "none"] | int | str | None = option(
        "none",
        doc="Tiles: `none`, `authors` (protocol of the SR networks), or the side of blended tiles.",
        filled=True,
    )


IMAGE_CLEAN = replace(RESTORATION, val=ImageCleanVal)

RESTORATION_GAN = ModelOptions(
    top=TopOptions,
    train=RestorationGANTrain,
    val=RestorationVal,
    networks=("network_g", "network_d"),
    every_loss=True,
    schedule_free=True,
)
