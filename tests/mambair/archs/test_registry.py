"""Requirements on every registered network; a new one is tested without a change here."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

import mambair.archs  # noqa: F401  (fills the registry)
from mambair.archs import MambaIRv2, registry
from mambair.archs.contract import Contract, ContractError, contract_of
from mambair.archs.registry import build_network, detect_network, registered_archs
from tests.mambair.archs.compilation import assert_compiles_and_exports

# Networks that accept these arguments are built small; others with their own defaults.
_SMALL: dict[str, Any] = {
    "embed_dim": 30, "depths": [1, 1], "num_heads": [2, 2], "d_state": 2, "window_size": 4,
    "inner_rank": 4, "num_tokens": 4, "mlp_ratio": 1.2, "upscale": 2,
    "upsampler": "pixelshuffledirect", "dim": 30, "num_blocks": [1, 1, 1, 1],
    "num_refinement_blocks": 1,
}  # fmt: skip
# The four levels of a U have their own.
_SMALL_U: dict[str, Any] = {
    name: [value[0] if isinstance(value, list) else value] * 4
    for name in ("num_heads", "window_size", "inner_rank", "num_tokens")
    for value in [_SMALL[name]]
}


def small(cls: type[nn.Module], **changes: Any) -> dict[str, Any]:
    known = inspect.signature(cls.__init__).parameters
    arguments = {**_SMALL, **(_SMALL_U if "num_blocks" in known else {}), **changes}
    return {"type": cls.__name__, **{k: v for k, v in arguments.items() if k in known}}


every_arch = pytest.mark.parametrize("cls", registered_archs(), ids=lambda cls: cls.__name__)


@every_arch
def test_forward_on_odd_sizes_and_backward(cls: type[nn.Module]) -> None:
    net = build_network(small(cls))
    contract = contract_of(net)
    for height, width in ((1, 1), (5, 2), (13, 9)):
        size = (height * contract.size_multiple, width * contract.size_multiple)
        y = net.train()(torch.rand(2, contract.in_chans, *size))
        assert y.shape == (2, contract.in_chans, *(contract.upscale * side for side in size))
    y.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@every_arch
def test_what_a_network_states_is_what_a_trial_finds(cls: type[nn.Module]) -> None:
    """The contract is not only words: a wrapper that states nothing is found to keep it."""
    net = build_network(small(cls))
    assert contract_of(nn.Sequential(net)) == contract_of(net)


@every_arch
def test_detection_round_trip(cls: type[nn.Module]) -> None:
    if not hasattr(cls, "detect"):
        pytest.skip("its files hold their section")
    net = build_network(small(cls))
    section = detect_network(net.state_dict())
    assert section["type"] == cls.__name__
    rebuilt = build_network(section)
    rebuilt.load_state_dict(net.state_dict(), strict=True)
    x = torch.rand(1, contract_of(net).in_chans, 8, 8)
    with torch.no_grad():
        assert torch.equal(rebuilt.eval()(x), net.eval()(x))


@every_arch
def test_compiles_and_exports(cls: type[nn.Module]) -> None:
    assert_compiles_and_exports(build_network(small(cls)).eval())


def test_exports_where_input_and_output_have_one_size() -> None:
    """What is cut from a padded picture has its size, which torch.export must not fix."""
    section = small(MambaIRv2, upscale=1, upsampler="")
    assert_compiles_and_exports(build_network(section).eval())


@every_arch
def test_a_network_is_a_single_file(cls: type[nn.Module]) -> None:
    """Networks of this package are found by the name of their file alone."""
    if cls.__module__.startswith("mambair."):
        assert cls.__module__.endswith("_arch")


def test_a_later_registration_reaches_those_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    monkeypatch.setattr(registry, "_listeners", [])
    seen: list[str] = []
    registry.for_every_arch(lambda cls: seen.append(cls.__name__))
    assert seen == [cls.__name__ for cls in registered_archs()]

    @registry.register_arch
    class Plain(nn.Conv2d):
        """Has neither a contract nor detection."""

    assert seen[-1] == "Plain"
    registry.register_arch(Plain)
    assert seen.count("Plain") == 1
    net = build_network({"type": "Plain", "in_channels": 3, "out_channels": 3, "kernel_size": 1})
    assert contract_of(net) == Contract(3, 1)
    with pytest.raises(registry.DetectionError):
        detect_network(net.state_dict())
    other = type("Plain", (nn.Identity,), {})
    with pytest.raises(ValueError, match="already has a network"):
        registry.register_arch(other)


def test_contracts_are_found_by_trial() -> None:
    unshuffle = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(16, 64, 1), nn.PixelShuffle(8))
    assert contract_of(unshuffle) == Contract(1, 2, 4)
    padded = nn.Sequential(nn.ReflectionPad2d(5), nn.Conv2d(3, 3, 11))
    assert contract_of(padded) == Contract(3, 1, 1, minimum_size=6)
    for net, reason in (
        (nn.Conv2d(3, 5, 1), r"it returns \(1, 5, 65, 67\)"),
        (nn.Linear(3, 3), ""),
        (nn.LSTM(3, 3), ""),
    ):
        with pytest.raises(ContractError, match=f"does not map one picture .*{reason}"):
            contract_of(net)
