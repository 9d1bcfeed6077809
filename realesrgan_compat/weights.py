"""Finding weights: by file, by name, or at an address, from which they are downloaded once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

from mambair.errors import CheckpointError
from mambair.inference.weights import find_weights

FOLDER = Path("weights")  # where Real-ESRGAN's own script keeps what it downloads
_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_SCHEMES = ("https://", "http://")


@dataclass(frozen=True)
class Published:
    """Weights that Real-ESRGAN's authors published.

    Attributes:
        scale: scale of the network.
        release: the release that holds the file.
    """

    scale: int
    release: str


PUBLISHED = {
    "RealESRGAN_x4plus": Published(4, "v0.1.0"),
    "RealESRNet_x4plus": Published(4, "v0.1.1"),
    "RealESRGAN_x4plus_anime_6B": Published(4, "v0.2.2.4"),
    "RealESRGAN_x2plus": Published(2, "v0.2.1"),
    "realesr-animevideov3": Published(4, "v0.2.5.0"),
    "realesr-general-x4v3": Published(4, "v0.2.5.0"),
    "realesr-general-wdn-x4v3": Published(4, "v0.2.5.0"),
}


def locate(name: str | os.PathLike[str]) -> Path:
    """The file of weights.

    Args:
        name: a file; a name that ``basicsr restore -w`` accepts (``tiny_x2``, an experiment); a
            name of Real-ESRGAN's, which is looked for in ``weights/`` and downloaded there if it is
            missing; or an address (``https://…``), which is downloaded to ``weights/`` once.

    Raises:
        CheckpointError: nothing found, or it could not be downloaded; says where from and where to.

    Examples:
        >>> from realesrgan_compat.weights import locate
        >>> locate("tiny_x2").name
        'tiny_x2.safetensors'
    """
    text = os.fspath(name)
    if text.startswith(_SCHEMES):
        return download(text, FOLDER)
    if text in PUBLISHED and not Path(text).is_file():
        address = f"{_RELEASES}/{PUBLISHED[text].release}/{text}.pth"
        for folder in (FOLDER, Path("experiments", "pretrained_models")):
            if (folder / f"{text}.pth").is_file():
                return folder / f"{text}.pth"
        return download(address, FOLDER)
    return find_weights(name)


def download(address: str, folder: Path) -> Path:
    """Downloads a file unless it is there already; it is complete or not there.

    Raises:
        CheckpointError: it could not be downloaded; says where to put it by hand.
    """
    import torch

    path = folder / Path(urlparse(address).path).name
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path))  # renames when it is complete
    except (URLError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: is not there and could not be downloaded from {address} ({error}); download "
            "it by other means and put it there"
        ) from error
    return path
