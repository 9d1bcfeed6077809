"""Times and memory of the scan, the attention, the networks and training, side by side in one run.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/run.py [--quick] [--out docs]

Run it with nothing else on the machine. Every figure is a median with its spread. The functions
that are compared take turns, so that a slow spell of the machine affects all of them. Figures of
different runs are never compared. Writes benchmarks.md, benchmarks.json and benchmarks.svg. CPUs
only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from report import Report, describe_machine, measure
from torch.utils.flop_counter import FlopCounterMode

from basicsr_mambair.cli.memory import keep_freed_memory
from mambair.archs import MambaIRv2, MambaIRv2Light
from mambair.ops import native, selective_scan_tokens
from mambair.ops.selective_scan import operator
from mambair.ops.window_attention import relative_position_index, window_attention

LIGHT = dict(
    embed_dim=48, depths=[5] * 4, num_heads=[4] * 4, d_state=8, inner_rank=32, num_tokens=64,
    mlp_ratio=1.0, upscale=2, upsampler="pixelshuffledirect",
)  # fmt: skip
BASE = dict(
    embed_dim=174, depths=[6] * 6, num_heads=[6] * 6, d_state=16, inner_rank=64, num_tokens=128,
    mlp_ratio=2.0, upscale=2, upsampler="pixelshuffle",
)  # fmt: skip
SWINIR_LIGHT = dict(  # ×2, as published
    img_size=64, patch_size=1, in_chans=3, embed_dim=60, depths=[6] * 4, num_heads=[6] * 4,
    window_size=8, mlp_ratio=2, upscale=2, img_range=1.0, upsampler="pixelshuffledirect",
    resi_connection="1conv",
)  # fmt: skip
GEMM_SIDE = 2048


@contextmanager
def without_kernels() -> Iterator[None]:
    """Runs everything on PyTorch's operators, as if it had been built without a compiler."""
    with (
        mock.patch.object(native, "AVAILABLE", False),
        mock.patch.dict(operator.BACKENDS, clear=True, torch=operator.BACKENDS["torch"]),
    ):
        yield


def product() -> Callable[[], Any]:
    """Returns the matrix product whose rate determines the floor."""
    a, b = torch.randn(2, GEMM_SIDE, GEMM_SIDE)
    return lambda: a @ b


def count_macs(net: torch.nn.Module, x: torch.Tensor) -> float:
    """Multiply–accumulates of matrix products, convolutions and attention; not of the scan."""

    def attention(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        batch, heads, queries, depth = q
        return 2 * 2 * batch * heads * queries * k[2] * depth

    formulas = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), without_kernels(), counter:
        net(x)
    return counter.get_total_flops() / 2


def scan_inputs(batch: int, channels: int, d_state: int, length: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    u, delta = torch.randn(2, batch, length, channels)
    B, C = torch.randn(2, batch, length, d_state)
    return [u, delta, -torch.rand(channels, d_state) * 4, B, C, torch.ones(channels)]


def scans(report: Report, quick: bool) -> None:
    """Measures every backend of the scan, forward and forward + backward, by length."""
    lengths = [512, 2048] if quick else [4096, 16384, 65536, 262144]
    names = ["torch", "cpp"] if native.AVAILABLE else ["torch"]
    for backward in (False, True):
        kind = "forward + backward" if backward else "forward"
        # The reference takes minutes beyond these.
        longest = lengths[0] if backward else lengths[1]
        for length in lengths:
            inputs = [x.requires_grad_(backward) for x in scan_inputs(1, 48, 8, length)]

            def run(name: str, inputs: list[torch.Tensor] = inputs) -> None:
                y = selective_scan_tokens(*inputs, backend=name)
                if y.requires_grad:
                    y.sum().backward()

            compared = ["reference", *names] if length <= longest else names
            functions = {name: lambda name=name, run=run: run(name) for name in compared}
            times = measure(functions, 3 if length <= longest else 5)
            report.table(f"Scan, {kind}, (1, 48, 8, {length})", times)
            for name, (median, *_) in times.items():
                report.point(f"Scan, {kind}", name, length, median)
            if length == longest and native.AVAILABLE:
                report.bar(
                    f"scan {kind}, (1, 48, 8, {length}): reference / C++",
                    times["reference"][0] / times["cpp"][0],
                    at_least=50 if backward else 100,
                )


def attention(report: Report, quick: bool) -> None:
    """Measures the window attention of one layer of the light network."""
    torch.manual_seed(0)
    side = 64 if quick else 128
    qkv, table = torch.randn(1, side, side, 144), torch.randn(31**2, 4)
    index = relative_position_index(16)
    leaves = [x.clone().requires_grad_() for x in (qkv, table)]

    def on_torch(run: Callable[[], Any]) -> None:
        with without_kernels():
            run()

    def forward() -> None:
        with torch.no_grad():
            window_attention(qkv, table, index, 16, 8)

    def both() -> None:
        window_attention(*leaves, index, 16, 8).sum().backward()

    for kind, run in (("forward", forward), ("forward + backward", both)):
        functions = {"PyTorch's operators": lambda run=run: on_torch(run)}
        if native.AVAILABLE:
            functions["C++"] = run
        times = measure(functions, 7)
        report.table(f"Shifted window attention, {side}×{side}, 4 heads × 12, {kind}", times)


def light_network(report: Report, quick: bool) -> None:
    """Compares the light network with its floor, other implementations and SwinIR-light."""
    from spandrel.architectures.SwinIR import SwinIR

    side = 64 if quick else 128
    net = MambaIRv2Light(**LIGHT).eval()
    reference = MambaIRv2Light(**LIGHT, scan_backend="reference").eval()
    swinir = SwinIR(**SWINIR_LIGHT).eval()
    x = torch.rand(1, 3, side, side)

    def on_torch() -> None:
        with without_kernels():
            net(x)

    def by_reference() -> None:
        with mock.patch.object(native, "AVAILABLE", False):
            reference(x)

    functions = {
        "SwinIR-light of spandrel": lambda: swinir(x),
        "PyTorch's operators": on_torch,
        f"product of {GEMM_SIDE}³": product(),
        "ours": lambda: net(x),
    }
    with torch.no_grad():
        slow = measure({"reference scan, PyTorch's operators": by_reference}, 1)
        times = measure(functions, 3 if quick else 9)
    rate = GEMM_SIDE**3 / times.pop(f"product of {GEMM_SIDE}³")[0]
    times = slow | times
    report.table(f"MambaIRv2Light ×2, {side}×{side}, eval", times)
    ours = times["ours"][0]
    size = f"light ×2, {side}×{side}"
    report.bar(f"{size}, eval: time / GEMM floor", floor(report, net, x, rate, ours), at_most=3.0)
    swin = times["SwinIR-light of spandrel"][0]
    report.bar(f"{size}: SwinIR-light / ours", swin / ours, at_least=2.0)
    slower = times["PyTorch's operators"][0] / ours
    report.bar(f"{size}: without C++ / with", slower, at_most=2.5)


def base_network(report: Report, quick: bool) -> None:
    """Compares the base network with its floor, PyTorch's operators and the reference."""
    side = 32 if quick else 64
    net = MambaIRv2(**BASE).eval()
    reference = MambaIRv2(**BASE, scan_backend="reference").eval()
    x = torch.rand(1, 3, side, side)

    def by_reference() -> None:
        with mock.patch.object(native, "AVAILABLE", False):
            reference(x)

    def on_torch() -> None:
        with without_kernels():
            net(x)

    functions = {
        "PyTorch's operators": on_torch,
        f"product of {GEMM_SIDE}³": product(),
        "ours": lambda: net(x),
    }
    with torch.no_grad():
        slow = measure({"reference scan, PyTorch's operators": by_reference}, 1)
        times = measure(functions, 3 if quick else 5)
    rate = GEMM_SIDE**3 / times.pop(f"product of {GEMM_SIDE}³")[0]
    times = slow | times
    report.table(f"MambaIRv2 (B) ×2, {side}×{side}, eval", times)
    ratio = floor(report, net, x, rate, times["ours"][0])
    report.bar(f"base ×2, {side}×{side}, eval: time / GEMM floor", ratio, at_most=2.0)


def floor(
    report: Report, net: torch.nn.Module, x: torch.Tensor, rate: float, seconds: float
) -> float:
    """Reports the time of the products alone, and returns the ratio of a time to it."""
    macs = count_macs(net, x)
    report.say(
        f"\nIts {macs / 1e9:.2f} GMACs of products and convolutions would take "
        f"{macs / rate * 1e3:.0f} ms at the {2 * rate / 1e9:.0f} GFLOP/s measured alongside."
    )
    return seconds / (macs / rate)


def scaling(report: Report, quick: bool) -> None:
    """Measures time by pixels, and peak memory."""
    sides = [32, 64] if quick else [64, 128, 256]
    net = MambaIRv2Light(**LIGHT).eval()
    inputs = {side: torch.rand(1, 3, side, side) for side in sides}
    with torch.no_grad():
        times = measure({f"{side}×{side}": lambda x=x: net(x) for side, x in inputs.items()}, 5)
    report.table("MambaIRv2Light ×2 by size, eval", times)
    for side in sides:
        report.point("MambaIRv2Light ×2, eval", "C++", side**2, times[f"{side}×{side}"][0])
    large, small = (times[f"{side}×{side}"][0] for side in (sides[-1], sides[-2]))
    report.bar(f"light ×2: time at {sides[-1]}² / time at {sides[-2]}²", large / small, at_most=4.4)
    side = 128 if quick else 512
    peak = peak_memory("eval", side) / 2**30
    report.say(f"\nOne eval of {side}×{side}: {peak:.2f} GiB above the loaded network at its peak.")
    report.bar(f"light ×2, {side}×{side} eval: peak memory in GiB", peak, at_most=1.2)


def training(report: Report, quick: bool) -> None:
    """Compares a training step, with and without checkpointing, with the eval of its batch."""
    side = 32 if quick else 64
    x = torch.rand(4, 3, side, side)
    nets = {name: training_network(checkpoint) for name, checkpoint in CHECKPOINTING.items()}
    plain = nets["training step"]

    def evaluate() -> None:
        plain.eval()
        with torch.no_grad():
            plain(x)
        plain.train()

    functions = {name: lambda net=net: training_step(net, x) for name, net in nets.items()}
    times = measure({**functions, "eval of the batch": evaluate}, 3 if quick else 7)
    report.table(f"MambaIRv2Light ×2, batch of 4, {side}×{side}", times)
    step, checkpointed, evaluated = (median for median, *_ in times.values())
    report.bar(
        f"light ×2, batch of 4, {side}×{side}: training step / eval", step / evaluated, at_most=3.5
    )
    off, on = (peak_memory(name, side) for name in CHECKPOINTING)
    report.say(f"\nPeak memory above the loaded network: {off / 2**20:.0f} MiB, with checkpointing")
    report.say(f"{on / 2**20:.0f} MiB.")
    report.bar("that step: peak memory, checkpointing on / off", on / off, at_most=0.5)
    report.bar("that step: time, checkpointing on / off", checkpointed / step, at_most=1.4)


CHECKPOINTING = {"training step": False, "with activation checkpointing": True}


def training_network(use_checkpoint: bool) -> torch.nn.Module:
    net = MambaIRv2Light(**LIGHT, use_checkpoint=use_checkpoint).train()
    net.set_training_noise("fused")  # as MambaIRv2Model does
    return net


def training_step(net: torch.nn.Module, x: torch.Tensor) -> None:
    net(x).abs().mean().backward()
    net.zero_grad()


def peak_memory(case: str, side: int) -> int:
    """Bytes above the loaded network at the peak of a case, in a process of its own."""
    command = [sys.executable, __file__, "--peak", case, "--side", str(side)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(case: str, side: int) -> None:
    """Prints the figure for :func:`peak_memory`: the kernel's high-water mark (Linux)."""
    keep_freed_memory()
    net = (
        MambaIRv2Light(**LIGHT).eval() if case == "eval" else training_network(CHECKPOINTING[case])
    )
    x = torch.rand(1 if case == "eval" else 4, 3, side, side)

    def run(x: torch.Tensor) -> None:
        if case == "eval":
            with torch.no_grad():
                net(x)
        else:
            training_step(net, x)

    run(x[:1, :, :16, :16])  # threads and workspaces do not count
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the mark
    run(x)
    print(status("VmHWM") - before)


def status(key: str) -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if key in x)
    return int(line.split()[1]) * 1024


SECTIONS = {
    "scans": scans,
    "attention": attention,
    "light": light_network,
    "base": base_network,
    "scaling": scaling,
    "training": training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="use smaller sizes, to check that everything runs"
    )
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="run only this section; may be repeated"
    )
    parser.add_argument("--out", type=Path, help="folder for benchmarks.md, .json and .svg")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(arguments.peak, arguments.side)
        return
    keep_freed_memory()  # as the commands do
    report, machine = Report(), describe_machine()
    print("\n".join(machine))
    for name in arguments.only or SECTIONS:
        SECTIONS[name](report, arguments.quick)
    print("\n" + report.summary())
    if arguments.out:
        report.write(arguments.out, machine)


if __name__ == "__main__":
    main()
