"""Builds the C++ kernels; metadata stands in pyproject.toml.

Plain C++ without torch's headers and within CPython's stable ABI: one build serves every torch and
every Python from 3.10 on. The extension is optional: without a compiler the package installs without
it, and the scan runs on PyTorch's operators.
"""

import sys

from setuptools import Extension, setup

if sys.platform == "win32":
    flags = ["/O2", "/std:c++17", "/fp:contract"]
else:
    flags = ["-O3", "-std=c++17", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast"]
    flags += ["-Wno-psabi"]

setup(
    ext_modules=[
        Extension(
            "basicsr_mambair.ops.native._kernels",
            ["basicsr_mambair/ops/native/native.cpp"],
            depends=[
                f"basicsr_mambair/ops/native/{name}.h"
                for name in ("api", "simd", "scan", "attention")
            ],
            extra_compile_args=flags,
            extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
