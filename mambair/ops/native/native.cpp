// Kernels for CPUs, in plain C++ without torch's headers: one build serves every torch and, through
// CPython's stable ABI, every Python. Python finds the functions below by ctypes.

#define Py_LIMITED_API 0x030a0000
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "api.h"

#if defined(_MSC_VER)
#define INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define RESTRICT __restrict
#define FLAT
#define EXPORT extern "C" __declspec(dllexport)
#else
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define RESTRICT __restrict__
#define FLAT __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

static const int LANES = 16;        // channels in a vector
static const int CHUNK = 32;        // tokens between two kept states
static const int MAX_STATES = 64;
static const int SEGMENT = 1024;    // tokens of a task of the scan, whole chunks
static const int BLOCK = 64;        // tokens that pass through linear layers together, whole tiles
static const int MAX_ROWS = 8;      // of a tile, for any instruction set
static const int ROUTE_BLOCK = 256; // tokens of a task of the routing
static_assert(SEGMENT % CHUNK == 0 && BLOCK % MAX_ROWS == 0, "whole chunks, whole tiles");

// Tasks are handed out in turn. Threads come from the OpenMP runtime that torch has loaded, if
// Python found it (`parallel`, libgomp's GOMP_parallel): a second pool beside torch's would compete
// with its spinning threads. Otherwise they are started for the call.
using Parallel = void (*)(void (*function)(void *), void *data, unsigned threads, unsigned flags);

struct Work {
  Task task;
  const void *context;
  int64_t count;
  int64_t at_once;
  std::atomic<int64_t> next;
};

static void drain(void *data) {
  Work &work = *(Work *)data;
  for (int64_t i = work.next.fetch_add(work.at_once); i < work.count;
       i = work.next.fetch_add(work.at_once))
    for (int64_t k = i; k < std::min(i + work.at_once, work.count); ++k) work.task(work.context, k);
}

// `related`: so many neighbouring tasks read the same memory; one thread does them where there are enough.
static void run_tasks(Task task, const void *context, int64_t count, int threads, Parallel parallel,
                      int64_t related = 1) {
  threads = (int)std::min<int64_t>(threads, count);
  Work work{task, context, count, count >= 4 * related * threads ? related : 1, {0}};
  if (threads <= 1) {
    drain(&work);
  } else if (parallel) {
    parallel(drain, &work, (unsigned)threads, 0);
  } else {
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(drain, &work);
    drain(&work);
    for (auto &other : others) other.join();
  }
}

// Segments of blocks of channels: a task may wait for tasks with lower numbers, which have been taken.
static void run_scan(Task task, ScanArguments s, int32_t threads, Parallel parallel) {
  const int64_t blocks = s.batch * s.groups * ((s.channels / s.groups + LANES - 1) / LANES);
  std::vector<float> carry(blocks * s.d_state * LANES);
  std::vector<std::atomic<int64_t>> progress(blocks);
  for (auto &done : progress) done.store(0);
  s.carry = carry.data();
  s.progress = progress.data();
  run_tasks(task, &s, blocks * ((s.length + SEGMENT - 1) / SEGMENT), threads, parallel);
}

// The same source for every instruction set; the best one that the processor has is taken at run
// time. Other compilers and processors use the baseline, which is NEON on 64-bit ARM.
#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define X86_DISPATCH 1
#endif

// Registers of the set, for the size of tiles (SSE and NEON would need four for a vector).
#define VECTOR_REGISTERS 8
namespace baseline {
#include "kernels.h"
}

#ifdef X86_DISPATCH
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#undef VECTOR_REGISTERS
#define VECTOR_REGISTERS 16
namespace avx2 {
#include "kernels.h"
}
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#undef VECTOR_REGISTERS
#define VECTOR_REGISTERS 32
namespace avx512 {
#include "kernels.h"
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

enum InstructionSet { BASELINE = 0, AVX2 = 1, AVX512 = 2 };

static InstructionSet best_instruction_set() {
#ifdef X86_DISPATCH
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return BASELINE;
}

static InstructionSet chosen = best_instruction_set();

#ifdef X86_DISPATCH
#define KERNEL(name) (chosen == AVX512 ? avx512::name : chosen == AVX2 ? avx2::name : baseline::name)
#else
#define KERNEL(name) (baseline::name)
#endif

EXPORT int32_t mambair_lanes() { return LANES; }
EXPORT int32_t mambair_chunk() { return CHUNK; }
EXPORT int32_t mambair_max_states() { return MAX_STATES; }
EXPORT int32_t mambair_max_rows() { return MAX_ROWS; }
EXPORT int32_t mambair_max_kernel() { return baseline::MAX_KERNEL; }
EXPORT int32_t mambair_instruction_set() { return chosen; }

// For tests: sizes of the structures that Python mirrors.
EXPORT int64_t mambair_size_of_scan_arguments() { return sizeof(ScanArguments); }
EXPORT int64_t mambair_size_of_attention_arguments() { return sizeof(AttentionArguments); }
EXPORT int64_t mambair_size_of_dense_arguments() { return sizeof(DenseArguments); }
EXPORT int64_t mambair_size_of_block_arguments() { return sizeof(BlockArguments); }
EXPORT int64_t mambair_size_of_route_arguments() { return sizeof(RouteArguments); }

// For tests: a lower set than the best one; returns the one in force.
EXPORT int32_t mambair_use_instruction_set(int32_t wanted) {
  chosen = (InstructionSet)std::min<int32_t>(std::max(wanted, 0), best_instruction_set());
  return chosen;
}

EXPORT void mambair_scan_forward(const ScanArguments *s, int32_t threads, Parallel parallel) {
  run_scan(KERNEL(run_scan_forward), *s, threads, parallel);
}

EXPORT void mambair_scan_backward(const ScanArguments *s, int32_t threads, Parallel parallel) {
  run_scan(KERNEL(run_scan_backward), *s, threads, parallel);
}

static std::vector<float> packed_tables(const AttentionArguments &s) {
  std::vector<float> tables(s.heads * baseline::table_floats((int)s.window));
  baseline::pack_tables(tables.data(), s.table, s.window, s.heads);
  return tables;
}

EXPORT void mambair_attention_forward(const AttentionArguments *given, int32_t threads,
                                      Parallel parallel) {
  AttentionArguments s = *given;
  const std::vector<float> tables = packed_tables(s);
  s.tables = tables.data();
  const int64_t windows = s.batch * (s.height / s.window) * (s.width / s.window);
  run_tasks(KERNEL(run_attention_forward), &s, windows * s.heads, threads, parallel, s.heads);
}

EXPORT void mambair_attention_backward(const AttentionArguments *given, int32_t threads,
                                       Parallel parallel) {
  AttentionArguments s = *given;
  const std::vector<float> tables = packed_tables(s);
  s.tables = tables.data();
  run_tasks(KERNEL(run_attention_backward), &s, s.parts, threads, parallel);
}

EXPORT void mambair_dense(const DenseArguments *s, int32_t threads, Parallel parallel) {
  KERNEL(dense_forward)(*s, threads, parallel);
}

EXPORT void mambair_dense_backward(const DenseArguments *s, int32_t threads, Parallel parallel) {
  KERNEL(dense_backward)(*s, threads, parallel);
}

EXPORT int64_t mambair_block_floats(const BlockArguments *s) {
  return KERNEL(block_floats)(*s);
}

EXPORT void mambair_block(const BlockArguments *s, int32_t threads, Parallel parallel) {
  KERNEL(run_block)(*s, threads, parallel);
}

EXPORT int64_t mambair_block_sums_floats(const BlockArguments *s) {
  return KERNEL(block_sums_floats)(*s);
}

EXPORT void mambair_block_backward(const BlockArguments *s, int32_t threads, Parallel parallel) {
  KERNEL(run_block_backward)(*s, threads, parallel);
}

EXPORT void mambair_route(const RouteArguments *s, int32_t threads, Parallel parallel) {
  int64_t blocks = (s->length + ROUTE_BLOCK - 1) / ROUTE_BLOCK;
  run_tasks(KERNEL(run_route), s, s->batch * blocks, threads, parallel);
  run_tasks(KERNEL(run_sort), s, s->batch, threads, parallel);
}

// An importable, empty module, so that setuptools' extension machinery builds and places the file.
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", nullptr, -1, nullptr,
                             nullptr, nullptr, nullptr, nullptr};
PyMODINIT_FUNC PyInit__kernels() { return PyModule_Create(&module); }
