"""The two feed-forward networks of MambaIRv2, over a token map ``(B, H, W, C)``.

Both accept the normalization before them and the residuals after them, which belong to the block:
the linear layers at their ends do these in the same pass.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from mambair.ops.dense import Residual, dense


def convolve_tokens(conv: nn.Module, x: Tensor) -> Tensor:
    """Applies a convolution to ``(B, H, W, C)``: a view into channels-last memory, not a copy."""
    y: Tensor = conv(rearrange(x, "b h w c -> b c h w"))
    return rearrange(y, "b c h w -> b h w c")


def depthwise_conv(channels: int, kernel_size: int) -> nn.Conv2d:
    """Depthwise convolution that keeps the size of the map."""
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)


class DepthwiseConv(nn.Module):
    """Depthwise convolution and GELU, with the keys of the published checkpoints."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise_conv = nn.Sequential(depthwise_conv(channels, kernel_size), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return convolve_tokens(self.depthwise_conv, x)


class ConvFFN(nn.Module):
    """``fc2(a + GELU(depthwise(a)))`` with ``a = GELU(fc1(x))``: the FFN of MambaIRv2.

    Args:
        dim: channels C.
        hidden_dim: inner width E.
        kernel_size: side of the depthwise kernel, odd.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseConv(hidden_dim, kernel_size)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor, norm: nn.LayerNorm, residual: Residual) -> Tensor:
        """Normalizes ``x``, and adds the residual to the result."""
        x = dense(x, self.fc1, norm=norm, gelu=True)
        x = x + self.dwconv(x)
        return dense(x, self.fc2, residual=residual)


class SpatialGate(nn.Module):
    """Norm and depthwise convolution of the gate, with the keys of the published checkpoints."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = depthwise_conv(channels, kernel_size)

    def forward(self, gate: Tensor) -> Tensor:
        return convolve_tokens(self.conv, self.norm(gate))


class GatedConvFFN(nn.Module):
    """``fc2(a · depthwise(norm(g)))``, (a, g) halves of ``GELU(fc1(x))``: FFN of MambaIRv2Light.

    Args:
        dim: channels C.
        hidden_dim: inner width E, even.
        kernel_size: side of the depthwise kernel, odd.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        super().__init__()
        if hidden_dim % 2:
            raise ValueError(f"the gated FFN halves its inner width, which is odd: {hidden_dim}")
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.sg = SpatialGate(hidden_dim // 2, kernel_size)
        self.fc2 = nn.Linear(hidden_dim // 2, dim)

    def forward(self, x: Tensor, norm: nn.LayerNorm, residual: Residual) -> Tensor:
        """Normalizes ``x``, and adds the residual to the result."""
        x = dense(x, self.fc1, norm=norm, gelu=True)
        value, gate = x.chunk(2, dim=-1)
        return dense(value, self.fc2, times=self.sg(gate), residual=residual)
