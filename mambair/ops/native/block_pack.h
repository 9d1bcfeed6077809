// The parameters of a block (block.h), packed for its kernels.
#pragma once

#include <cmath>
#include <cstdint>

#include "api.h"
#include "attention.h"
#include "depthwise.h"
#include "linear.h"
#include "route.h"

namespace MAMBAIR_SET {

struct FFN {
  Norm norm;  // the block's, before it
  Linear fc1, fc2;
  Depthwise conv;
  Norm gate;     // of the gated one
  float *scale;  // of the residual after it
  bool gated;
};

struct PackedBlock {
  const BlockArguments &s;
  Norm norm1, norm3, out_norm;
  Linear qkv, proj, in, route0, route2, x, out;
  FFN ffn[2];
  Depthwise cpe;
  float *tables;      // of the attention
  float *dictionary;  // [class][d_state]
  float *A;           // [d_state][hidden]
  float *delta_weight, *delta_bias, *D;
  Linear delta;            // the same, for gradients
  int64_t tokens, length;  // of the batch, of a picture
};

// Hands out floats of a buffer; without a buffer (`base` is null), it only counts them.
struct Arena {
  float *base;
  int64_t used;
  float *take(int64_t floats) {
    const int64_t at = used;
    used += vectors(floats);
    return base ? base + at : nullptr;
  }
};

INLINE Norm block_norm(Arena &arena, const float *weight, const float *bias, int channels,
                       float eps) {
  float *to = arena.take(2 * vectors(channels));
  if (!to) return {};
  pack_row(to, weight, channels);
  pack_row(to + vectors(channels), bias, channels);
  return {to, to + vectors(channels), eps};
}

INLINE Linear block_linear(Arena &arena, bool backward, const float *weight, const float *bias,
                           int in, int out, float padding = 0.0f) {
  float *to = arena.take(linear_floats(in, out));
  float *transposed = backward ? arena.take(transposed_floats(in, out)) : nullptr;
  if (!to) return {in, out, nullptr, nullptr, nullptr};
  Linear layer = pack_linear(to, weight, bias, in, out, padding);
  if (backward) pack_transposed(layer, transposed, weight);
  return layer;
}

INLINE Depthwise block_depthwise(Arena &arena, bool backward, const float *weight,
                                 const float *bias, int channels, int kernel) {
  float *to = arena.take(depthwise_floats(channels, kernel));
  float *flipped = backward ? arena.take(kernel * kernel * vectors(channels)) : nullptr;
  if (!to) return {channels, kernel, nullptr, nullptr, nullptr};
  Depthwise layer = pack_depthwise(to, weight, bias, channels, kernel);
  if (backward) pack_flipped(layer, flipped);
  return layer;
}

INLINE float *block_row(Arena &arena, const float *from, int channels) {
  float *to = arena.take(channels);
  return to ? pack_row(to, from, channels) : nullptr;
}

INLINE FFN block_ffn(Arena &arena, const BlockArguments &s, const float *const *p,
                     const float *norm_weight, const float *norm_bias, const float *scale) {
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int inner = s.gated ? hidden / 2 : hidden;
  FFN f;
  f.gated = s.gated != 0;
  f.norm = block_norm(arena, norm_weight, norm_bias, channels, s.eps);
  f.fc1 = block_linear(arena, s.grad_y, p[FC1_WEIGHT], p[FC1_BIAS], channels, hidden);
  f.fc2 = block_linear(arena, s.grad_y, p[FC2_WEIGHT], p[FC2_BIAS], inner, channels);
  f.conv = block_depthwise(arena, s.grad_y, p[CONV_WEIGHT], p[CONV_BIAS], inner, (int)s.kernel);
  if (s.gated) f.gate = block_norm(arena, p[GATE_WEIGHT], p[GATE_BIAS], inner, s.eps);
  f.scale = block_row(arena, scale, channels);
  return f;
}

// Packs the parameters into `arena`.
static PackedBlock pack_block(const BlockArguments &s, Arena &arena) {
  CHECK(s.d_state <= MAX_STATES && s.kernel <= MAX_KERNEL);
  const float *const *p = s.parameters;
  const int channels = (int)s.channels, hidden = (int)s.hidden, d_state = (int)s.d_state;
  const int classes = (int)s.classes, rank = (int)s.rank, window = (int)s.window;
  PackedBlock b{s};
  b.length = s.height * s.width;
  b.tokens = s.batch * b.length;
  b.norm1 = block_norm(arena, p[NORM1_WEIGHT], p[NORM1_BIAS], channels, s.eps);
  b.norm3 = block_norm(arena, p[NORM3_WEIGHT], p[NORM3_BIAS], channels, s.eps);
  b.out_norm = block_norm(arena, p[OUT_NORM_WEIGHT], p[OUT_NORM_BIAS], hidden, s.eps);
  b.qkv = block_linear(arena, s.grad_y, p[QKV_WEIGHT], p[QKV_BIAS], channels, 3 * channels);
  b.proj = block_linear(arena, s.grad_y, p[PROJ_WEIGHT], p[PROJ_BIAS], channels, channels);
  b.in = block_linear(arena, s.grad_y, p[IN_WEIGHT], p[IN_BIAS], channels, hidden);
  b.route0 = block_linear(arena, s.grad_y, p[ROUTE0_WEIGHT], p[ROUTE0_BIAS], channels,
                          (int)s.route_hidden);
  b.route2 = block_linear(arena, s.grad_y, p[ROUTE2_WEIGHT], p[ROUTE2_BIAS], (int)s.route_hidden,
                          classes, NO_CLASS);
  b.x = block_linear(arena, s.grad_y, p[X_WEIGHT], nullptr, hidden, rank + 2 * d_state);
  b.out = block_linear(arena, s.grad_y, p[OUT_WEIGHT], p[OUT_BIAS], hidden, channels);
  b.ffn[0] = block_ffn(arena, s, p + FFN1, p[NORM2_WEIGHT], p[NORM2_BIAS], p[SCALE1]);
  b.ffn[1] = block_ffn(arena, s, p + FFN2, p[NORM4_WEIGHT], p[NORM4_BIAS], p[SCALE2]);
  b.cpe = block_depthwise(arena, s.grad_y, p[CPE_WEIGHT], p[CPE_BIAS], hidden, 3);
  b.tables = arena.take(s.heads * table_floats(window));
  b.dictionary = arena.take(classes * d_state);
  b.A = arena.take(d_state * hidden);
  b.delta_weight = arena.take(rank * vectors(hidden));
  b.delta_bias = block_row(arena, p[DELTA_BIAS], hidden);
  b.D = block_row(arena, p[DS], hidden);
  if (s.grad_y) b.delta = block_linear(arena, true, p[DELTA_WEIGHT], p[DELTA_BIAS], rank, hidden);
  if (!arena.base) return b;

  pack_tables(b.tables, p[TABLE], window, s.heads);
  for (int n = 0; n < d_state; ++n)
    for (int e = 0; e < hidden; ++e) b.A[n * hidden + e] = -std::exp(p[A_LOGS][e * d_state + n]);
  for (int r = 0; r < rank; ++r)
    for (int e = 0; e < vectors(hidden); ++e)
      b.delta_weight[r * vectors(hidden) + e] = e < hidden ? p[DELTA_WEIGHT][e * rank + r] : 0.0f;
  for (int c = 0; c < classes; ++c)
    for (int n = 0; n < d_state; ++n) {
      float value = 0.0f;
      for (int i = 0; i < s.inner_rank; ++i)
        value += p[EMBEDDING_B][c * s.inner_rank + i] * p[EMBEDDING_A][i * d_state + n];
      b.dictionary[c * d_state + n] = value;
    }
  return b;
}

}  // namespace MAMBAIR_SET
