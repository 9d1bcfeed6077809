"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

SCRIPT = """
import resource
import torch
from basicsr_mambair.cli.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(2, 1 << 20).fill_(1.0)
        torch.empty(3, 1 << 20).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_tensors_are_not_fetched_page_by_page() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    ).stdout
    pages = 20 * 5 * (4 << 20) // resource.getpagesize()
    assert int(printed.split()[-1]) < pages / 10
