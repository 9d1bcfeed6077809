// The kernels of one instruction set, as native.cpp calls them.
#pragma once

#include "api.h"
#include "tasks.h"

struct Kernels {
  void (*scan_forward)(const ScanArguments &, int threads, Parallel);
  void (*scan_backward)(const ScanArguments &, int threads, Parallel);
  void (*attention_forward)(AttentionArguments, int threads, Parallel);
  void (*attention_backward)(AttentionArguments, int threads, Parallel);
  void (*dense_forward)(const DenseArguments &, int threads, Parallel);
  void (*dense_backward)(DenseArguments, int threads, Parallel);
  void (*route)(const RouteArguments &, int threads, Parallel);
  int64_t (*block_floats)(const BlockArguments &);
  int64_t (*block_sums_floats)(const BlockArguments &);
  void (*block_forward)(const BlockArguments &, int threads, Parallel);
  void (*block_backward)(const BlockArguments &, int threads, Parallel);
};

extern const Kernels baseline_kernels, avx2_kernels, avx512_kernels;
