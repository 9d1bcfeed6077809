// Kernels for CPUs, in plain C++ without torch's headers: one build serves every torch and, through
// CPython's stable ABI, every Python. Python finds the functions below by ctypes.

#define Py_LIMITED_API 0x030a0000
#include <Python.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "api.h"
#include "instruction_set.h"
#include "kernels.h"
#include "platform.h"

enum InstructionSet { BASELINE = 0, AVX2 = 1, AVX512 = 2 };

static InstructionSet best_instruction_set() {
#ifdef MAMBAIR_X86_DISPATCH
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return BASELINE;
}

static InstructionSet chosen = best_instruction_set();

static const Kernels &kernels() {
#ifdef MAMBAIR_X86_DISPATCH
  if (chosen == AVX512) return avx512_kernels;
  if (chosen == AVX2) return avx2_kernels;
#endif
  return baseline_kernels;
}

EXPORT int32_t mambair_lanes() { return LANES; }
EXPORT int32_t mambair_chunk() { return CHUNK; }
EXPORT int32_t mambair_max_states() { return MAX_STATES; }
EXPORT int32_t mambair_max_tile_rows() { return MAX_TILE_ROWS; }
EXPORT int32_t mambair_max_kernel() { return MAX_KERNEL; }
EXPORT int32_t mambair_instruction_set() { return chosen; }

// For tests: a lower set than the best one; returns the one in force.
EXPORT int32_t mambair_use_instruction_set(int32_t wanted) {
  chosen = (InstructionSet)std::min<int32_t>(std::max(wanted, 0), best_instruction_set());
  return chosen;
}

// The layout that this library was built with: structures, fields in their order, parameters of a
// block. Python compares it with the lists that it has read (structures.py), line by line.
static std::string describe_layout() {
  std::string text;
  const auto field = [&](const char *type, const char *name, size_t offset, size_t size) {
    text += std::string(type) + " " + name + " at " + std::to_string(offset) + ", " +
            std::to_string(size) + " bytes\n";
  };
#define SIZE(name) FIELD(int64_t, name)
#define FIELD(type, name) field(#type, #name, offsetof(STRUCTURE, name), sizeof(type));
#define STRUCTURE ScanArguments
  field("struct", "ScanArguments", 0, sizeof(STRUCTURE));
#include "scan_arguments.inc"
#undef STRUCTURE
#define STRUCTURE AttentionArguments
  field("struct", "AttentionArguments", 0, sizeof(STRUCTURE));
#include "attention_arguments.inc"
#undef STRUCTURE
#define STRUCTURE DenseArguments
  field("struct", "DenseArguments", 0, sizeof(STRUCTURE));
#include "dense_arguments.inc"
#undef STRUCTURE
#define STRUCTURE BlockArguments
  field("struct", "BlockArguments", 0, sizeof(STRUCTURE));
#include "block_arguments.inc"
#undef STRUCTURE
#define STRUCTURE RouteArguments
  field("struct", "RouteArguments", 0, sizeof(STRUCTURE));
#include "route_arguments.inc"
#undef STRUCTURE
#undef FIELD
#undef SIZE
#define PARAMETER(name, ...) text += "parameter " #name " (" #__VA_ARGS__ ")\n";
#include "block_parameters.inc"
#include "ffn_parameters.inc"
#undef PARAMETER
  return text;
}

EXPORT const char *mambair_layout() {
  static const std::string text = describe_layout();
  return text.c_str();
}

EXPORT void mambair_scan_forward(const ScanArguments *s, int32_t threads, Parallel parallel) {
  kernels().scan_forward(*s, threads, parallel);
}

EXPORT void mambair_scan_backward(const ScanArguments *s, int32_t threads, Parallel parallel) {
  kernels().scan_backward(*s, threads, parallel);
}

EXPORT void mambair_attention_forward(const AttentionArguments *s, int32_t threads,
                                      Parallel parallel) {
  kernels().attention_forward(*s, threads, parallel);
}

EXPORT void mambair_attention_backward(const AttentionArguments *s, int32_t threads,
                                       Parallel parallel) {
  kernels().attention_backward(*s, threads, parallel);
}

EXPORT void mambair_dense(const DenseArguments *s, int32_t threads, Parallel parallel) {
  kernels().dense_forward(*s, threads, parallel);
}

EXPORT void mambair_dense_backward(const DenseArguments *s, int32_t threads, Parallel parallel) {
  kernels().dense_backward(*s, threads, parallel);
}

EXPORT int64_t mambair_block_floats(const BlockArguments *s) { return kernels().block_floats(*s); }

EXPORT void mambair_block(const BlockArguments *s, int32_t threads, Parallel parallel) {
  kernels().block_forward(*s, threads, parallel);
}

EXPORT int64_t mambair_block_sums_floats(const BlockArguments *s) {
  return kernels().block_sums_floats(*s);
}

EXPORT void mambair_block_backward(const BlockArguments *s, int32_t threads, Parallel parallel) {
  kernels().block_backward(*s, threads, parallel);
}

EXPORT void mambair_route(const RouteArguments *s, int32_t threads, Parallel parallel) {
  kernels().route(*s, threads, parallel);
}

// An importable, empty module, so that setuptools' extension machinery builds and places the file.
static PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_kernels", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit__kernels() { return PyModule_Create(&module); }
