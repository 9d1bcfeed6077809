// Window attention: scores, bias, mask, softmax and products of one window and head in one pass,
// all in cache. Lanes are queries of a row of the window: sums over keys and channels need no sums
// of lanes, and the biases of a row of queries and one key stand side by side in the table of
// relative positions. Scores are kept in units of log2.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "scratch.h"
#include "simd.h"
#include "tasks.h"

namespace MAMBAIR_SET {

const int KEYS = VECTOR_REGISTERS == 32 ? 8 : VECTOR_REGISTERS == 16 ? 4 : 2;  // scored at once
const int SUMS = VECTOR_REGISTERS == 32 ? 16 : 4;  // channels whose weighted sums are in registers
static_assert(SUMS == 4 || SUMS == 16, "weigh_channels is written out for these");
const float BETWEEN_REGIONS =
    -100.0f;            // added to scores of tokens that only the roll brought together
const int REGIONS = 4;  // that meet in a window, at most
const float LOWEST_SCORE = -1e30f;
enum Third { QUERY, KEY, VALUE };  // of qkv

struct Window {
  int64_t batch, row, column;
  bool last_row, last_column;
};

INLINE Window window_at(int64_t number, int64_t rows, int64_t columns) {
  Window at;
  at.column = number % columns;
  at.row = number / columns % rows;
  at.batch = number / columns / rows;
  at.last_row = at.row == rows - 1;
  at.last_column = at.column == columns - 1;
  return at;
}

// The pixel of every token of a window, before the roll by `shift`.
INLINE void locate_tokens(int64_t *pixel, const Window &at, int64_t height, int64_t width,
                          int window, int shift) {
  for (int row = 0; row < window; ++row) {
    int64_t y = at.row * window + row + shift;
    if (y >= height) y -= height;
    for (int column = 0; column < window; ++column) {
      int64_t x = at.column * window + column + shift;
      if (x >= width) x -= width;
      *pixel++ = (at.batch * height + y) * width + x;
    }
  }
}

// Which of the (up to four) regions that the roll brought together in a window a token belongs to.
struct Regions {
  int first_row, first_column;  // from which on rows and columns come from the opposite border
  bool any;
  int of(int row, int column) const {
    return (row >= first_row ? 2 : 0) + (column >= first_column ? 1 : 0);
  }
};

INLINE Regions regions_of(const Window &at, int window, int shift) {
  Regions r;
  r.first_row = at.last_row ? window - shift : window;
  r.first_column = at.last_column ? window - shift : window;
  r.any = shift > 0 && (at.last_row || at.last_column);
  return r;
}

// One head of a window, and where its tokens are. Strides are floats from place to place.
struct Head {
  int window, depth, head, heads;
  int64_t channels;  // of all heads
  float scale;
  const int64_t *place;  // of every token
  const float *qkv;
  int64_t qkv_stride;
  float *out, *log_sums;  // log_sums: or null; `heads` floats at a place
  int64_t out_stride;
  Regions regions;
  // Backward only.
  const float *grad_out;  // strides of out and qkv
  float *grad_qkv;
};

INLINE int pieces_of(int window) { return (window + LANES - 1) / LANES; }  // vectors a row
INLINE int64_t lanes_of(int window) { return (int64_t)window * pieces_of(window) * LANES; }
// The values of a head are weighed by fours.
INLINE int fours(int depth) { return (depth + 3) / 4 * 4; }

// The biases of every head from ((2w - 1)^2, heads): [head][table_floats], in units of log2. A
// vector that begins at any of the entries can be read.
INLINE int64_t table_entries(int window) { return (int64_t)(2 * window - 1) * (2 * window - 1); }
INLINE int64_t table_floats(int window) { return table_entries(window) + LANES; }
INLINE void pack_tables(float *to, const float *table, int64_t window, int64_t heads) {
  const int64_t entries = table_entries((int)window);
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < entries; ++i) *to++ = table[i * heads + head] * LOG2_E;
    for (int i = 0; i < LANES; ++i) *to++ = 0.0f;
  }
}

// `depth` floats times a factor, in fours where they go.
INLINE void copy_scaled(float *RESTRICT to, const float *RESTRICT from, float factor, int depth) {
  int i = 0;
  for (; i + 4 <= depth; i += 4) {
    float four[4];
    for (int k = 0; k < 4; ++k) four[k] = from[i + k] * factor;
    memcpy(to + i, four, sizeof four);
  }
  for (; i < depth; ++i) to[i] = from[i] * factor;
}

// `depth` floats of `count` lanes, which lie one after the other in each of `rows`, to
// [depth][LANES], times a factor.
INLINE void rows_to_lanes(float *RESTRICT to, const float *const *rows, int count, float factor,
                          int depth) {
  int lane = 0;
  for (; lane + 4 <= count; lane += 4, rows += 4) {
    int i = 0;
    for (; i + 4 <= depth; i += 4) {
      float a[4][4];
      for (int j = 0; j < 4; ++j) memcpy(a[j], rows[j] + i, sizeof a[j]);
      for (int k = 0; k < 4; ++k) {
        const float four[4] = {a[0][k] * factor, a[1][k] * factor, a[2][k] * factor,
                               a[3][k] * factor};
        memcpy(to + (i + k) * LANES + lane, four, sizeof four);
      }
    }
    for (; i < depth; ++i)
      for (int j = 0; j < 4; ++j) to[i * LANES + lane + j] = rows[j][i] * factor;
  }
  for (; lane < count; ++lane, ++rows)
    for (int i = 0; i < depth; ++i) to[i * LANES + lane] = rows[0][i] * factor;
}

// The other way round.
INLINE void lanes_to_rows(float *const *rows, const float *RESTRICT from, int count, float factor,
                          int depth) {
  int lane = 0;
  for (; lane + 4 <= count; lane += 4, rows += 4) {
    int i = 0;
    for (; i + 4 <= depth; i += 4) {
      float a[4][4];
      for (int k = 0; k < 4; ++k) memcpy(a[k], from + (i + k) * LANES + lane, sizeof a[k]);
      for (int j = 0; j < 4; ++j) {
        const float four[4] = {a[0][j] * factor, a[1][j] * factor, a[2][j] * factor,
                               a[3][j] * factor};
        memcpy(rows[j] + i, four, sizeof four);
      }
    }
    for (; i < depth; ++i)
      for (int j = 0; j < 4; ++j) rows[j][i] = from[i * LANES + lane + j] * factor;
  }
  for (; lane < count; ++lane, ++rows)
    for (int i = 0; i < depth; ++i) rows[0][i] = from[i * LANES + lane] * factor;
}

// to ([token][stride]) from a third (QUERY, KEY or VALUE) of every token's qkv; zeros past depth.
INLINE void pack_tokens(float *to, int stride, const Head &h, Third third, float factor) {
  const float *from = h.qkv + third * h.channels + h.head * h.depth;
  const int tokens = h.window * h.window;
  for (int token = 0; token < tokens; ++token, to += stride) {
    copy_scaled(to, from + h.place[token] * h.qkv_stride, factor, h.depth);
    for (int i = h.depth; i < stride; ++i) to[i] = 0.0f;
  }
}

// The same with tokens in lanes: [row][piece][depth][LANES]; zeros past the row.
INLINE void pack_lanes(float *to, const Head &h, Third third, float factor) {
  const float *from = h.qkv + third * h.channels + h.head * h.depth;
  for (int row = 0; row < h.window; ++row)
    for (int column = 0; column < h.window; column += LANES, to += h.depth * LANES) {
      const int count = h.window - column < LANES ? h.window - column : LANES;
      if (count < LANES) memset(to, 0, h.depth * LANES * sizeof(float));
      const int64_t *place = h.place + row * h.window + column;
      const float *rows[LANES];
      for (int lane = 0; lane < count; ++lane) rows[lane] = from + place[lane] * h.qkv_stride;
      rows_to_lanes(to, rows, count, factor, h.depth);
    }
}

// mask ([region][LANES]): what is added to the scores of a key of that region by lanes from
// (row, column) on.
INLINE void pack_mask(float *mask, const Regions &regions, int row, int column) {
  for (int region = 0; region < REGIONS; ++region)
    for (int lane = 0; lane < LANES; ++lane)
      mask[region * LANES + lane] =
          regions.of(row, column + lane) == region ? 0.0f : BETWEEN_REGIONS * LOG2_E;
}

// Scores of one vector of queries by COUNT keys of a row; gives their maximum with `highest`.
// `bias` is the first key's, the next key's lies before it.
template <int COUNT, bool MASKED>
INLINE vf score_keys(float *to, const float *queries, const float *keys, const float *bias,
                     const float *mask, int before_edge, int depth, vf highest) {
  const float *rows[COUNT];
  vf scores[COUNT];
  unroll<COUNT>([&](int j) FLAT {
    rows[j] = keys + j * depth;
    scores[j] = load(bias - j);
    if (MASKED) scores[j] += load(mask + (j >= before_edge ? LANES : 0));
  });
  for (int i = 0; i < depth; ++i) {
    const vf query = load(queries + i * LANES);
    unroll<COUNT>([&](int j) FLAT { scores[j] += splat(rows[j][i]) * query; });
  }
  unroll<COUNT>([&](int j) FLAT {
    highest = maximum(highest, scores[j]);
    store(to + j * LANES, scores[j]);
  });
  return highest;
}

// Scores ([token][LANES]) of a vector of queries by all keys of the window; gives their maximum.
template <bool MASKED>
static NOINLINE vf score_window(float *to, const float *queries, const float *keys,
                                const float *table, const Head &h, int row, int column) {
  const int window = h.window, depth = h.depth, span = 2 * window - 1;
  float mask[REGIONS * LANES];
  if (MASKED) pack_mask(mask, h.regions, row, column);
  vf highest = splat(LOWEST_SCORE);
  for (int y = 0; y < window; ++y) {
    const float *bias = table + (row - y + window - 1) * span + column + window - 1;
    const float *row_mask = mask + h.regions.of(y, -1) * LANES;
    int x = 0;
    for (; x + KEYS <= window; x += KEYS, keys += KEYS * depth, to += KEYS * LANES)
      highest = score_keys<KEYS, MASKED>(to, queries, keys, bias - x, row_mask,
                                         h.regions.first_column - x, depth, highest);
    for (; x < window; ++x, keys += depth, to += LANES)
      highest = score_keys<1, MASKED>(to, queries, keys, bias - x, row_mask,
                                      h.regions.first_column - x, depth, highest);
  }
  return highest;
}

// out ([COUNT][LANES]) = sum over tokens of weights times values ([token][stride]), from scores the
// first time, when the weights take their place; gives the sum of the weights.
template <int COUNT, bool FIRST>
static NOINLINE vf weigh_values(float *out, float *scores, const float *values, int stride,
                                int tokens, vf highest) {
  vf sums[COUNT], total = splat(0.0f);
  unroll<COUNT>([&](int i) FLAT { sums[i] = splat(0.0f); });
  for (int token = 0; token < tokens; ++token, values += stride, scores += LANES) {
    vf weight = load(scores);
    if (FIRST) {
      weight = exp2_of_nonpositive(weight - highest);
      total += weight;
      if (COUNT == SUMS) store(scores, weight);
    }
    unroll<COUNT>([&](int i) FLAT { sums[i] += splat(values[i]) * weight; });
  }
  unroll<COUNT>([&](int i) FLAT { store(out + i * LANES, sums[i]); });
  return total;
}

template <bool FIRST>
INLINE vf weigh_channels(float *out, float *scores, const float *values, int stride, int tokens,
                         vf highest, int count) {
  if (count >= SUMS) return weigh_values<SUMS, FIRST>(out, scores, values, stride, tokens, highest);
  if (count == 12) return weigh_values<12, FIRST>(out, scores, values, stride, tokens, highest);
  if (count == 8) return weigh_values<8, FIRST>(out, scores, values, stride, tokens, highest);
  return weigh_values<4, FIRST>(out, scores, values, stride, tokens, highest);
}

INLINE int64_t attend_floats(int window, int depth) {
  const int64_t tokens = (int64_t)window * window;
  return lanes_of(window) * depth + vectors(tokens * depth) + vectors(tokens * fours(depth)) +
         (tokens + fours(depth)) * LANES;
}

// One head of one window.
static void attend(const Head &h, const float *table, Scratch scratch) {
  const int window = h.window, depth = h.depth, tokens = window * window, padded = fours(depth);
  float *queries = scratch.take(lanes_of(window) * depth);
  float *keys = scratch.take(tokens * depth), *values = scratch.take(tokens * padded);
  float *scores = scratch.take(tokens * LANES), *sums = scratch.take(padded * LANES);
  pack_lanes(queries, h, QUERY, h.scale * LOG2_E);
  pack_tokens(keys, depth, h, KEY, 1.0f);
  pack_tokens(values, padded, h, VALUE, 1.0f);
  for (int row = 0; row < window; ++row)
    for (int column = 0; column < window; column += LANES, queries += depth * LANES) {
      const vf highest = h.regions.any
                             ? score_window<true>(scores, queries, keys, table, h, row, column)
                             : score_window<false>(scores, queries, keys, table, h, row, column);
      const vf total = weigh_channels<true>(sums, scores, values, padded, tokens, highest, padded);
      for (int first = SUMS; first < padded; first += SUMS)
        weigh_channels<false>(sums + first * LANES, scores, values + first, padded, tokens, highest,
                              padded - first);
      const vf factor = 1.0f / total;
      for (int i = 0; i < depth; ++i) store(sums + i * LANES, load(sums + i * LANES) * factor);
      const int64_t *place = h.place + row * window + column;
      const int count = window - column < LANES ? window - column : LANES;
      float *rows[LANES];
      for (int lane = 0; lane < count; ++lane)
        rows[lane] = h.out + place[lane] * h.out_stride + h.head * depth;
      lanes_to_rows(rows, sums, count, 1.0f, depth);
      if (!h.log_sums) continue;
      alignas(64) float peaks[LANES], totals[LANES];
      store(peaks, highest);
      store(totals, total);
      for (int lane = 0; lane < count; ++lane)
        h.log_sums[place[lane] * h.heads + h.head] = peaks[lane] + std::log2(totals[lane]);
    }
}

INLINE Head head_of(const AttentionArguments &s, const int64_t *place, const Window &at,
                    int64_t head) {
  Head h;
  h.window = (int)s.window;
  h.depth = (int)(s.channels / s.heads);
  h.head = (int)head;
  h.heads = (int)s.heads;
  h.channels = s.channels;
  h.scale = s.scale;
  h.place = place;
  h.qkv = s.qkv;
  h.qkv_stride = 3 * s.channels;
  h.out = s.out;
  h.log_sums = s.log_sums;
  h.out_stride = s.channels;
  h.regions = regions_of(at, (int)s.window, (int)s.shift);
  h.grad_out = s.grad_out;
  h.grad_qkv = s.grad_qkv;
  return h;
}

static void attention_forward_task(const void *context, int64_t task) {
  const AttentionArguments &s = *(const AttentionArguments *)context;
  const int window = (int)s.window;
  const Window at = window_at(task / s.heads, s.height / window, s.width / window);
  const Head shape = head_of(s, nullptr, at, task % s.heads);
  Scratch scratch(vectors(2 * window * window) + attend_floats(window, shape.depth));
  int64_t *place = scratch.take<int64_t>(window * window);
  locate_tokens(place, at, s.height, s.width, window, (int)s.shift);
  const Head h = head_of(s, place, at, task % s.heads);
  attend(h, s.tables + h.head * table_floats(window), scratch);
}

INLINE std::vector<float> packed_tables(const AttentionArguments &s) {
  std::vector<float> tables(s.heads * table_floats((int)s.window));
  pack_tables(tables.data(), s.table, s.window, s.heads);
  return tables;
}

static void attention_forward(AttentionArguments s, int threads, Parallel parallel) {
  const std::vector<float> tables = packed_tables(s);
  s.tables = tables.data();
  const int64_t windows = s.batch * (s.height / s.window) * (s.width / s.window);
  run_tasks(attention_forward_task, &s, windows * s.heads, threads, parallel, s.heads);
}

}  // namespace MAMBAIR_SET
