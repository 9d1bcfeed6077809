// Gradients of window attention (attention.h). Lanes are keys of a row of the window.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "attention.h"

namespace MAMBAIR_SET {

const int QUERIES = VECTOR_REGISTERS == 32 ? 8 : 2;  // differentiated at once

// Packed operands of the backward pass of one window and head.
struct Packed {
  float *queries;                      // [token][depth], times scale and log2(e)
  float *grad_out;                     // [token][depth]
  float *keys_t, *values_t;            // [row][piece][depth][LANES]
  float *grad_keys_t, *grad_values_t;  // likewise
  float *keys;                         // [token of whole pieces][depth in whole vectors]
  float *log_sums, *inner;             // (token); inner: dO·O
  float *masks;                        // [row][piece][region][LANES], of border windows
  float *grad_scores;                  // [query][token of whole pieces]
  float *table, *grad_table;           // of every head, from its end
};

// COUNT queries, one below the other from (row, column) on, by all keys. The probabilities P are
// recomputed from the kept log-sums; with dP = dO Vᵀ and dS = P (dP − dO·O), which is kept for dQ:
// dK = dSᵀ Q, dV = Pᵀ dO, and the table takes dS.
template <int COUNT>
static NOINLINE void differentiate_keys(const Packed &p, const Head &h, int row, int column) {
  const int window = h.window, depth = h.depth, span = 2 * window - 1;
  const int64_t wide = lanes_of(window);
  const float *query[COUNT], *grad_out[COUNT];
  float highest[COUNT], inner[COUNT];
  for (int j = 0; j < COUNT; ++j) {
    const int token = (row + j) * window + column;
    query[j] = p.queries + token * depth;
    grad_out[j] = p.grad_out + token * depth;
    highest[j] = p.log_sums[token];
    inner[j] = p.inner[token];
  }
  int64_t vector = 0;
  for (int y = 0; y < window; ++y)
    for (int x = 0; x < window; x += LANES, ++vector) {
      const int64_t at = vector * depth * LANES;
      const int count = window - x < LANES ? window - x : LANES;
      const int64_t entry = (y - row + window - 1) * span + x - column + window - 1;
      vf weight[COUNT], grad[COUNT];
      unroll<COUNT>([&](int j) FLAT {
        weight[j] = load(p.table + entry - j * span);
        grad[j] = splat(0.0f);
      });
      if (h.regions.any)
        unroll<COUNT>([&](int j) FLAT {
          weight[j] += load(p.masks + (vector * REGIONS + h.regions.of(row + j, column)) * LANES);
        });
      const float *keys = p.keys_t + at, *values = p.values_t + at;
      for (int i = 0; i < depth; ++i) {
        const vf key = load(keys + i * LANES), value = load(values + i * LANES);
        unroll<COUNT>([&](int j) FLAT {
          weight[j] += splat(query[j][i]) * key;
          grad[j] += splat(grad_out[j][i]) * value;
        });
      }
      unroll<COUNT>([&](int j) FLAT {
        weight[j] = keep_lanes(exp2_of_nonpositive(weight[j] - splat(highest[j])), count, 0.0f);
        grad[j] = weight[j] * (grad[j] - splat(inner[j]));
        store(p.grad_scores + j * wide + vector * LANES, grad[j]);
        float *grad_bias = p.grad_table + entry - j * span;
        store(grad_bias, load(grad_bias) + grad[j]);
      });
      float *grad_keys = p.grad_keys_t + at, *grad_values = p.grad_values_t + at;
      for (int i = 0; i < depth; ++i) {
        vf key = load(grad_keys + i * LANES), value = load(grad_values + i * LANES);
        unroll<COUNT>([&](int j) FLAT {
          key += splat(query[j][i]) * grad[j];
          value += splat(grad_out[j][i]) * weight[j];
        });
        store(grad_keys + i * LANES, key);
        store(grad_values + i * LANES, value);
      }
    }
}

// dQ = dS K for COUNT queries: out ([COUNT][vector]) of one vector of channels.
template <int COUNT>
static NOINLINE void differentiate_queries(float *out, const float *grad_scores, int64_t wide,
                                           const float *keys, int64_t stride) {
  const float *rows[COUNT];
  vf sums[COUNT];
  unroll<COUNT>([&](int j) FLAT {
    rows[j] = grad_scores + j * wide;
    sums[j] = splat(0.0f);
  });
  for (int64_t token = 0; token < wide; ++token, keys += stride) {
    const vf key = load(keys);
    unroll<COUNT>([&](int j) FLAT { sums[j] += splat(rows[j][token]) * key; });
  }
  unroll<COUNT>([&](int j) FLAT { store(out + j * LANES, sums[j]); });
}

template <int COUNT>
INLINE void differentiate(const Packed &p, const Head &h, int row, int column) {
  const int64_t wide = lanes_of(h.window);
  differentiate_keys<COUNT>(p, h, row, column);
  for (int first = 0; first < h.depth; first += LANES) {
    alignas(64) float grads[COUNT * LANES];
    differentiate_queries<COUNT>(grads, p.grad_scores, wide, p.keys + first, vectors(h.depth));
    for (int j = 0; j < COUNT; ++j) {
      const int64_t place = h.place[(row + j) * h.window + column];
      float *to = h.grad_qkv + place * h.qkv_stride + h.head * h.depth + first;
      copy_scaled(to, grads + j * LANES, h.scale,
                  h.depth - first < LANES ? h.depth - first : LANES);
    }
  }
}

INLINE int64_t differentiate_floats(int window, int depth, int heads) {
  const int64_t tokens = (int64_t)window * window, wide = lanes_of(window);
  return 2 * vectors(tokens * depth) + 4 * wide * depth + wide * vectors(depth) +
         2 * vectors(tokens) + (REGIONS + QUERIES) * wide +
         2 * heads * vectors(table_floats(window));
}

// Takes the operands, and packs the tables of every head from their end.
INLINE Packed prepare_backward(Scratch &scratch, const float *tables, int window, int depth,
                               int heads) {
  const int64_t tokens = (int64_t)window * window, wide = lanes_of(window);
  const int64_t table_size = vectors(table_floats(window)), entries = table_entries(window);
  Packed p;
  p.queries = scratch.take(tokens * depth);
  p.grad_out = scratch.take(tokens * depth);
  p.keys_t = scratch.take(wide * depth);
  p.values_t = scratch.take(wide * depth);
  p.grad_keys_t = scratch.take(wide * depth);
  p.grad_values_t = scratch.take(wide * depth);
  p.keys = scratch.take(wide * vectors(depth));
  p.log_sums = scratch.take(tokens);
  p.inner = scratch.take(tokens);
  p.masks = scratch.take(REGIONS * wide);
  p.grad_scores = scratch.take(QUERIES * wide);
  p.table = scratch.take(heads * table_size);
  p.grad_table = scratch.take(heads * table_size);
  memset(p.table, 0, heads * table_size * sizeof(float));
  memset(p.grad_table, 0, heads * table_size * sizeof(float));
  memset(p.keys, 0, wide * vectors(depth) * sizeof(float));
  for (int head = 0; head < heads; ++head) {
    const float *table = tables + head * table_floats(window);
    std::reverse_copy(table, table + entries, p.table + head * table_size);
  }
  return p;
}

INLINE void pack_masks(const Packed &p, const Regions &regions, int window) {
  const int pieces = pieces_of(window);
  for (int y = 0; regions.any && y < window; ++y)
    for (int piece = 0; piece < pieces; ++piece)
      pack_mask(p.masks + (y * pieces + piece) * REGIONS * LANES, regions, y, piece * LANES);
}

// Gradients of one head of one window; its table's grow.
INLINE void differentiate_head(Packed p, const Head &h) {
  const int window = h.window, depth = h.depth;
  const int64_t wide = lanes_of(window), key_stride = vectors(depth),
                first_channel = h.head * depth;
  const int pieces = pieces_of(window);
  p.table += h.head * vectors(table_floats(window));
  p.grad_table += h.head * vectors(table_floats(window));
  pack_tokens(p.queries, depth, h, QUERY, h.scale * LOG2_E);
  pack_lanes(p.keys_t, h, KEY, 1.0f);
  pack_lanes(p.values_t, h, VALUE, 1.0f);
  memset(p.grad_keys_t, 0, wide * depth * sizeof(float));
  memset(p.grad_values_t, 0, wide * depth * sizeof(float));
  for (int row = 0; row < window; ++row)
    for (int column = 0; column < window; ++column) {
      const int token = row * window + column;
      const int64_t place = h.place[token];
      const float *key = h.qkv + place * h.qkv_stride + h.channels + first_channel;
      const float *out = h.out + place * h.out_stride + first_channel;
      const float *grad = h.grad_out + place * h.out_stride + first_channel;
      copy_scaled(p.keys + (row * pieces * LANES + column) * key_stride, key, 1.0f, depth);
      copy_scaled(p.grad_out + token * depth, grad, 1.0f, depth);
      float inner = 0.0f;
      for (int i = 0; i < depth; ++i) inner += out[i] * grad[i];
      p.inner[token] = inner;
      p.log_sums[token] = h.log_sums[place * h.heads + h.head];
    }
  int row = 0;
  for (; row + QUERIES <= window; row += QUERIES)
    for (int column = 0; column < window; ++column) differentiate<QUERIES>(p, h, row, column);
  for (; row < window; ++row)
    for (int column = 0; column < window; ++column) differentiate<1>(p, h, row, column);

  int64_t from = 0;
  for (row = 0; row < window; ++row)
    for (int column = 0; column < window; column += LANES, from += depth * LANES) {
      const int count = window - column < LANES ? window - column : LANES;
      float *grad_keys[LANES], *grad_values[LANES];
      for (int lane = 0; lane < count; ++lane) {
        const int64_t place = h.place[row * window + column + lane];
        grad_keys[lane] = h.grad_qkv + place * h.qkv_stride + h.channels + first_channel;
        grad_values[lane] = grad_keys[lane] + h.channels;
      }
      lanes_to_rows(grad_keys, p.grad_keys_t + from, count, 1.0f / LOG2_E, depth);
      lanes_to_rows(grad_values, p.grad_values_t + from, count, 1.0f, depth);
    }
}

// to (heads, (2w - 1)^2)
INLINE void unpack_grad_tables(float *to, const Packed &p, int window, int heads) {
  const int64_t entries = table_entries(window);
  for (int head = 0; head < heads; ++head, to += entries) {
    const float *from = p.grad_table + head * vectors(table_floats(window));
    std::reverse_copy(from, from + entries, to);
  }
}

// Gradients of the windows `share`, `share + shares`, ...: all heads of a window while it is in
// cache.
static void attention_backward_task(const void *context, int64_t share) {
  const AttentionArguments &s = *(const AttentionArguments *)context;
  const int window = (int)s.window, heads = (int)s.heads, depth = (int)(s.channels / s.heads);
  const int64_t rows = s.height / window, columns = s.width / window;
  Scratch scratch(vectors(2 * window * window) + differentiate_floats(window, depth, heads));
  int64_t *place = scratch.take<int64_t>(window * window);
  const Packed p = prepare_backward(scratch, s.tables, window, depth, heads);
  for (int64_t number = share; number < s.batch * rows * columns; number += s.shares) {
    const Window at = window_at(number, rows, columns);
    locate_tokens(place, at, s.height, s.width, window, (int)s.shift);
    pack_masks(p, regions_of(at, window, (int)s.shift), window);
    for (int head = 0; head < heads; ++head) differentiate_head(p, head_of(s, place, at, head));
  }
  unpack_grad_tables(s.grad_table + share * heads * table_entries(window), p, window, heads);
}

static void attention_backward(AttentionArguments s, int threads, Parallel parallel) {
  const std::vector<float> tables = packed_tables(s);
  s.tables = tables.data();
  run_tasks(attention_backward_task, &s, s.shares, threads, parallel);
}

}  // namespace MAMBAIR_SET
