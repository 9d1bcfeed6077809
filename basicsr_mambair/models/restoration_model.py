"""Training and validation of a restoration network on BasicSR's ``SRModel``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any, ClassVar

import basicsr  # noqa: F401  (activates the plugin before anything here is used)
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from basicsr_mambair.models.augmentation import BatchAugmentation
from basicsr_mambair.models.averaging import ScheduleFree, ema_decay_at
from basicsr_mambair.models.options import CLIP_NORM, IMAGE_CLEAN, RESTORATION, RestorationVal
from basicsr_mambair.models.training_losses import TrainingLosses, check_loss_sections
from basicsr_mambair.models.validation import baseline, measurable, validate
from basicsr_mambair.options.stock import ModelOptions
from basicsr_mambair.registering import registers_in
from basicsr_mambair.sharding import Sharding, parts_for, whole
from mambair.archs.contract import ContractError, contract_of
from mambair.archs.padding import run_padded
from mambair.inference.ensemble import self_ensemble
from mambair.inference.tiles import parse_tile, run_tiled

_NOISE = 1  # tells its seeds from those of other draws of an iteration
AMP_DTYPES = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}


@registers_in(MODEL_REGISTRY)
class RestorationModel(SRModel):  # type: ignore[misc]  # BasicSR has no types
    """``SRModel`` for every network that maps one picture to one picture.

    Two optional methods of a network are used: ``warm_start(kind)``, and
    ``set_training_noise(kind)`` of networks that route at random. In addition to the options of
    ``SRModel`` (EMA, optimizer, scheduler), the model has:

    - ``train.NAME_opt``: every section of this form is a loss of BasicSR's registry, computed and
      logged as ``l_NAME`` (``l_pix``, ``l_percep`` and ``l_style`` for BasicSR's own sections);
    - ``train.optim_g.type``: any optimizer of ``torch.optim``, or of another package by its dotted
      name; schedule-free ones are switched to their averaged weights to validate and save;
    - ``train.ema_start``, ``train.ema_warmup``: how the moving average of the weights begins;
    - ``train.mixup``, ``train.cutblur``: augmentations of a batch;
    - ``train.grad_clip_norm``: clips the gradients to this norm;
    - ``train.mixing_augs``, ``train.use_grad_clip``: the same two as Restormer's files write them;
    - ``train.gradient_accumulation: n``: runs a batch in n parts; iterations, learning rates and
      results are those of the whole batch, memory is that of one part;
    - ``train.amp: bf16`` or ``fp16``: mixed precision. Scan, norms and loss stay in float32; fp16
      scales the loss, and skips the steps whose gradients overflow;
    - ``train.compile: true``: compiles the network (``torch.compile``) when training begins; the
      name of a backend selects that backend;
    - ``train.sharding: fsdp2``: shares out weights, gradients and optimizer states among processes;
    - ``train.warm_start: bicubic``: begin with a network that interpolates bicubically; for
      networks that support it;
    - ``val.tile``: ``authors`` (default, the published protocol), ``none``, or the side of
      overlapping blended tiles, with ``val.tile_overlap``;
    - ``val.use_image: false``: measure floats, clipped to [0, 1], instead of 8 bits;
    - ``val.window_size``: pads pictures to its multiples, for networks that need them;
    - ``val.self_ensemble: true``: average over the eight orientations of a picture;
    - ``val.baseline: bicubic``: also report the metrics of bicubic interpolation (of the input
      itself at scale 1).

    Args:
        opt: the options of a run.
    """

    OPTIONS: ClassVar[ModelOptions] = RESTORATION
    OWN_LOSSES: ClassVar[tuple[str, ...]] = ()  # sections of losses that a subclass computes
    log_dict: OrderedDict[str, float]

    def __init__(self, opt: dict[str, Any]) -> None:
        val = opt.get("val") or {}
        self.tiling = parse_tile(val.get("tile", RestorationVal.tile), val.get("tile_overlap"))
        self.self_ensemble = bool(val.get("self_ensemble", False))
        self.scale = int(opt.get("scale", 1))
        self._baselines: dict[str, dict[str, float]] = {}
        self.sharding: Sharding | None = None
        super().__init__(opt)

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError``, beginning with the key, if training cannot work."""
        if not opt.get("is_train"):
            return
        try:
            check_loss_sections(opt["train"], cls.OWN_LOSSES)
        except ValueError as error:
            raise ValueError(f"train.{error}") from error
        network = ARCH_REGISTRY.get(opt["network_g"]["type"])
        if opt["train"].get("warm_start") and not hasattr(network, "warm_start"):
            raise ValueError(f"train.warm_start: {network.__name__} does not support it")

    def init_training_settings(self) -> None:
        """Sets up losses, optimizer and schedules; the network begins as the options say."""
        train = self.opt["train"]
        self.grad_clip_norm = train.get("grad_clip_norm")
        if train.get("use_grad_clip"):
            self.grad_clip_norm = CLIP_NORM
        self.accumulation = int(train.get("gradient_accumulation", 1))
        self.amp_dtype = AMP_DTYPES[train.get("amp")]
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=self.amp_dtype == torch.float16
        )
        network = self.get_bare_model(self.net_g)
        self._begin(network)
        self.net_g.train()
        self._set_up_ema()
        if self._is_sharded:
            self._share_out()
        elif train.get("sharding"):
            get_root_logger().warning("train.sharding has no effect: there is only one process")
        self._set_up_losses()
        seed = self.opt.get("manual_seed") or 0
        self.augmentation = BatchAugmentation(train, seed, self.opt["rank"])
        self.setup_optimizers()
        self.schedule_free = ScheduleFree(self.optimizers)
        self.setup_schedulers()
        if train.get("compile"):
            backend = "inductor" if train["compile"] is True else train["compile"]
            # In place: the state dict keeps its keys. DDP and validation call the same module.
            network.compile(backend=backend)

    def _begin(self, network: Any) -> None:
        """Uses what a network offers for training: fast noise, a warm start."""
        if getattr(network, "routing_seed", None) is not None:
            network.set_training_noise("fused")
        kind = self.opt["train"].get("warm_start")
        if kind is None or self.opt["path"].get("pretrain_network_g"):
            return
        network.warm_start(kind)

    @property
    def _is_sharded(self) -> bool:
        return bool(self.is_train and self.opt["train"].get("sharding") and self.opt["dist"])

    def model_to_device(self, net: Any) -> Any:
        """Moves a network to the device, and wraps it for several processes or devices."""
        return net.to(self.device) if self._is_sharded else super().model_to_device(net)

    def _share_out(self) -> None:
        """Leaves this process its part of the weights; what is built from them comes after."""
        self.sharding = Sharding(self.device, self.opt["world_size"])
        for name in ("net_g", "net_g_ema"):
            if hasattr(self, name):
                self.sharding.share_out(getattr(self, name))

    def _set_up_ema(self) -> None:
        """Sets up the moving average of the weights, for validation and checkpoints."""
        self.ema_decay = self.opt["train"].get("ema_decay", 0)
        if self.ema_decay <= 0:
            return
        get_root_logger().info(f"Use Exponential Moving Average with decay: {self.ema_decay}")
        self.net_g_ema = build_network(self.opt["network_g"]).to(self.device)
        path = self.opt["path"]
        if path.get("pretrain_network_g") is not None:
            strict = path.get("strict_load_g", True)
            self.load_network(self.net_g_ema, path["pretrain_network_g"], strict, "params_ema")
        else:
            self.model_ema(0)
        self.net_g_ema.eval()

    def _set_up_losses(self) -> None:
        """Builds the losses of the sections of ``train``."""
        self.losses = TrainingLosses(self.opt["train"], self.OWN_LOSSES).to(self.device)

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Moves the average by 1 − ``decay`` towards the weights; statistics of norms follow."""
        super().model_ema(decay)
        own = dict(self.get_bare_model(self.net_g).named_buffers())
        for name, average in self.net_g_ema.named_buffers():
            if average.is_floating_point():
                average.copy_(own[name])

    def optimize_parameters(self, current_iter: int) -> None:
        """Makes one step of the optimizer on the batch.

        A loss or gradients that are not finite change nothing; the training loop counts such steps.
        """
        self.schedule_free.train()
        inputs, truths = self.augmentation(self.lq, self.gt, current_iter)
        self.optimizer_g.zero_grad()
        parts = list(zip(inputs.chunk(self.accumulation), truths.chunk(self.accumulation)))  # noqa: B905
        losses: OrderedDict[str, Tensor] = OrderedDict()
        for index, (lq, gt) in enumerate(parts):
            with self._gradient_sync(last=index == len(parts) - 1):
                share = lq.shape[0] / inputs.shape[0]
                self._place_noise(current_iter, index * parts[0][0].shape[0], inputs.shape[0])
                with self._autocast():
                    output = self.net_g(lq)
                part_losses = self.losses(output.float(), gt)
                total = self.losses.total(part_losses) * share
                torch.autograd.backward(self.scaler.scale(total))
            for name, value in part_losses.items():
                losses[name] = losses.get(name, 0) + value.detach() * share

        self.log_dict = OrderedDict()
        self._log(losses, self.optimizer_g)
        self._step(self.optimizer_g, "grad_norm")
        self.scaler.update()
        self.update_average(current_iter)

    def _place_noise(self, current_iter: int, first: int, batch: int) -> None:
        """Gives every sample the noise of its place in the run, whoever computes it.

        Args:
            current_iter: number of the step.
            first: number of the first sample of the next forward pass in this process's batch.
            batch: samples in this process's batch.
        """
        place = getattr(self.get_bare_model(self.net_g), "place_training_noise", None)
        if place is None:
            return
        key = [self.opt.get("manual_seed") or 0, current_iter, _NOISE]
        seed = int(np.random.SeedSequence(key).generate_state(1).astype(np.int32)[0])
        place(seed, self.opt["rank"] * batch + first)

    def _log(self, losses: OrderedDict[str, Tensor], optimizer: Any) -> None:
        """Adds the losses of all processes to the log; drops gradients of one that is not finite.

        Args:
            losses: by their names in the log.
            optimizer: the one whose step these losses decide.
        """
        reduced = self.reduce_loss_dict(losses)
        self.log_dict.update(reduced)
        self._drop_unless_finite(reduced.values(), optimizer)

    def _step(self, optimizer: Any, name: str) -> None:
        """Makes the step of an optimizer; clips the gradients first if the options say so.

        Args:
            optimizer: one of the model.
            name: name of the gradients' norm in the log.
        """
        if self.grad_clip_norm:
            self.scaler.unscale_(optimizer)
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            norm = whole(torch.nn.utils.clip_grad_norm_(parameters, self.grad_clip_norm)).item()
            self.log_dict[name] = norm
            self._drop_unless_finite([norm], optimizer)
        self.scaler.step(optimizer)

    def update_average(self, current_iter: int) -> None:
        """Moves the average of the weights after a step, if there is one."""
        if self.ema_decay <= 0:
            return
        train = self.opt["train"]
        start, warmup = train.get("ema_start", 0), train.get("ema_warmup", False)
        self.model_ema(ema_decay_at(current_iter, self.ema_decay, start, warmup))

    def save(self, epoch: int, current_iter: int) -> None:
        """Writes a checkpoint; of a schedule-free optimizer it holds the averaged weights."""
        states = self.sharding.whole_states(self) if self.sharding else nullcontext()
        with self.schedule_free.averaged(), states:
            super().save(epoch, current_iter)

    def extra_training_state(self) -> dict[str, Any]:
        """Entries of the training state in addition to BasicSR's."""
        state: dict[str, Any] = {}
        if self.scaler.is_enabled():
            state["scaler"] = self.scaler.state_dict()
        if self.schedule_free.optimizers:
            state["training_weights"] = self.schedule_free.state()
        return state

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Restores optimizers, schedulers and the scale of the loss from a training state."""
        if self.sharding:
            states = zip(self.optimizers, resume_state["optimizers"], strict=True)
            parts = [parts_for(optimizer, state) for optimizer, state in states]
            resume_state = {**resume_state, "optimizers": parts}
        super().resume_training(resume_state)
        if self.scaler.is_enabled() and "scaler" in resume_state:
            self.scaler.load_state_dict(resume_state["scaler"])
        if "training_weights" in resume_state:
            self.schedule_free.load_state(resume_state["training_weights"])

    def _autocast(self) -> Any:
        if self.amp_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.amp_dtype)

    def _drop_unless_finite(self, values: Iterable[float], optimizer: Any) -> None:
        """Drops the gradients of an optimizer if a loss or their norm is not finite.

        With fp16 the scaler does that. Where several processes train, only the first has the mean
        of their losses; there the gradients decide (see the training loop), which all share.
        """
        finite = all(map(math.isfinite, values))
        if not finite and not self.scaler.is_enabled() and not self.opt["dist"]:
            optimizer.zero_grad()

    def _gradient_sync(self, last: bool, net: Any = None) -> Any:
        """Lets processes exchange gradients of a network only after the last part of a batch."""
        net = self.net_g if net is None else net
        if self.sharding:
            net.set_requires_gradient_sync(last)
        elif isinstance(net, DistributedDataParallel) and not last:
            return net.no_sync()
        return nullcontext()

    def test(self) -> None:
        """Restores ``self.lq`` to ``self.output``, tiled as ``val.tile`` says."""
        # Not the DDP wrapper: only one process validates, and the wrapper waits for the others.
        net = self.net_g_ema if hasattr(self, "net_g_ema") else self.get_bare_model(self.net_g)
        net.eval()
        with torch.no_grad():
            if self.self_ensemble:
                self.output = self_ensemble(partial(self._restore, net), self.lq)
            else:
                self.output = self._restore(net, self.lq)
        if self.is_train:
            self.net_g.train()

    def _restore(self, net: torch.nn.Module, x: Tensor) -> Tensor:
        multiple, least = self._sizes

        def on_tile(tile: Tensor) -> Tensor:
            return run_padded(net, tile, self.scale, multiple, least)

        return run_tiled(on_tile, x, self.scale, self.tiling)

    @cached_property
    def _sizes(self) -> tuple[int, int]:
        """The number of which the sides of the input must be multiples, and their minimum."""
        multiple = int((self.opt.get("val") or {}).get("window_size") or 1)
        try:
            contract = contract_of(self.get_bare_model(self.net_g))
        except ContractError:  # without a contract it gets pictures as the options say
            return multiple, 1
        return math.lcm(contract.size_multiple, multiple), contract.minimum_size

    def validation(
        self,
        dataloader: Any,
        current_iter: int | str,
        tb_logger: Any,
        save_img: bool = False,
    ) -> None:
        """Validates the weights that a checkpoint would hold."""
        network = self.sharding.whole_network(self) if self.sharding else nullcontext()
        with self.schedule_free.averaged() if self.is_train else nullcontext(), network:
            super().validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(
        self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validates a data set; also reports the baseline if ``val.baseline`` is set."""
        validate(self, dataloader, current_iter, tb_logger, save_img)
        if self.opt["val"].get("baseline") is None or not self.opt["val"].get("metrics"):
            return
        name = dataloader.dataset.opt["name"]
        if name not in self._baselines:
            self._baselines[name] = self._measure_baseline(dataloader)
        label = "bicubic" if self.scale > 1 else "input"
        lines = [f"Validation {name}, {label}"]
        for metric, value in self._baselines[name].items():
            gain = self.metric_results[metric] - value
            lines.append(f"\t # {metric}: {value:.4f}\tnetwork: {gain:+.4f}")
        get_root_logger().info("\n".join(lines) + "\n")

    def _measure_baseline(self, dataloader: Any) -> dict[str, float]:
        """Returns the mean metrics of bicubic interpolation over a data set."""
        metrics, use_image = self.opt["val"]["metrics"], self.opt["val"].get("use_image", True)
        totals = dict.fromkeys(metrics, 0.0)
        for sample in dataloader:
            data = {
                "img": baseline(sample["lq"], self.scale, use_image),
                "img2": measurable(sample["gt"], use_image),
            }
            for name, section in metrics.items():
                totals[name] += float(calculate_metric(data, section))
        return {name: total / len(dataloader) for name, total in totals.items()}


@registers_in(MODEL_REGISTRY)
class MambaIRv2Model(RestorationModel):
    """:class:`RestorationModel` under the name that the published option files use."""


@registers_in(MODEL_REGISTRY)
class MambaIRv2LightModel(RestorationModel):
    """:class:`RestorationModel` under the name that the published light option files use."""


@registers_in(MODEL_REGISTRY)
class MambaIRModel(RestorationModel):
    """:class:`RestorationModel` under the name that option files of MambaIR use."""


@registers_in(MODEL_REGISTRY)
class ImageCleanModel(RestorationModel):
    """:class:`RestorationModel` under the name that Restormer's option files use.

    Whole pictures are restored unless ``val.tile`` says otherwise.
    """

    OPTIONS: ClassVar[ModelOptions] = IMAGE_CLEAN
