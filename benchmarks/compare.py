"""Times of the networks in two installations, side by side in one run.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/compare.py BEFORE/bin/python AFTER/bin/python

Each interpreter has one version of the package installed: two virtual environments, one from a
checkout of an older commit. One process of each stays alive, and the two take turns, so that a slow
spell of the machine affects both. Prints medians, spread and ratios. Run it with nothing else on
the machine. CPUs only.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

CASES = ("MambaIRv2Light x2, 128², eval", "MambaIRv2 x2, 64², eval",
         "MambaIRv2Light x2, 64², training step", "MambaIR light x2, 64², eval")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", help="Python with the older version installed")
    parser.add_argument("after", help="Python with the newer version installed")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each case")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        serve(arguments.case)
        return
    print(f"{'case':<40} {'before, ms':>22} {'after, ms':>22}  after / before")
    for case, name in enumerate(CASES):
        workers = [Worker(python, case) for python in (arguments.before, arguments.after)]
        times: list[list[float]] = [[], []]
        for round_ in range(arguments.rounds + 2):
            # The order alternates, so that neither always runs after the other.
            for side in (0, 1) if round_ % 2 else (1, 0):
                seconds = workers[side].run()
                if round_ >= 2:  # the first runs warm up
                    times[side].append(seconds)
        for worker in workers:
            worker.close()
        ratios = [after / before for before, after in zip(*times, strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        ratio = statistics.median(times[1]) / statistics.median(times[0])
        columns = " ".join(f"{spread(each):>22}" for each in times)
        print(f"{name:<40} {columns}  {ratio:.3f} (pairs {middle:.3f} [{low:.3f}-{high:.3f}])")


def spread(seconds: list[float]) -> str:
    """Median and range in milliseconds."""
    low, middle, high = (1000 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:.1f} [{low:.1f}-{high:.1f}]"


class Worker:
    """A process of one installation, which runs a case on request."""

    def __init__(self, python: str, case: int) -> None:
        command = [python, __file__, "-", "-", "--case", str(case)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self) -> float:
        """Seconds of one run."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args}: ended with status {self.process.wait()}")
        return float(answer)

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(case: int) -> None:
    """Runs a case once for every line on standard input; answers with the seconds it took."""
    run = build(case)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


def build(case: int) -> Callable[[], Any]:
    """Returns the function that a case runs."""
    import torch

    try:
        from basicsr_mambair.cli.memory import keep_freed_memory
        from mambair.archs import MambaIR, MambaIRv2, MambaIRv2Light
    except ImportError:  # version 0.1.0
        from basicsr_mambair.utils.memory import keep_freed_memory

        from basicsr_mambair.archs import MambaIR, MambaIRv2, MambaIRv2Light
    keep_freed_memory()
    torch.manual_seed(0)
    if case == 1:
        base = dict(embed_dim=174, depths=[6] * 6, num_heads=[6] * 6, d_state=16, inner_rank=64)
        net = MambaIRv2(**base, num_tokens=128, mlp_ratio=2.0, upscale=2, upsampler="pixelshuffle")
    elif case == 3:
        net = MambaIR(
            embed_dim=60,
            depths=[6] * 4,
            d_state=10,
            mlp_ratio=1.2,
            upscale=2,
            upsampler="pixelshuffledirect",
        )
    else:
        net = MambaIRv2Light(
            embed_dim=48,
            depths=[5] * 4,
            num_heads=[4] * 4,
            d_state=8,
            mlp_ratio=1.0,
            upscale=2,
            upsampler="pixelshuffledirect",
        )
    x = torch.rand(1, 3, 128, 128) if case == 0 else torch.rand(1, 3, 64, 64)
    if case != 2:
        net.eval()

        def evaluate() -> None:
            with torch.inference_mode():
                net(x)

        return evaluate
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def train() -> None:
        optimizer.zero_grad()
        net(x).abs().mean().backward()
        optimizer.step()

    return train


if __name__ == "__main__":
    main()
