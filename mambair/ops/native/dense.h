// A linear layer with the operations around it: a factor and normalization before it, GELU and
// residuals after it. A task is a lot of tokens, which passes through all of them in cache.
#pragma once

#include <cstdint>
#include <vector>

#include "linear.h"
#include "scratch.h"
#include "tasks.h"

namespace MAMBAIR_SET {

// x, times a factor, of the tokens from `first` on, in scratch.
INLINE void load_tokens(float *to, int64_t stride, const DenseArguments &s, int64_t first,
                        int rows) {
  const int in = (int)s.in;
  for (int r = 0; r < rows; ++r, to += stride) {
    const float *x = s.x + (first + r) * s.x_token,
                *times = s.times ? s.times + (first + r) * s.times_token : nullptr;
    each_vector(in, [&](int i, int count) FLAT {
      const vf value = load_first(x + i, count);
      store(to + i, times ? value * load_first(times + i, count) : value);
    });
  }
}

INLINE int64_t dense_floats(const DenseArguments &s) {
  const int in = (int)s.in, out = (int)s.out;
  return linear_floats(in, out) + 2 * vectors(in) + (s.grad_y ? transposed_floats(in, out) : 0);
}

struct PackedDense {
  const DenseArguments &s;
  Linear layer;
  Norm norm;
};

static PackedDense pack_dense(const DenseArguments &s, float *buffer) {
  PackedDense d{s, pack_linear(buffer, s.weight, s.bias, (int)s.in, (int)s.out), {}};
  buffer += linear_floats(d.layer.in, d.layer.out);
  if (s.norm_weight) {
    const float *weight = pack_row(buffer, s.norm_weight, d.layer.in);
    d.norm = {weight, pack_row(buffer + vectors(s.in), s.norm_bias, d.layer.in), s.eps};
  }
  if (s.grad_y) pack_transposed(d.layer, buffer + 2 * vectors(s.in), s.weight);
  return d;
}

static void dense_task(const void *context, int64_t task) {
  const PackedDense &d = *(const PackedDense *)context;
  const DenseArguments &s = d.s;
  const int64_t begin = task * ROWS_AT_ONCE;
  const int rows = (int)(s.tokens - begin < ROWS_AT_ONCE ? s.tokens - begin : ROWS_AT_ONCE);
  const Linear &layer = d.layer;
  const int64_t in_wide = vectors(s.in), out_wide = vectors(s.out);
  Scratch scratch(ROWS_AT_ONCE * (in_wide + out_wide));
  float *a = scratch.take(ROWS_AT_ONCE * in_wide), *y = scratch.take(ROWS_AT_ONCE * out_wide);
  load_tokens(a, in_wide, s, begin, rows);
  if (s.norm_weight)
    for (int r = 0; r < rows; ++r) normalize(a + r * in_wide, a + r * in_wide, d.norm, layer.in);
  apply(layer, y, a, in_wide, rows);
  if (s.gelu) gelu_rows(y, rows * out_wide);
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (begin + r) * s.out;
    float *row = y + r * out_wide;
    if (s.residual) add_row(row, s.residual + at, layer.out);
    if (s.second) add_scaled_row(row, s.second + at, s.scale, layer.out);
    copy_row(s.y + at, row, layer.out);
  }
}

// Sums over a share of the tokens, of which the gradients of parameters are made.
struct DenseSums {
  LinearSums layer;
  float *norm;   // [2][in in whole vectors]: of weight and bias
  float *scale;  // (out) in whole vectors
};

INLINE int64_t dense_sums_floats(const DenseArguments &s) {
  return linear_sums_floats((int)s.in, (int)s.out) + 2 * vectors(s.in) + vectors(s.out);
}

INLINE DenseSums dense_sums(const DenseArguments &s, int64_t share) {
  DenseSums sums;
  float *buffer = s.sums + share * dense_sums_floats(s);
  sums.layer = linear_sums(buffer, (int)s.in, (int)s.out);
  sums.norm = buffer + linear_sums_floats((int)s.in, (int)s.out);
  sums.scale = sums.norm + 2 * vectors(s.in);
  return sums;
}

// Gradients of a lot of tokens; the forward pass is recomputed.
INLINE void dense_lot_backward(const PackedDense &d, const DenseSums &sums, int64_t begin,
                               Scratch scratch) {
  const DenseArguments &s = d.s;
  const int rows = (int)(s.tokens - begin < ROWS_AT_ONCE ? s.tokens - begin : ROWS_AT_ONCE);
  const Linear &layer = d.layer;
  const int in = layer.in, out = layer.out;
  const int64_t in_wide = vectors(in), out_wide = vectors(out);
  float *a = scratch.take(ROWS_AT_ONCE * in_wide), *normalized = a;
  float *grad = scratch.take(ROWS_AT_ONCE * out_wide),
        *grad_in = scratch.take(ROWS_AT_ONCE * in_wide);
  load_tokens(a, in_wide, s, begin, rows);
  if (s.norm_weight) {
    normalized = scratch.take(ROWS_AT_ONCE * in_wide);
    for (int r = 0; r < rows; ++r) normalize(normalized + r * in_wide, a + r * in_wide, d.norm, in);
  }
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (begin + r) * out;
    float *row = grad + r * out_wide;
    each_vector(
        out, [&](int i, int count) FLAT { store(row + i, load_first(s.grad_y + at + i, count)); });
    if (!s.second) continue;
    each_vector(out, [&](int i, int count) FLAT {
      const vf g = load(row + i);
      store_first(s.grad_second + at + i, g * load_first(s.scale + i, count), count);
      store(sums.scale + i, load(sums.scale + i) + g * load_first(s.second + at + i, count));
    });
  }
  if (s.gelu) {
    float *before = scratch.take(ROWS_AT_ONCE * out_wide);
    apply(layer, before, normalized, in_wide, rows);
    for (int64_t i = 0; i < rows * out_wide; i += LANES)
      store(grad + i, load(grad + i) * gelu_slope(load(before + i)));
  }
  linear_backward(layer, sums.layer, grad, normalized, rows, grad_in);
  for (int r = 0; r < rows; ++r) {
    float *row = grad_in + r * in_wide;
    if (s.norm_weight) normalize_backward(row, a + r * in_wide, d.norm, in, sums.norm);
    const int64_t token = begin + r;
    each_vector(in, [&](int i, int count) FLAT {
      vf g = load(row + i);
      if (s.times) {
        store_first(s.grad_times + token * in + i,
                    g * load_first(s.x + token * s.x_token + i, count), count);
        g = g * load_first(s.times + token * s.times_token + i, count);
      }
      store_first(s.grad_x + token * in + i, g, count);
    });
  }
}

// The lots of a share, one after the other: shares, not threads, decide in which order sums grow.
static void dense_backward_task(const void *context, int64_t share) {
  const PackedDense &d = *(const PackedDense *)context;
  const DenseArguments &s = d.s;
  const int64_t lots = (s.tokens + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  const DenseSums sums = dense_sums(s, share);
  Scratch scratch(ROWS_AT_ONCE * (3 * vectors(s.in) + 2 * vectors(s.out)));
  for (int64_t lot = lots * share / s.shares; lot < lots * (share + 1) / s.shares; ++lot)
    dense_lot_backward(d, sums, lot * ROWS_AT_ONCE, scratch);
}

static void dense_forward(const DenseArguments &s, int threads, Parallel parallel) {
  std::vector<float> buffer(dense_floats(s));
  const PackedDense d = pack_dense(s, buffer.data());
  run_tasks(dense_task, &d, (s.tokens + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, threads, parallel);
}

static void dense_backward(DenseArguments s, int threads, Parallel parallel) {
  std::vector<float> buffer(dense_floats(s)), sums_of_shares(s.shares * dense_sums_floats(s));
  s.sums = sums_of_shares.data();
  const PackedDense d = pack_dense(s, buffer.data());
  run_tasks(dense_backward_task, &d, s.shares, threads, parallel);
  add_shares(s.sums, dense_sums_floats(s), dense_sums_floats(s), s.shares);
  const DenseSums sums = dense_sums(s, 0);
  unpack_linear(s.grad_weight, s.bias ? s.grad_bias : nullptr, sums.layer, (int)s.in, (int)s.out);
  if (s.norm_weight) copy_row(s.grad_norm_weight, sums.norm, (int)s.in);
  if (s.norm_weight) copy_row(s.grad_norm_bias, sums.norm + vectors(s.in), (int)s.in);
  if (s.second) copy_row(s.grad_scale, sums.scale, (int)s.out);
}

}  // namespace MAMBAIR_SET
