"""The options that this package's models add to those of BasicSR's ``SRModel``, as types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from basicsr_mambair.options.fields import option
from basicsr_mambair.options.sections import TopOptions, TrainOptions, ValOptions
from basicsr_mambair.options.stock import ModelOptions
from mambair.inference.tiles import TileError, parse_tile

Wrong = Iterator[tuple[str, str]]  # a key, and what is wrong with it


@dataclass
class RestorationTrain(TrainOptions):
    """`train` of `MambaIRv2Model`; every section `…_opt` that names a loss is computed."""

    grad_clip_norm: float | None = option(
        None, doc="Largest norm of the gradients; larger ones are scaled down.", gt=0
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

    @staticmethod
    def check_together(train: Mapping[str, Any], options: Mapping[str, Any]) -> Wrong:
        """Reports problems that no single value shows."""
        parts = train.get("gradient_accumulation", 1)
        datasets = options.get("datasets")
        section = datasets.get("train") if isinstance(datasets, dict) else None
        batch = section.get("batch_size_per_gpu") if isinstance(section, dict) else None
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

    @staticmethod
    def check_together(val: Mapping[str, Any], options: Mapping[str, Any]) -> Wrong:
        """Reports problems that no single value shows."""
        try:
            parse_tile(val.get("tile", RestorationVal.tile), val.get("tile_overlap"))
        except (TileError, TypeError) as error:
            yield "tile", str(error)


RESTORATION = ModelOptions(
    top=TopOptions,
    train=RestorationTrain,
    val=RestorationVal,
    needs_loss=True,
    every_loss=True,
)
