"""Gumbel noise from a counter: a pure function of (seed, stream, token, class).

No generator is read or advanced, so the noise is the same in every process, on every device and at
every batch position, and a kernel may compute any element of it by itself.

The hash is a 32-bit integer mixer of two multiply–xorshift rounds (constants by C. Wellons,
"hash-prospector", public domain), applied once to the token and once to the class.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN_RATIO = 0x9E3779B9
_MASK = 0xFFFFFFFF


def gumbel_noise(keys: Tensor, tokens: int, classes: int) -> Tensor:
    """Standard Gumbel noise, finite: a pure function of (key, token, class).

    Args:
        keys: int32 ``(B,)``, of :func:`shared_keys` or :func:`separate_keys`.
        tokens: number of rows; row t depends on t, not on the number of rows.
        classes: number of columns; column c depends on c, not on the number of columns.

    Returns:
        float32 ``(B, tokens, classes)``.
    """
    token = torch.arange(tokens, dtype=torch.int32, device=keys.device)
    token = _mix(_mix(token + _GOLDEN_RATIO_SIGNED) ^ keys.unsqueeze(1))
    column = torch.arange(classes, dtype=torch.int32, device=keys.device) * _GOLDEN_RATIO_SIGNED
    bits = _mix(token.unsqueeze(2) + column)
    # 23 bits and a half: exact in float32 and strictly inside (0, 1), so both logarithms are finite
    uniform = _shift_right(bits, 9).float().add_(0.5).mul_(2.0**-23)
    return uniform.log_().neg_().log_().neg_()


def shared_keys(seed: int, stream: int, batch: int, device: torch.device | str = "cpu") -> Tensor:
    """Keys ``(batch,)`` that are the same for every batch element: for inference.

    Args:
        seed: any integer; its low 64 bits count.
        stream: tells apart draws under one seed (the index of a block in the network).
        batch: batch elements.
        device: device of the keys.
    """
    key = _mix_int(_mix_int(seed & _MASK) ^ _mix_int((seed >> 32) & _MASK) ^ stream)
    return torch.full((batch,), _signed(key), dtype=torch.int32, device=device)


def separate_keys(seed: Tensor, stream: int, batch: int, first: Tensor | int = 0) -> Tensor:
    """Keys, one for each batch element: for training.

    Args:
        seed: int32 ``(1,)``.
        stream: tells apart draws under one seed (the index of a block in the network).
        batch: batch elements.
        first: number of the first element, an int32 tensor ``(1,)`` or an integer, where the batch
            is a part of a larger one.

    Returns:
        int32 ``(batch,)``.
    """
    element = torch.arange(batch, dtype=torch.int32, device=seed.device) + first
    return _mix(_mix(seed + _signed(stream * _GOLDEN_RATIO)) + element * _GOLDEN_RATIO_SIGNED)


def _signed(x: int) -> int:
    """The int32 with the bits of an unsigned 32-bit integer."""
    x &= _MASK
    return x - (1 << 32) if x >= 1 << 31 else x


_GOLDEN_RATIO_SIGNED = _signed(_GOLDEN_RATIO)
_MULTIPLIERS = (0x7FEB352D, 0x846CA68B)


def _mix_int(x: int) -> int:
    """:func:`_mix` of one Python integer."""
    x ^= x >> 16
    x = (x * _MULTIPLIERS[0]) & _MASK
    x ^= x >> 15
    x = (x * _MULTIPLIERS[1]) & _MASK
    return x ^ (x >> 16)


def _mix(x: Tensor) -> Tensor:
    """Bijective mixer of int32; products wrap around."""
    x = x ^ _shift_right(x, 16)
    x *= _signed(_MULTIPLIERS[0])
    x ^= _shift_right(x, 15)
    x *= _signed(_MULTIPLIERS[1])
    x ^= _shift_right(x, 16)
    return x


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int32 (``>>`` copies the sign bit)."""
    shifted = x >> bits
    shifted &= (1 << (32 - bits)) - 1
    return shifted
