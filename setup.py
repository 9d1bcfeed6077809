"""Builds the C++ kernels and packages the shipped weights; metadata is in pyproject.toml.

Plain C++ without torch's headers and within CPython's stable ABI: one build serves every torch and
every Python from 3.10 on. The extension is optional: without a compiler the package installs
without it, and everything runs on PyTorch's operators.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

NATIVE = Path("mambair/ops/native")
SOURCES = ["native", "kernels_baseline", "kernels_avx2", "kernels_avx512"]

if sys.platform == "win32":
    compile_flags, link_flags = ["/O2", "/std:c++17", "/fp:contract"], []
else:
    compile_flags = ["-O3", "-std=c++17", "-fvisibility=hidden", "-Wno-psabi"]
    compile_flags += ["-fno-math-errno", "-ffp-contract=fast"]
    link_flags = ["-pthread"]

# The build that checks itself (tests/mambair/ops/sanitize.sh).
if os.environ.get("MAMBAIR_SANITIZE"):
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_flags += ["-O1", "-g1", "-fno-omit-frame-pointer", "-DMAMBAIR_CHECKS", *sanitizers]
    link_flags += sanitizers

# Weights of our own lie where users look for weights; installed, they are a part of the package.
PRETRAINED = "mambair.pretrained_models"

setup(
    packages=[
        *find_packages(include=["mambair*", "basicsr_mambair*", "realesrgan_compat*"]),
        PRETRAINED,
    ],
    package_dir={PRETRAINED: "experiments/pretrained_models"},
    ext_modules=[
        Extension(
            "mambair.ops.native._kernels",
            [str(NATIVE / f"{name}.cpp") for name in SOURCES],
            depends=[str(path) for kind in ("*.h", "*.inc") for path in sorted(NATIVE.glob(kind))],
            extra_compile_args=compile_flags,
            extra_link_args=link_flags,
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
