"""Compiles the Triton scan ahead of time, without a GPU, and prints registers and spills.

    python benchmarks/triton_registers.py [sm_80 sm_90 ...]

For every kernel and dtype: registers per thread and bytes spilled to memory, as NVIDIA's assembler
(which comes with Triton) counts them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from mambair.ops.selective_scan import triton_kernels
from mambair.ops.selective_scan.backends import triton_scan

STATES = 16  # the larger of the published networks; only carry_states depends on it
DTYPES = ("fp32", "bf16", "fp16")
KERNELS = ("summarize_chunks", "carry_states", "scan_chunks", "scan_chunks_backward")
# Tensors that have the dtype of the input; the others are float32.
INPUTS = {"u", "delta", "B", "C", "source", "matrix", "y", "grad_y"}
FLOATS = {
    "A", "D", "bias", "states", "totals", "adjoints",
    "grad_u", "grad_delta", "grad_A", "grad_B", "grad_C",
}  # fmt: skip


def compile_kernel(name: str, dtype: str, capability: int) -> tuple[int, int]:
    """Registers per thread and spilled bytes of one kernel, with every option on."""
    kernel = getattr(triton_kernels, name)
    constants = {
        "HAS_D": True, "HAS_BIAS": True, "BACKWARD": True, "REVERSE": True,
        "T": triton_scan.CHUNK, "BUNDLE": triton_scan.BUNDLE, "STATES": STATES,
    }  # fmt: skip
    signature = {}
    for argument in kernel.arg_names:
        if argument in constants:
            signature[argument] = "constexpr"
        elif argument in INPUTS:
            signature[argument] = f"*{dtype}"
        elif argument in FLOATS:
            signature[argument] = "*fp32"
        else:
            signature[argument] = "i32"
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    compiled = triton.compile(
        ASTSource(kernel, signature, constants),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": triton_scan.WARPS},
    )
    return assemble(compiled.asm["ptx"], capability)


def assemble(ptx: str, capability: int) -> tuple[int, int]:
    """Assembles a kernel; returns registers per thread, and bytes of spill stores and loads."""
    assembler = get_ptxas(capability).path  # Triton has several, and chooses the one for its PTX
    target = re.search(r"\.target (sm_\w+)", ptx)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        said = subprocess.run(
            [assembler, "-v", f"--gpu-name={target[1]}", source, "-o", Path(folder) / "out"],
            capture_output=True, text=True, check=True,
        ).stderr  # fmt: skip
    registers = re.search(r"Used (\d+) registers", said)
    spills = re.findall(r"(\d+) bytes spill", said)
    assert registers is not None and len(spills) == 2, said
    return int(registers[1]), sum(map(int, spills))


def main() -> None:
    targets = sys.argv[1:] or ["sm_80", "sm_90"]
    print(f"triton {triton.__version__}; N = {STATES}, {triton_scan.CHUNK} tokens by")
    print(f"{triton_scan.BUNDLE} channels, {triton_scan.WARPS} warps; registers (bytes spilled)\n")
    columns = [f"{target} {dtype}" for target in targets for dtype in DTYPES]
    print(f"| kernel | {' | '.join(columns)} |")
    print("| --- " * (len(columns) + 1) + "|")
    for name in KERNELS:
        cells = []
        for target in targets:
            for dtype in DTYPES:
                registers, spilled = compile_kernel(name, dtype, int(target.removeprefix("sm_")))
                cells.append(f"{registers} ({spilled})")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
