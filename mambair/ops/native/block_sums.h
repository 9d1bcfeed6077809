// Sums over the map in the backward pass of a block: the gradients of its parameters.
#pragma once

#include <cstdint>
#include <cstring>

#include "attention_backward.h"
#include "block_pack.h"

namespace MAMBAIR_SET {

struct FFNSums {
  float *norm, *gate, *scale, *conv;  // norm, gate: weight, then bias
  LinearSums fc1, fc2;
};

struct BlockSums {
  float *norm1, *norm3, *out_norm, *cpe;
  LinearSums qkv, proj, in, route0, route2, x, delta, out;
  FFNSums ffn[2];
  float *dictionary;  // [class][d_state]
  float *tables;      // [head][entry]
};

INLINE LinearSums take_sums(Arena &arena, const Linear &layer) {
  float *to = arena.take(linear_sums_floats(layer.in, layer.out));
  return to ? linear_sums(to, layer.in, layer.out) : LinearSums{};
}

INLINE FFNSums take_sums(Arena &arena, const FFN &f) {
  FFNSums sums;
  sums.norm = arena.take(2 * vectors(f.fc1.in));
  sums.gate = arena.take(2 * vectors(f.fc2.in));
  sums.scale = arena.take(f.fc2.out);
  sums.conv = arena.take(depthwise_floats(f.conv.channels, f.conv.kernel));
  sums.fc1 = take_sums(arena, f.fc1);
  sums.fc2 = take_sums(arena, f.fc2);
  return sums;
}

static BlockSums take_sums(Arena &arena, const PackedBlock &b) {
  const BlockArguments &s = b.s;
  BlockSums sums;
  sums.norm1 = arena.take(2 * vectors(s.channels));
  sums.norm3 = arena.take(2 * vectors(s.channels));
  sums.out_norm = arena.take(2 * vectors(s.hidden));
  sums.cpe = arena.take(depthwise_floats(b.cpe.channels, b.cpe.kernel));
  sums.qkv = take_sums(arena, b.qkv);
  sums.proj = take_sums(arena, b.proj);
  sums.in = take_sums(arena, b.in);
  sums.route0 = take_sums(arena, b.route0);
  sums.route2 = take_sums(arena, b.route2);
  sums.x = take_sums(arena, b.x);
  sums.delta = take_sums(arena, b.delta);
  sums.out = take_sums(arena, b.out);
  for (int i = 0; i < 2; ++i) sums.ffn[i] = take_sums(arena, b.ffn[i]);
  sums.dictionary = arena.take(s.classes * s.d_state);
  sums.tables = arena.take(s.heads * table_entries((int)s.window));
  return sums;
}

INLINE void unpack_norm(float *const *grads, int weight, const float *sums, int channels) {
  copy_row(grads[weight], sums, channels);
  copy_row(grads[weight + 1], sums + vectors(channels), channels);
}

INLINE void unpack_layer(float *const *grads, int weight, const LinearSums &sums,
                         const Linear &layer) {
  unpack_linear(grads[weight], grads[weight + 1], sums, layer.in, layer.out);
}

static void unpack_sums(const PackedBlock &b, const BlockSums &sums) {
  const BlockArguments &s = b.s;
  const float *const *p = s.parameters;
  float *const *g = s.grad_parameters;
  const int channels = (int)s.channels, hidden = (int)s.hidden, d_state = (int)s.d_state;
  const int inner_rank = (int)s.inner_rank;
  unpack_norm(g, NORM1_WEIGHT, sums.norm1, channels);
  unpack_norm(g, NORM2_WEIGHT, sums.ffn[0].norm, channels);
  unpack_norm(g, NORM3_WEIGHT, sums.norm3, channels);
  unpack_norm(g, NORM4_WEIGHT, sums.ffn[1].norm, channels);
  unpack_norm(g, OUT_NORM_WEIGHT, sums.out_norm, hidden);
  copy_row(g[SCALE1], sums.ffn[0].scale, channels);
  copy_row(g[SCALE2], sums.ffn[1].scale, channels);
  unpack_layer(g, QKV_WEIGHT, sums.qkv, b.qkv);
  unpack_layer(g, PROJ_WEIGHT, sums.proj, b.proj);
  unpack_layer(g, IN_WEIGHT, sums.in, b.in);
  unpack_layer(g, OUT_WEIGHT, sums.out, b.out);
  unpack_layer(g, ROUTE0_WEIGHT, sums.route0, b.route0);
  unpack_layer(g, ROUTE2_WEIGHT, sums.route2, b.route2);
  unpack_linear(g[X_WEIGHT], nullptr, sums.x, b.x.in, b.x.out);
  unpack_layer(g, DELTA_WEIGHT, sums.delta, b.delta);
  unpack_depthwise(g[CPE_WEIGHT], g[CPE_BIAS], sums.cpe, b.cpe);
  for (int i = 0; i < 2; ++i) {
    float *const *to = g + (i ? FFN2 : FFN1);
    unpack_layer(to, FC1_WEIGHT, sums.ffn[i].fc1, b.ffn[i].fc1);
    unpack_layer(to, FC2_WEIGHT, sums.ffn[i].fc2, b.ffn[i].fc2);
    unpack_depthwise(to[CONV_WEIGHT], to[CONV_BIAS], sums.ffn[i].conv, b.ffn[i].conv);
    if (s.gated) unpack_norm(to, GATE_WEIGHT, sums.ffn[i].gate, b.ffn[i].fc2.in);
  }
  const int64_t entries = table_entries((int)s.window);
  for (int64_t head = 0; head < s.heads; ++head)
    for (int64_t i = 0; i < entries; ++i)
      g[TABLE][i * s.heads + head] = sums.tables[head * entries + i];

  // The scan's are sums over the batch of those of bundles; A = -exp(A_logs).
  const int64_t bundles = vectors(hidden) / LANES;
  for (int e = 0; e < hidden; ++e) {
    float grad_D = 0.0f, grad_A[MAX_STATES] = {0};
    for (int64_t batch = 0; batch < s.batch; ++batch) {
      const int64_t bundle = batch * bundles + e / LANES, lane = e % LANES;
      grad_D += s.grad_D[bundle * LANES + lane];
      for (int n = 0; n < d_state; ++n)
        grad_A[n] += s.grad_A[(bundle * d_state + n) * LANES + lane];
    }
    g[DS][e] = grad_D;
    for (int n = 0; n < d_state; ++n) g[A_LOGS][e * d_state + n] = grad_A[n] * b.A[n * hidden + e];
  }

  // The dictionary is the product of two embeddings.
  memset(g[EMBEDDING_A], 0, inner_rank * d_state * sizeof(float));
  for (int64_t c = 0; c < s.classes; ++c) {
    const float *row = sums.dictionary + c * d_state;
    for (int i = 0; i < inner_rank; ++i) {
      float value = 0.0f;
      for (int n = 0; n < d_state; ++n) {
        value += row[n] * p[EMBEDDING_A][i * d_state + n];
        g[EMBEDDING_A][i * d_state + n] += row[n] * p[EMBEDDING_B][c * inner_rank + i];
      }
      g[EMBEDDING_B][c * inner_rank + i] = value;
    }
  }
}

}  // namespace MAMBAIR_SET
