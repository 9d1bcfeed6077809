"""The scans of a network as they ran: tokens, order, prompt and result of every block.

Hooks make the layers run one by one (the C++ kernel of whole blocks steps aside for them), and for
the time of one forward pass two methods of every block also note what passes through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mambair.archs.attentive_ssm import AttentiveSSM
from mambair.archs.selective_ssm import SelectiveSSM
from mambair.archs.vision_ssm import VisionSSM
from mambair.findings.finding import NotApplicableError


@dataclass(frozen=True)
class RecordedScan:
    """One scan of one picture.

    Attributes:
        name: name of the module in the network.
        ssm: the module that scanned.
        tokens: input, ``(L, K, E)``, each direction in its order.
        output: result, ``(L, K, E)``.
        order: the pixel (counted in raster order) at every place of every direction, ``(K, L)``.
        height: height of the token map.
        width: width of the token map; L is height times width.
        prompt: MambaIRv2's addition to C at every place of the sequence, ``(L, N)``.
        chosen: the class of every pixel, ``(L,)``.
        confidence: the probability of every pixel's likeliest class, ``(L,)``.
    """

    name: str
    ssm: SelectiveSSM
    tokens: Tensor
    output: Tensor
    order: Tensor
    height: int
    width: int
    prompt: Tensor | None = None
    chosen: Tensor | None = None
    confidence: Tensor | None = None

    @property
    def places(self) -> Tensor:
        """The place of every pixel in every direction, ``(K, L)``: the inverse of ``order``."""
        return self.order.argsort(dim=1)

    def in_raster_order(self, tokens: Tensor) -> Tensor:
        """Brings ``(L, K, E)`` from the orders of the directions to that of the picture."""
        return tokens.gather(0, self.places.T[:, :, None].expand_as(tokens))


def record_scans(net: nn.Module, x: Tensor) -> list[RecordedScan]:
    """Runs a network on one picture and returns its scans.

    Args:
        net: a network in ``eval()``.
        x: ``(1, C, H, W)``.

    Raises:
        NotApplicableError: the network has no block that scans.
    """
    records: list[RecordedScan] = []
    with ExitStack() as stack, torch.no_grad():
        for name, module in net.named_modules():
            if isinstance(module, AttentiveSSM):
                stack.enter_context(_recording_attentive(name, module, records))
            elif isinstance(module, VisionSSM):
                stack.enter_context(_recording_directions(name, module, records))
        net(x)
    if not records:
        raise NotApplicableError(f"{type(net).__name__} has no block with a selective scan")
    return records


@contextmanager
def _recording_attentive(
    name: str, module: AttentiveSSM, records: list[RecordedScan]
) -> Iterator[None]:
    """One direction, ordered by class, with prompts."""
    seen: dict[str, Any] = {}
    ssm = module.selectiveScan
    choose, scan = module.choose_prompts, ssm.scan

    def choosing(*arguments: Any) -> Any:
        prompt, routes = choose(*arguments)
        tokens = arguments[0]
        seen["confidence"] = module.route(tokens)[0].float().softmax(dim=1).amax(dim=1)
        seen["chosen"], seen["order"] = routes.chosen[0], routes.order[None]
        return prompt, routes

    def scanning(tokens: Tensor, prompt: Tensor) -> Tensor:
        output = scan(tokens, prompt)
        height, width = seen["map"]
        records.append(
            RecordedScan(
                name, ssm, tokens[0], output[0], seen["order"], height, width, prompt[0, :, 0],
                seen["chosen"], seen["confidence"],
            )
        )  # fmt: skip
        return output

    with (
        _noting_map(module, seen),
        _replaced(module, "choose_prompts", choosing),
        _replaced(ssm, "scan", scanning),
    ):
        yield


@contextmanager
def _recording_directions(
    name: str, module: VisionSSM, records: list[RecordedScan]
) -> Iterator[None]:
    """MambaIR's four directions, without prompts."""
    seen: dict[str, Any] = {}
    scan = module.scan

    def scanning(tokens: Tensor) -> Tensor:
        output: Tensor = scan(tokens)
        height, width = seen["map"]
        rows = torch.arange(height * width, device=tokens.device)
        columns = rows.view(height, width).T.flatten()
        order = torch.stack([rows, columns, rows.flip(0), columns.flip(0)])
        records.append(RecordedScan(name, module, tokens[0], output[0], order, height, width))
        return output

    with _noting_map(module, seen), _replaced(module, "scan", scanning):
        yield


@contextmanager
def _noting_map(module: nn.Module, seen: dict[str, Any]) -> Iterator[None]:
    """Notes the size of the token map ``(1, h, w, C)`` that a module is given."""

    def note(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen["map"] = arguments[0].shape[1:3]

    handle = module.register_forward_pre_hook(note)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _replaced(module: nn.Module, method: str, by: Callable[..., Any]) -> Iterator[None]:
    """Puts a function in the place of a method of one module."""
    module.__dict__[method] = by
    try:
        yield
    finally:
        del module.__dict__[method]
