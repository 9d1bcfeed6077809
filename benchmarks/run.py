"""Times and memory of the scan, the attention and the networks, side by side in one run.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/run.py [--quick]

Run it with nothing else on the machine. Every figure is a median with its spread; what is compared
takes turns, so that a slow spell of the machine falls on all. Nothing is compared with figures of
another run.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from basicsr_mambair.archs import MambaIRv2, MambaIRv2Light
from basicsr_mambair.ops import native, selective_scan_tokens, window_attention
from basicsr_mambair.ops.selective_scan import available_backends

LIGHT = dict(
    embed_dim=48, depths=[5] * 4, num_heads=[4] * 4, d_state=8, inner_rank=32, num_tokens=64,
    mlp_ratio=1.0, upscale=2, upsampler="pixelshuffledirect",
)  # fmt: skip
BASE = dict(
    embed_dim=174, depths=[6] * 6, num_heads=[6] * 6, d_state=16, inner_rank=64, num_tokens=128,
    mlp_ratio=2.0, upscale=2, upsampler="pixelshuffle",
)  # fmt: skip
# Multiply–accumulates of the light network's matrix products and convolutions at 64×64, as the
# project's plan gives them (not counted here); linear in pixels.
LIGHT_GMACS_64 = 4.56


def measure(
    functions: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Median, least and largest time in seconds of functions that take turns."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:  # the first turn warms up
                times[name].append(time.perf_counter() - start)
    return {name: (statistics.median(t), min(t), max(t)) for name, t in times.items()}


def table(title: str, results: dict[str, tuple[float, float, float]]) -> None:
    """Prints times, and the ratio of each to the last row."""
    print(f"\n### {title}\n\n| | median | least – largest | × the last row |")
    print("| --- | --- | --- | --- |")
    last = list(results.values())[-1][0]
    for name, (median, least, largest) in results.items():
        spread = f"{least * 1e3:.1f} – {largest * 1e3:.1f} ms"
        print(f"| {name} | {median * 1e3:.1f} ms | {spread} | {median / last:.2f} |")


def scan_inputs(batch: int, channels: int, d_state: int, length: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    u, delta = torch.randn(2, batch, length, channels)
    B, C = torch.randn(2, batch, length, d_state)
    return [u, delta, -torch.rand(channels, d_state) * 4, B, C, torch.ones(channels)]


def scans(quick: bool) -> None:
    """The scan by every backend, forward and forward + backward."""
    names = [name for name, reason in available_backends("cpu").items() if reason is None]
    names = [*[n for n in ("reference", "torch") if n in names], *[n for n in names if n == "cpp"]]
    for backward, length in ((False, 16384), (True, 4096)):
        length = length // 8 if quick else length
        inputs = [x.requires_grad_(backward) for x in scan_inputs(1, 48, 8, length)]

        def run(name: str, inputs: list[torch.Tensor] = inputs, backward: bool = backward) -> None:
            y = selective_scan_tokens(*inputs, backend=name)
            if backward:
                y.sum().backward()

        kind = "forward + backward" if backward else "forward"
        functions = {name: lambda name=name, run=run: run(name) for name in names}
        table(f"Scan, {kind}, (1, 48, 8, {length})", measure(functions, 3))


@contextmanager
def without_kernels() -> Iterator[None]:
    """Runs everything on PyTorch's operators, as where the package was built without a compiler."""
    from basicsr_mambair.ops.selective_scan import operator

    with (
        mock.patch.object(native, "AVAILABLE", False),
        mock.patch.dict(operator.BACKENDS, clear=True, torch=operator.BACKENDS["torch"]),
    ):
        yield


def attention(quick: bool) -> None:
    """Window attention of one layer of the light network at 128×128."""
    torch.manual_seed(0)
    side = 64 if quick else 128
    qkv, bias = torch.randn(1, side, side, 144), torch.randn(4, 256, 256)

    def torch_operators() -> None:
        with without_kernels():
            window_attention.window_attention(qkv, bias, 16, 8)

    functions = {
        "PyTorch's fused attention": torch_operators,
        "C++": lambda: window_attention.window_attention(qkv, bias, 16, 8),
    }
    with torch.no_grad():
        table(f"Shifted window attention, {side}×{side}, 4 heads × 12", measure(functions, 7))


def networks(quick: bool) -> None:
    """Networks in eval mode beside the matrix products they cannot do without."""
    sides = {"light": 64 if quick else 128, "base": 32 if quick else 64}
    nets = {"light": MambaIRv2Light(**LIGHT).eval(), "base": MambaIRv2(**BASE).eval()}
    for kind, net in nets.items():
        side = sides[kind]
        x = torch.rand(1, 3, side, side)

        def on_torch(net: torch.nn.Module = net, x: torch.Tensor = x) -> None:
            with without_kernels():
                net(x)

        functions = {"PyTorch's operators": on_torch, "C++ kernels": lambda net=net, x=x: net(x)}
        a, b = torch.randn(2, 2048, 2048)
        functions["one product of 2048³"] = lambda a=a, b=b: a @ b
        with torch.no_grad():
            results = measure(functions, 3 if quick else 5)
        rate = 2048**3 / results.pop("one product of 2048³")[0]
        table(f"{type(net).__name__} ({kind}) ×2, {side}×{side}, eval", results)
        if kind == "light":
            floor = LIGHT_GMACS_64 * 1e9 * (side / 64) ** 2 / rate
            ratio = results["C++ kernels"][0] / floor
            print(
                f"\nGEMM floor at the {2 * rate / 1e9:.0f} GFLOP/s measured between: "
                f"{floor * 1e3:.0f} ms; C++ kernels / floor = {ratio:.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, to see that it runs")
    quick = parser.parse_args().quick
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"C++ kernels: {native.describe()}; load {os.getloadavg()[0]:.2f}")
    print(f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', '')}")
    scans(quick)
    if native.AVAILABLE:
        attention(quick)
    networks(quick)


if __name__ == "__main__":
    main()
