"""Distance of VGG's features, with weights from a file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from basicsr.archs.vgg_arch import NAMES
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from basicsr_mambair.classifiers import PerceptualUnavailableError, classifier_file
from basicsr_mambair.losses.picture_loss import LossError, PictureLoss, Reduction
from basicsr_mambair.registering import registers_in
from mambair.checkpoint import load_weights
from mambair.signatures import did_you_mean

_PREFIX = "features."  # of torchvision's convolutions; the classifier behind them is not needed
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures


@registers_in(LOSS_REGISTRY)
class VGGLoss(PictureLoss):
    """Perceptual loss (Johnson, Alahi & Fei-Fei, ECCV 2016, arXiv 1603.08155), with a file.

    ``Σ_l w_l d(φ_l(x), φ_l(y))`` with the features φ_l of layer l of VGG for pictures normalized as
    ImageNet's. d is the mean absolute difference (``l1``), the mean square (``l2``), or the
    Frobenius norm (``fro``), of each picture. ESRGAN (Wang et al. 2018) and Real-ESRGAN take
    features before ReLU.

    It differs from BasicSR's ``PerceptualLoss`` in that its weights come from a file and are never
    downloaded, in the criterion ``l2`` (BasicSR's names a class that torch lacks), and in ``fro``
    (there, the norm of the whole batch). It has no style loss.

    Args:
        layer_weights: factor w_l of each layer: ``{conv5_4: 1}``; ``relu5_4`` is after ReLU.
        weights: file of torchvision's weights for ``vgg_type`` (``.pth`` or ``.safetensors``);
            layers behind the last one that is used may be missing from it. ``None``: where
            torchvision keeps the files that it downloads.
        vgg_type: ``"vgg11"``, ``"vgg13"``, ``"vgg16"`` or ``"vgg19"``.
        criterion: ``"l1"``, ``"l2"`` or ``"fro"``.
        loss_weight: factor of the loss.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, over pictures.

    Raises:
        LossError: an argument is wrong; in ``forward``: not 3 channels, or pictures that are
            smaller than a pixel of the last layer.
        PerceptualUnavailableError: there is no such file.
        CheckpointError: the file cannot be read or holds other weights.
    """

    channels = 3

    def __init__(
        self,
        layer_weights: dict[str, Any],
        weights: str | None = None,
        vgg_type: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg19",
        criterion: Literal["l1", "l2", "fro"] = "l1",
        loss_weight: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(loss_weight, reduction)
        if criterion not in ("l1", "l2", "fro"):
            raise LossError(f"criterion: must be 'l1', 'l2' or 'fro', got {criterion!r}")
        self.check_options({"layer_weights": layer_weights, "vgg_type": vgg_type})
        self.layer_weights = dict(layer_weights)
        self.criterion = criterion
        self.layers = _layers(vgg_type, self.layer_weights)
        self.minimum_size = 2 ** sum(name.startswith("pool") for name in self.layers._modules)
        _load(self.layers, _file(weights, vgg_type))
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    @staticmethod
    def check_options(section: Mapping[str, Any]) -> None:
        """Raises :class:`LossError`, beginning with the key, if ``layer_weights`` is wrong."""
        vgg_type = section.get("vgg_type", "vgg19")
        if vgg_type not in NAMES:
            raise LossError(f"vgg_type: must be one of {', '.join(NAMES)}, got {vgg_type!r}")
        layers = section.get("layer_weights")
        if not isinstance(layers, Mapping) or not layers:
            raise LossError("layer_weights: must be a section of layers and their factors")
        for layer, factor in layers.items():
            if layer not in NAMES[vgg_type]:
                hint = did_you_mean(str(layer), NAMES[vgg_type])
                raise LossError(f"layer_weights: {vgg_type} has no layer {layer!r}{hint}")
            if isinstance(factor, bool) or not isinstance(factor, (int, float)) or factor < 0:
                raise LossError(
                    f"layer_weights: {layer} must be a number of at least 0: {factor!r}"
                )

    @staticmethod
    def check_available(section: Mapping[str, Any]) -> None:
        """Raises :class:`PerceptualUnavailableError` if the file of the weights is not there."""
        _file(section.get("weights"), section.get("vgg_type", "vgg19"))

    def features(self, picture: Tensor) -> dict[str, Tensor]:
        """Returns the features of the layers that are compared, by name."""
        found = {}
        x = (picture - self.get_buffer("mean")) / self.get_buffer("std")
        for name, layer in self.layers.named_children():
            x = layer(x)
            if name in self.layer_weights:
                found[name] = x
        return found

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        """Returns the distance of every picture, ``(B,)``."""
        own = self.features(pred)
        with torch.no_grad():
            true = self.features(target)
        distances = [
            factor * self._distance(own[layer], true[layer])
            for layer, factor in self.layer_weights.items()
        ]
        return torch.stack(distances).sum(dim=0)

    def _distance(self, own: Tensor, true: Tensor) -> Tensor:
        if self.criterion == "fro":
            norm: Tensor = torch.linalg.vector_norm(own - true, dim=(1, 2, 3))
            return norm
        difference = (own - true).abs()
        return (difference if self.criterion == "l1" else difference**2).mean(dim=(1, 2, 3))


def _layers(vgg_type: str, used: Mapping[str, Any]) -> nn.Sequential:
    """The convolutions, without weights, up to the last layer that is used."""
    names = NAMES[vgg_type]
    last = max(names.index(layer) for layer in used)
    with torch.device("meta"):
        features = getattr(torchvision.models, vgg_type)(weights=None).features
    layers = OrderedDict(zip(names[: last + 1], features, strict=False))
    for layer in layers.values():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # a layer's features are used after the next layer has run
    return nn.Sequential(layers)


def _load(layers: nn.Sequential, file: Path) -> None:
    state, _ = load_weights(file, None)
    wanted = {}
    for index, (name, layer) in enumerate(layers.named_children()):
        for kind, empty in layer.named_parameters():
            value = state.get(f"{_PREFIX}{index}.{kind}")
            if value is None or value.shape != empty.shape:
                found = "is missing" if value is None else f"has shape {tuple(value.shape)}"
                raise LossError(
                    f"weights: {file} is not of this network: {_PREFIX}{index}.{kind} "
                    f"({name}, {tuple(empty.shape)}) {found}"
                )
            wanted[f"{name}.{kind}"] = value.float()
    layers.load_state_dict(wanted, assign=True)


def _file(weights: str | None, vgg_type: str) -> Path:
    """The file of the weights; the error says where to get it, and where to put it."""
    standard, url = classifier_file(vgg_type)
    file = standard if weights is None else Path(weights).expanduser()
    if not file.is_file():
        place = f"put it at {file}, or name its place: weights: FILE"
        raise PerceptualUnavailableError(
            f"VGGLoss needs {file}, which does not exist; download {url} and {place}"
        )
    return file
