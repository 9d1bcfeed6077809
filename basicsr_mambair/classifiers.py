"""torchvision's classifiers, trained on ImageNet, and the perceptual distances built on them.

The files of the classifiers are the user's: nothing is downloaded here, and a missing one is an
error that names its address and its place. torchmetrics (Apache-2.0, an optional extra) computes
the distances and includes their own small weights: those of LPIPS are BSD-2-Clause (Zhang et al.),
those of DISTS MIT (Ding et al.).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, cast

from mambair.errors import UserError

LPIPS_CLASSIFIERS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


class PerceptualUnavailableError(UserError, RuntimeError):
    """A missing package or file; the message says which, who needs it, and where to get it."""


def classifier_file(name: str) -> tuple[Path, str]:
    """Returns where torchvision looks for the weights of a classifier, and their address.

    Args:
        name: torchvision's name of the network: ``vgg19``.
    """
    import torch
    import torchvision

    url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1], url


def require_classifier(name: str, user: str) -> Path:
    """Returns the file of a classifier's weights.

    Args:
        name: torchvision's name of the network.
        user: who needs it, for the message.

    Raises:
        PerceptualUnavailableError: the file is not there.
    """
    file, url = classifier_file(name)
    if not file.is_file():
        raise PerceptualUnavailableError(f"{user} needs {file}; download it from {url}")
    return file


def require_lpips(net: str, user: str = "LPIPS") -> None:
    """Checks that LPIPS can be computed without downloading anything.

    Args:
        net: ``alex``, ``vgg`` or ``squeeze``.
        user: who needs it, for the message.

    Raises:
        PerceptualUnavailableError: torchmetrics or the weights of the classifier are missing.
    """
    _require_torchmetrics(user)
    if net not in LPIPS_CLASSIFIERS:
        known = list(LPIPS_CLASSIFIERS)
        raise PerceptualUnavailableError(f"{user}: net must be one of {known}: {net!r}")
    require_classifier(LPIPS_CLASSIFIERS[net], user)


def require_dists(user: str = "DISTS") -> None:
    """Checks that DISTS can be computed; see :func:`require_lpips`."""
    _require_torchmetrics(user)
    require_classifier("vgg16", user)


def lpips_network(net: str, user: str = "LPIPS") -> Any:
    """Builds LPIPS, version 0.1, as a module without trainable parameters.

    Args:
        net: ``alex``, ``vgg`` or ``squeeze``.
        user: who needs it, for messages.

    Returns:
        A module that maps two batches ``(B, 3, H, W)``, RGB in [−1, 1], to ``(B, 1, 1, 1)``.

    Raises:
        PerceptualUnavailableError: see :func:`require_lpips`.
    """
    require_lpips(net, user)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(cast(Any, net)).net


def dists_network(user: str = "DISTS") -> Any:
    """Builds DISTS as a module without trainable parameters.

    Returns:
        A module that maps two batches ``(B, 3, H, W)``, RGB in [0, 1], to ``(B,)``, or to one
        number where B is 1; with ``require_grad=True`` it can be differentiated.

    Raises:
        PerceptualUnavailableError: see :func:`require_lpips`.
    """
    require_dists(user)
    from torchmetrics.functional.image.dists import DISTSNetwork

    return DISTSNetwork().eval().requires_grad_(False)


def _require_torchmetrics(user: str) -> None:
    if importlib.util.find_spec("torchmetrics") is None:
        raise PerceptualUnavailableError(
            f"{user} needs torchmetrics: pip install 'basicsr-mambair[perceptual]'"
        )
