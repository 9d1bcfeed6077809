"""Network interpolation: weights between those of two trainings of one network."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mambair.archs.registry import DetectionError, detect_network
from mambair.checkpoint import SECTION_KEY, State, load_checkpoint, weights_of, without_prefixes
from mambair.errors import CheckpointError, listed

Source = tuple[str | os.PathLike[str], Mapping[str, Tensor]]


def interpolate_weights(sources: Sequence[Source], shares: Sequence[float]) -> State:
    """The weighted sum of the weights of two or more files of one network.

    ``θ = α θ_A + (1 − α) θ_B``: Wang et al., "Deep Network Interpolation for Continuous Imagery
    Effect Transition", CVPR 2019, section 3. It works for networks that were trained from the same
    weights, such as a PSNR-oriented one and the adversarial one that began with it. The sum is
    computed in float32 at least.

    Args:
        sources: each file, for messages, with its state dict.
        shares: the factor of each; usually they add up to 1.

    Returns:
        A state dict with names, types and devices of the first. Integers (counters, index tables)
        are those of the first.

    Raises:
        CheckpointError: the files are not of the same network (gives names and shapes), or a share
            is not finite.
        ValueError: not one share for each file.
    """
    if len(sources) != len(shares) or not sources:
        raise ValueError(f"{len(sources)} files of weights need as many shares, got {len(shares)}")
    if not all(map(math.isfinite, shares)):
        raise CheckpointError(f"weights cannot be mixed by shares of {listed(shares)}")
    first_path, first = sources[0]
    states: list[Mapping[str, Tensor]] = [first]
    for path, weights in sources[1:]:
        state = max(without_prefixes(weights), key=lambda each: len(first.keys() & each.keys()))
        _check_same(first_path, first, path, state)
        states.append(state)
    mixed: State = {}
    for name, value in first.items():
        if not value.is_floating_point():
            mixed[name] = value
            continue
        total = sum(
            share * (state[name].float() if value.element_size() < 4 else state[name].to(value))
            for share, state in zip(shares, states, strict=True)
        )
        assert isinstance(total, Tensor)
        mixed[name] = total.to(value)
    return mixed


def interpolate_files(
    paths: Sequence[Path], shares: Sequence[float], key: str = "params_ema"
) -> tuple[State, dict[str, Any] | None]:
    """Mixes weights files; see :func:`interpolate_weights`.

    Args:
        paths: ``.pth`` or ``.safetensors``.
        shares: the factor of each.
        key: entry that holds the weights; another usual one is taken if it is missing.

    Returns:
        The mixture; and the ``network_g`` section that a file holds (the first that has one), or
        that is detected. ``None``: neither; the weights are mixed all the same.

    Raises:
        CheckpointError: a file cannot be read, or they are not of the same network.
    """
    sources: list[Source] = []
    sections: dict[Path, dict[str, Any]] = {}
    for path in paths:
        contents = load_checkpoint(path)
        sources.append((path, weights_of(contents, path, key)[0]))
        section = contents.get(SECTION_KEY)
        if isinstance(section, Mapping):
            sections[path] = dict(section)
    mixed = interpolate_weights(sources, shares)
    if sections:
        return mixed, _first_section(sections)
    try:
        return mixed, detect_network(mixed)
    except DetectionError:
        return mixed, None


def _first_section(sections: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """The first section, and a warning for every other that says something else."""
    (first, chosen), *others = sections.items()
    for path, section in others:
        differing = [name for name in chosen if section.get(name, chosen[name]) != chosen[name]]
        if differing:
            listed = ", ".join(f"{n}: {chosen[n]!r} and {section[n]!r}" for n in differing)
            warnings.warn(
                f"the networks of {first} and {path} differ in {listed}; the first counts",
                stacklevel=3,
            )
    return chosen


def _check_same(
    path_a: str | os.PathLike[str],
    a: Mapping[str, Tensor],
    path_b: str | os.PathLike[str],
    b: Mapping[str, Tensor],
) -> None:
    only_a, only_b = ([n for n in x if n not in y] for x, y in ((a, b), (b, a)))
    shapes = [
        f"{name} {tuple(a[name].shape)} and {tuple(b[name].shape)}"
        for name in a
        if name in b and a[name].shape != b[name].shape
    ]
    lines = [
        f"{label}: {listed(names)}"
        for label, names in (
            (f"only in {path_a}", only_a),
            (f"only in {path_b}", only_b),
            ("of other shapes", shapes),
        )
        if names
    ]
    if lines:
        head = f"{path_a} and {path_b}: not weights of the same network, so they cannot be mixed"
        raise CheckpointError("\n  ".join([head, *lines]))
