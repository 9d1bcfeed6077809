"""Small networks and a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mambair.archs import MambaIR, MambaIRv2Light
from tests.conftest import photograph, tiny_network


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """RGB, with sides that no window divides."""
    return np.ascontiguousarray(photograph("coffee", 50, 67)[..., ::-1])


@pytest.fixture
def v2() -> nn.Module:
    """A MambaIRv2 of three blocks whose prompts are as large as its C."""
    torch.manual_seed(0)
    section = tiny_network()
    section.pop("type")
    net = MambaIRv2Light(**section)
    for name, each in net.named_parameters():
        if "embedding" in name:
            nn.init.normal_(each, std=0.5)
    return net.eval()


@pytest.fixture
def v1() -> nn.Module:
    """A MambaIR of two blocks."""
    torch.manual_seed(0)
    net = MambaIR(
        embed_dim=16, depths=[1, 1], d_state=3, mlp_ratio=1.5, upscale=2,
        upsampler="pixelshuffledirect",
    )  # fmt: skip
    return net.eval()
