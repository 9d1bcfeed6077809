"""Training of a restoration network against a discriminator."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import basicsr  # noqa: F401  (activates the plugin before anything here is used)
import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from basicsr_mambair.models.adversarial import AdversarialLoss, Judgment, to_float
from basicsr_mambair.models.options import RESTORATION_GAN
from basicsr_mambair.models.restoration_model import RestorationModel
from basicsr_mambair.registering import registers_in


@dataclass
class _Part:
    """What is run at once: a batch, or with ``gradient_accumulation`` a part of one."""

    lq: Tensor
    gt: Tensor
    truths: dict[str, Tensor]  # truths of single sections, where they are not gt
    share: float  # of the batch

    @property
    def real(self) -> Tensor:
        """True pictures as the discriminator sees them."""
        return self.truths.get("gan", self.gt)


@registers_in(MODEL_REGISTRY)
class RestorationGANModel(RestorationModel):
    """:class:`RestorationModel` with a discriminator, for networks that should look real.

    Every iteration makes a step of the generator, then one of the discriminator on the same output.
    EMA, mixed precision, accumulation, clipping, optimizers and losses are those of
    :class:`RestorationModel`, for both networks. In addition:

    - ``network_d``, ``train.optim_d``, ``path.pretrain_network_d``: the discriminator;
    - ``train.gan_opt``: the adversarial loss, relativistic ones included;
    - ``train.ldl_opt``: locally discriminative learning, which also needs ``train.ema_decay``;
    - ``train.net_d_iters``: steps of the discriminator for one of the generator;
    - ``train.net_d_init_iters``: iterations in which only the discriminator learns.

    The log has BasicSR's names: ``l_g_pix``, ``l_g_percep``, ``l_g_gan``, ``l_d_real``,
    ``out_d_real``, ``l_d_fake``, ``out_d_fake``.

    Args:
        opt: the options of a run.
    """

    OPTIONS = RESTORATION_GAN
    OWN_LOSSES = ("gan_opt", "ldl_opt")  # they need more than output and truth

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> None:
        """Raises ``ValueError``, beginning with the key, if training cannot work."""
        super().check_options(opt)
        if (
            opt.get("is_train")
            and opt["train"].get("ldl_opt")
            and not opt["train"].get("ema_decay")
        ):
            raise ValueError("train.ldl_opt: compares with the averaged weights; set ema_decay")

    def _set_up_losses(self) -> None:
        """Builds the losses, those of the discriminator too, and the discriminator itself."""
        super()._set_up_losses()
        train, path = self.opt["train"], self.opt["path"]
        self.net_d = self.model_to_device(build_network(self.opt["network_d"]))
        self.print_network(self.net_d)
        if path.get("pretrain_network_d") is not None:
            self.load_network(
                self.net_d,
                path["pretrain_network_d"],
                path.get("strict_load_d", True),
                path.get("param_key_d", "params"),
            )
        self.net_d.train()
        self.adversarial = AdversarialLoss(train["gan_opt"]).to(self.device)
        self.ldl: nn.Module | None = None
        if train.get("ldl_opt"):
            self.ldl = build_loss(dict(train["ldl_opt"])).to(self.device)
        self.net_d_iters = int(train.get("net_d_iters", 1))
        self.net_d_init_iters = int(train.get("net_d_init_iters", 0))

    def setup_optimizers(self) -> None:
        """Sets up the optimizers of both networks, the generator's first."""
        super().setup_optimizers()
        section = dict(self.opt["train"]["optim_d"])
        kind = section.pop("type")
        self.optimizer_d = self.get_optimizer(kind, self.net_d.parameters(), **section)
        self.optimizers.append(self.optimizer_d)

    def truths(self, gt: Tensor) -> dict[str, Tensor]:
        """Returns the truths of single sections (``pixel``, ``perceptual``, ``gan``).

        Args:
            gt: the ground truth, which all others get, ``(B, C, H, W)``.
        """
        return {}

    def optimize_parameters(self, current_iter: int) -> None:
        """Makes a step of the generator and one of the discriminator.

        A loss or gradients that are not finite leave the network that they belong to as it is.
        """
        self.schedule_free.train()
        lq, gt = self.augmentation(self.lq, self.gt, current_iter)
        parts = list(self._parts(lq, gt))
        self.log_dict = OrderedDict()
        learns = current_iter > self.net_d_init_iters and current_iter % self.net_d_iters == 0
        train = self._train_generator if learns else self._outputs
        outputs = train(parts, partial(self._place_noise, current_iter, batch=lq.shape[0]))
        self._train_discriminator(parts, outputs)
        self.scaler.update()
        self.update_average(current_iter)

    def _parts(self, lq: Tensor, gt: Tensor) -> Iterator[_Part]:
        truths = {name: each.chunk(self.accumulation) for name, each in self.truths(gt).items()}
        chunks = zip(lq.chunk(self.accumulation), gt.chunk(self.accumulation), strict=True)
        for number, (part_lq, part_gt) in enumerate(chunks):
            own = {name: each[number] for name, each in truths.items()}
            yield _Part(part_lq, part_gt, own, part_lq.shape[0] / lq.shape[0])

    @torch.no_grad()
    def _outputs(self, parts: list[_Part], place_noise: Callable[[int], None]) -> list[Tensor]:
        """Outputs for the discriminator alone."""
        net = self.get_bare_model(self.net_g)
        outputs = []
        for number, part in enumerate(parts):
            place_noise(number * parts[0].lq.shape[0])
            with self._autocast():
                outputs.append(net(part.lq).float())
        return outputs

    def _train_generator(
        self, parts: list[_Part], place_noise: Callable[[int], None]
    ) -> list[Tensor]:
        """Makes a step of the generator; returns its outputs before the step, detached."""
        self.optimizer_g.zero_grad()
        # The discriminator only passes gradients on. Without DDP's wrapper: nothing to exchange.
        judge = partial(self._judge, self.get_bare_model(self.net_d))
        self.net_d.requires_grad_(False)
        losses: OrderedDict[str, Tensor] = OrderedDict()
        outputs = []
        for number, part in enumerate(parts):
            place_noise(number * parts[0].lq.shape[0])
            with self._gradient_sync(last=number == len(parts) - 1):
                with self._autocast():
                    output = self.net_g(part.lq)
                output = output.float()
                computed = self.losses(output, part.gt, part.truths)
                if self.ldl is not None:
                    computed["l_ldl"] = self._ldl(self.ldl, output, part)
                computed["l_gan"] = self.adversarial.generator(judge, output, part.real)
                total = self.losses.total(computed) * part.share
                torch.autograd.backward(self.scaler.scale(total))
            _add(losses, {_generators(name): value for name, value in computed.items()}, part.share)
            outputs.append(output.detach())
        self.net_d.requires_grad_(True)
        self._log(losses, self.optimizer_g)
        self._step(self.optimizer_g, "grad_norm")
        return outputs

    def _train_discriminator(self, parts: list[_Part], outputs: list[Tensor]) -> None:
        """Makes a step of the discriminator on what the generator has just restored."""
        self.optimizer_d.zero_grad()
        judge = partial(self._judge, self.net_d)
        losses: OrderedDict[str, Tensor] = OrderedDict()
        for number, (part, output) in enumerate(zip(parts, outputs, strict=True)):
            with self._gradient_sync(last=number == len(parts) - 1, net=self.net_d):
                for loss, logged in self.adversarial.discriminator(judge, output, part.real):
                    torch.autograd.backward(self.scaler.scale(loss * part.share))
                    _add(losses, logged, part.share)
        self._log(losses, self.optimizer_d)
        self._step(self.optimizer_d, "grad_norm_d")

    def _judge(self, discriminator: nn.Module, pictures: Tensor) -> Judgment:
        with self._autocast():
            judgment = discriminator(pictures)
        return to_float(judgment)

    def _ldl(self, loss: nn.Module, output: Tensor, part: _Part) -> Tensor:
        with torch.no_grad(), self._autocast():
            average = self.net_g_ema(part.lq).float()
        if "output_ema" in inspect.signature(loss.forward).parameters:
            own: Tensor = loss(output, part.gt, average)
            return own
        # A plain loss of pixels, as in BasicSR's files, which is weighted by the map of artifacts.
        artifacts = get_refined_artifact_map(part.gt, output, average, 7)
        weighted: Tensor = loss(artifacts * output, artifacts * part.gt)
        return weighted

    def save(self, epoch: int, current_iter: int) -> None:
        """Writes a checkpoint: the discriminator, then the generator, the training state last."""
        with self.schedule_free.averaged():
            self.save_network(self.net_d, "net_d", current_iter)
            super().save(epoch, current_iter)


def _generators(name: str) -> str:
    """``l_pix`` in the log as BasicSR's GAN models name it: ``l_g_pix``."""
    return f"l_g_{name.removeprefix('l_')}"


def _add(totals: OrderedDict[str, Tensor], values: Mapping[str, Tensor], share: float) -> None:
    for name, value in values.items():
        totals[name] = totals.get(name, 0) + value.detach() * share
