// Gradients of a block (block.h), in seven sweeps the other way round. Results that a sweep of the
// forward pass left in memory are read; those it only had in cache are computed again. Tasks are
// shares of the map, not its tiles: gradients of parameters are sums that grow share by share, in
// the same order for any number of threads.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "attention_backward.h"
#include "block.h"
#include "block_sums.h"

namespace MAMBAIR_SET {

// Data that all tasks share.
struct BlockBackward {
  const PackedBlock &b;
  int64_t sums_floats;  // of a share
  float *dictionary_t;  // [d_state][classes in whole vectors]
};

INLINE BlockSums sums_of(const BlockBackward &backward, int64_t share) {
  Arena arena{backward.b.s.sums + share * backward.sums_floats, 0};
  return take_sums(arena, backward.b);
}

INLINE int64_t begin_of(int64_t count, int64_t share, int64_t shares) {
  return count * share / shares;
}

INLINE void load_rows(float *to, const float *map, const Stretch &at, int channels) {
  for (int r = 0; r < at.count; ++r)
    copy_row(to + r * vectors(channels), map + (at.first + r) * channels, channels);
}

// Backward pass of end_ffn from the gradients of its results, in scratch. Sets the gradients of
// `second`, and, in grad_hidden and grad_conv, those of the hidden channels and of the convolution.
static void end_ffn_backward(const PackedBlock &b, int number, const FFNSums &sums,
                             const Stretch &at, const float *grad, const float *second,
                             float *grad_second, Scratch scratch) {
  const BlockArguments &s = b.s;
  const FFN &f = b.ffn[number];
  const float *hidden = number ? s.hidden2 : s.hidden1;
  const int channels = (int)s.channels, width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(channels), inner_wide = vectors(inner);
  float *z = scratch.take(ROWS_AT_ONCE * inner_wide), *t = scratch.take(ROWS_AT_ONCE * inner_wide);
  float *grad_t = scratch.take(ROWS_AT_ONCE * inner_wide), *zeros = scratch.take(width);
  gate_ffn(f, s, hidden, at, z, t, zeros);
  for (int r = 0; r < at.count; ++r) {
    const int64_t to = (at.first + r) * channels;
    each_vector(channels, [&](int i, int count) FLAT {
      const vf g = load(grad + r * wide + i);
      store(sums.scale + i, load(sums.scale + i) + g * load_first(second + to + i, count));
      store_first(grad_second + to + i, g * load(f.scale + i), count);
    });
  }
  linear_backward(f.fc2, sums.fc2, grad, t, at.count, grad_t);
  for (int r = 0; r < at.count; ++r) {
    const float *value = hidden + (at.first + r) * width;
    float *to_hidden = s.grad_hidden + (at.first + r) * width,
          *to_conv = s.grad_conv + (at.first + r) * inner;
    each_vector(inner, [&](int i, int count) FLAT {
      const vf g = load(grad_t + r * inner_wide + i), conv = load(z + r * inner_wide + i);
      store_first(to_hidden + i, f.gated ? g * conv : g, count);
      store_first(to_conv + i, f.gated ? g * load(value + i) : g * gelu_slope(conv), count);
    });
  }
}

// Backward pass of begin_ffn on rows of x, through norm and fc1, once end_ffn_backward is done
// everywhere. Sets grad_x, in scratch.
static void begin_ffn_backward(const PackedBlock &b, int number, const FFNSums &sums,
                               const Stretch &at, const float *x, float *grad_x, Scratch scratch) {
  const BlockArguments &s = b.s;
  const FFN &f = b.ffn[number];
  const float *hidden = number ? s.hidden2 : s.hidden1;
  const int channels = (int)s.channels, width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(channels), width_wide = vectors(width), inner_wide = vectors(inner);
  float *rows = scratch.take(ROWS_AT_ONCE * wide), *normalized = scratch.take(ROWS_AT_ONCE * wide);
  float *before = scratch.take(ROWS_AT_ONCE * width_wide + PAST_ROWS),
        *grad = scratch.take(ROWS_AT_ONCE * width_wide);
  float *grad_conv = scratch.take(ROWS_AT_ONCE * inner_wide), *zeros = scratch.take(width);
  float *gate = scratch.take(width + LANES);
  memset(zeros, 0, vectors(width) * sizeof(float));
  const Map grads{s.grad_conv + at.batch * b.length * inner, s.height, s.width, inner};
  convolve(grad_conv, inner_wide, grads, transpose(f.conv), at.row, at.column, at.count, zeros);
  convolve_backward(sums.conv, convolved_map(f, s, hidden, at), grads, f.conv, at.row, at.column,
                    at.count, zeros);
  load_rows(rows, x, at, channels);
  for (int r = 0; r < at.count; ++r)
    normalize(normalized + r * wide, rows + r * wide, f.norm, channels);
  apply(f.fc1, before, normalized, wide, at.count);
  for (int r = 0; r < at.count; ++r) {
    const float *grad_hidden = s.grad_hidden + (at.first + r) * width,
                *row = before + r * width_wide;
    float *to = grad + r * width_wide, *from_conv = grad_conv + r * inner_wide;
    if (f.gated) {
      for (int i = 0; i < inner; i += LANES) store(gate + i, gelu(load(row + inner + i)));
      normalize_backward(from_conv, gate, f.gate, inner, sums.gate);
      copy_row(to, grad_hidden, inner);
      copy_row(to + inner, from_conv, inner);
    } else {
      for (int i = 0; i < inner; i += LANES)
        store(to + i, load(grad_hidden + i) + load(from_conv + i));
    }
    for (int i = 0; i < width; i += LANES) store(to + i, load(to + i) * gelu_slope(load(row + i)));
  }
  linear_backward(f.fc1, sums.fc1, grad, normalized, at.count, grad_x);
  for (int r = 0; r < at.count; ++r)
    normalize_backward(grad_x + r * wide, rows + r * wide, f.norm, channels, sums.norm);
}

INLINE int64_t ffn_backward_floats(const BlockArguments &s) {
  return ROWS_AT_ONCE * (2 * vectors(s.channels) + 3 * vectors(s.hidden)) + vectors(s.hidden) +
         vectors(s.hidden + LANES) + PAST_ROWS;
}

template <typename F>
INLINE void each_stretch(const BlockArguments &s, int64_t share, const F &f) {
  const int64_t count = stretches_of(s), end = begin_of(count, share + 1, s.shares);
  for (int64_t i = begin_of(count, share, s.shares); i < end; ++i) f(stretch_at(s, i));
}

static void finish_rows_backward(const void *context, int64_t share) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, share);
  memset(s.sums + share * backward.sums_floats, 0, backward.sums_floats * sizeof(float));
  Scratch scratch(ROWS_AT_ONCE * vectors(s.channels) + ffn_backward_floats(s));
  float *grad = scratch.take(ROWS_AT_ONCE * vectors(s.channels));
  each_stretch(s, share, [&](const Stretch &at) {
    load_rows(grad, s.grad_y, at, (int)s.channels);
    end_ffn_backward(b, 1, sums.ffn[1], at, grad, s.after_ffn1, s.grad_after_ffn1, scratch);
  });
}

static void project_tokens_backward(const void *context, int64_t share) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, share);
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  Scratch scratch(ROWS_AT_ONCE * (wide + 3 * hidden_wide) + ffn_backward_floats(s));
  float *grad = scratch.take(ROWS_AT_ONCE * wide), *rows = scratch.take(ROWS_AT_ONCE * hidden_wide);
  float *normalized = scratch.take(ROWS_AT_ONCE * hidden_wide),
        *grad_rows = scratch.take(ROWS_AT_ONCE * hidden_wide);
  each_stretch(s, share, [&](const Stretch &at) {
    begin_ffn_backward(b, 1, sums.ffn[1], at, s.after_scan, grad, scratch);
    for (int r = 0; r < at.count; ++r) {
      const int64_t to = (at.first + r) * channels;
      float *row = grad + r * wide, *scanned = rows + r * hidden_wide;
      add_row(row, s.grad_y + to, channels);
      each_vector(channels, [&](int i, int count) FLAT {
        store_first(s.grad_after_ffn1 + to + i,
                    load_first(s.grad_after_ffn1 + to + i, count) + load(row + i), count);
      });
      copy_row(scanned, s.scanned + (int64_t)s.inverse[at.first + r] * hidden, hidden);
      normalize(normalized + r * hidden_wide, scanned, b.out_norm, hidden);
    }
    linear_backward(b.out, sums.out, grad, normalized, at.count, grad_rows);
    for (int r = 0; r < at.count; ++r) {
      float *row = grad_rows + r * hidden_wide;
      normalize_backward(row, rows + r * hidden_wide, b.out_norm, hidden, sums.out_norm);
      copy_row(s.grad_scanned + (int64_t)s.inverse[at.first + r] * hidden, row, hidden);
    }
  });
}

// Adds the gradients of B or C at a place, summed over bundles.
INLINE void add_bundles(float *to, const PackedBlock &b, const float *grads, int64_t place) {
  const int64_t bundles = vectors(b.s.hidden) / LANES, batch = place / b.length;
  const float *from = grads + (batch * bundles * b.length + place % b.length) * b.s.d_state;
  for (int64_t bundle = 0; bundle < bundles; ++bundle, from += b.length * b.s.d_state)
    for (int n = 0; n < b.s.d_state; ++n) to[n] += from[n];
}

// The gradients of the gate's convolution go where those of the scanned tokens were.
static void order_tokens_backward(const void *context, int64_t share) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, share);
  const int hidden = (int)s.hidden, rank = (int)s.rank, d_state = (int)s.d_state,
            projected = b.x.out;
  const int64_t wide = vectors(hidden), rank_wide = vectors(rank),
                projected_wide = vectors(projected);
  Scratch scratch(ROWS_AT_ONCE * (4 * wide + 2 * rank_wide + projected_wide) + wide);
  float *u = scratch.take(ROWS_AT_ONCE * wide), *gate = scratch.take(ROWS_AT_ONCE * wide);
  float *grad_delta = scratch.take(ROWS_AT_ONCE * wide),
        *grad_u = scratch.take(ROWS_AT_ONCE * wide);
  float *low = scratch.take(ROWS_AT_ONCE * rank_wide),
        *grad_low = scratch.take(ROWS_AT_ONCE * rank_wide);
  float *grad_projected = scratch.take(ROWS_AT_ONCE * projected_wide), *zeros = scratch.take(wide);
  memset(zeros, 0, wide * sizeof(float));
  each_stretch(s, share, [&](const Stretch &at) {
    const Map map{s.inner + at.batch * b.length * hidden, s.height, s.width, hidden};
    convolve(gate, wide, map, b.cpe, at.row, at.column, at.count, zeros);
    for (int r = 0; r < at.count; ++r) {
      const int64_t place = s.inverse[at.first + r];
      copy_row(u + r * wide, s.ordered + place * hidden, hidden);
      copy_row(grad_delta + r * wide, s.grad_delta + place * hidden, hidden);
      copy_row(low + r * rank_wide, s.projected + place * projected, rank);
    }
    linear_backward(b.delta, sums.delta, grad_delta, low, at.count, grad_low);
    for (int r = 0; r < at.count; ++r) {
      const int64_t place = s.inverse[at.first + r];
      float *row = grad_projected + r * projected_wide;
      memset(row, 0, projected_wide * sizeof(float));
      copy_row(row, grad_low + r * rank_wide, rank);
      add_bundles(row + rank, b, s.grad_B, place);
      add_bundles(row + rank + d_state, b, s.grad_C, place);
    }
    linear_backward(b.x, sums.x, grad_projected, u, at.count, grad_u);
    for (int r = 0; r < at.count; ++r) {
      const int64_t from = (int64_t)s.inverse[at.first + r] * hidden, to = (at.first + r) * hidden;
      each_vector(hidden, [&](int i, int count) FLAT {
        const vf g = load(grad_u + r * wide + i) + load_first(s.grad_ordered + from + i, count);
        const vf open = sigmoid(load(gate + r * wide + i)), x = load(s.inner + to + i);
        store_first(s.grad_inner + to + i, g * open, count);
        store_first(s.grad_scanned + to + i, g * x * open * (1.0f - open), count);
      });
    }
  });
}

// Backward pass of the route: adds to grad ([row][channels]) the gradients of its rows, whose
// prompts are in raster order; straight-through, as if the softmax of the noisy scores had been
// taken for the choice.
static void route_backward(const BlockBackward &backward, const BlockSums &sums, const Stretch &at,
                           const float *x, float *grad, Scratch scratch) {
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const int classes = (int)s.classes, d_state = (int)s.d_state;
  const int64_t wide = vectors(s.channels), route_wide = vectors(s.route_hidden),
                class_wide = vectors(classes);
  float *before = scratch.take(ROWS_AT_ONCE * route_wide),
        *route = scratch.take(ROWS_AT_ONCE * route_wide);
  float *grad_route = scratch.take(ROWS_AT_ONCE * route_wide),
        *scores = scratch.take(ROWS_AT_ONCE * class_wide);
  float *grad_rows = scratch.take(ROWS_AT_ONCE * wide), *grad_soft = scratch.take(class_wide);
  if (s.soft) {
    apply(b.route0, before, x, wide, at.count);
    for (int64_t i = 0; i < at.count * route_wide; i += LANES)
      store(route + i, gelu(load(before + i)));
    apply(b.route2, scores, route, route_wide, at.count);
  }
  for (int r = 0; r < at.count; ++r) {
    const int64_t token = at.first + r;
    const int chosen = s.chosen[token];
    float prompt[MAX_STATES] = {0};
    add_bundles(prompt, b, s.grad_C, token);
    for (int n = 0; n < d_state; ++n) sums.dictionary[chosen * d_state + n] += prompt[n];
    if (!s.soft) continue;
    float *row = scores + r * class_wide;
    const Noise noise{s.keys ? s.keys + at.batch : nullptr,
                      s.noise ? s.noise + token * classes : nullptr};
    choose_class(row, classes, token - at.batch * b.length, noise);
    const float best = row[chosen];
    vf total = splat(0.0f), weighted = splat(0.0f);
    for (int64_t c = 0; c < class_wide; c += LANES) {
      const vf weight = exp2_of_nonpositive((load(row + c) - splat(best)) * LOG2_E);
      vf g = splat(0.0f);
      for (int n = 0; n < d_state; ++n)
        g += load(backward.dictionary_t + n * class_wide + c) * prompt[n];
      total += weight;
      weighted += weight * g;
      store(row + c, weight);
      store(grad_soft + c, g);
    }
    const float factor = 1.0f / sum(total), mean = sum(weighted) * factor;
    for (int64_t c = 0; c < class_wide; c += LANES)
      store(row + c, load(row + c) * factor * (load(grad_soft + c) - splat(mean)));
  }
  if (!s.soft) return;
  linear_backward(b.route2, sums.route2, scores, route, at.count, grad_route);
  for (int64_t i = 0; i < at.count * route_wide; i += LANES)
    store(grad_route + i, load(grad_route + i) * gelu_slope(load(before + i)));
  linear_backward(b.route0, sums.route0, grad_route, x, at.count, grad_rows);
  for (int r = 0; r < at.count; ++r)
    add_row(grad + r * wide, grad_rows + r * wide, (int)s.channels);
}

static void choose_prompts_backward(const void *context, int64_t share) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, share);
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  const int64_t route_floats =
      ROWS_AT_ONCE * (3 * vectors(s.route_hidden) + vectors(s.classes) + wide) + vectors(s.classes);
  const int64_t ffn_floats = ffn_backward_floats(s);
  Scratch scratch(ROWS_AT_ONCE * (3 * wide + hidden_wide) + hidden_wide +
                  (ffn_floats > route_floats ? ffn_floats : route_floats));
  float *rows = scratch.take(ROWS_AT_ONCE * wide), *normalized = scratch.take(ROWS_AT_ONCE * wide);
  float *grad = scratch.take(ROWS_AT_ONCE * wide),
        *grad_inner = scratch.take(ROWS_AT_ONCE * hidden_wide);
  float *zeros = scratch.take(hidden);
  memset(zeros, 0, hidden_wide * sizeof(float));
  each_stretch(s, share, [&](const Stretch &at) {
    const int64_t picture = at.batch * b.length * hidden;
    const Map map{s.inner + picture, s.height, s.width, hidden};
    const Map grads{s.grad_scanned + picture, s.height, s.width, hidden};
    convolve(grad_inner, hidden_wide, grads, transpose(b.cpe), at.row, at.column, at.count, zeros);
    convolve_backward(sums.cpe, map, grads, b.cpe, at.row, at.column, at.count, zeros);
    load_rows(rows, s.after_ffn1, at, channels);
    for (int r = 0; r < at.count; ++r) {
      add_row(grad_inner + r * hidden_wide, s.grad_inner + (at.first + r) * hidden, hidden);
      normalize(normalized + r * wide, rows + r * wide, b.norm3, channels);
    }
    linear_backward(b.in, sums.in, grad_inner, normalized, at.count, grad);
    route_backward(backward, sums, at, normalized, grad, scratch);
    for (int r = 0; r < at.count; ++r) {
      float *row = grad + r * wide, *to = s.grad_after_ffn1 + (at.first + r) * channels;
      normalize_backward(row, rows + r * wide, b.norm3, channels, sums.norm3);
      add_row(row, to, channels);
      copy_row(to, row, channels);
    }
    end_ffn_backward(b, 0, sums.ffn[0], at, grad, s.x, s.grad_x, scratch);
  });
}

static void begin_rows_backward(const void *context, int64_t share) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, share);
  const int channels = (int)s.channels;
  const int64_t wide = vectors(channels);
  Scratch scratch(ROWS_AT_ONCE * wide + ffn_backward_floats(s));
  float *grad = scratch.take(ROWS_AT_ONCE * wide);
  each_stretch(s, share, [&](const Stretch &at) {
    begin_ffn_backward(b, 0, sums.ffn[0], at, s.after_attention, grad, scratch);
    for (int r = 0; r < at.count; ++r) {
      const int64_t to = (at.first + r) * channels;
      add_row(grad + r * wide, s.grad_after_ffn1 + to, channels);
      copy_row(s.grad_after_attention + to, grad + r * wide, channels);
    }
  });
}

static void attend_windows_backward(const void *context, int64_t share) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, share);
  const int window = (int)s.window, tokens = window * window, channels = (int)s.channels;
  const int heads = (int)s.heads, depth = channels / heads;
  const int64_t wide = vectors(channels), qkv_wide = vectors(3 * channels),
                held = whole(tokens, ROWS_AT_ONCE);
  Scratch scratch(2 * vectors(2 * tokens) + held * (2 * wide + qkv_wide) + 3 * ROWS_AT_ONCE * wide +
                  differentiate_floats(window, depth, heads));
  int64_t *pixel = scratch.take<int64_t>(tokens), *index = scratch.take<int64_t>(tokens);
  float *grad = scratch.take(held * wide), *grad_attended = scratch.take(held * wide);
  float *grad_qkv = scratch.take(held * qkv_wide), *rows = scratch.take(ROWS_AT_ONCE * wide);
  float *normalized = scratch.take(ROWS_AT_ONCE * wide),
        *grad_rows = scratch.take(ROWS_AT_ONCE * wide);
  const Packed packed = prepare_backward(scratch, b.tables, window, depth, heads);
  for (int64_t i = 0; i < tokens; ++i) index[i] = i;

  const int64_t down = s.height / window, across = s.width / window,
                count = s.batch * down * across;
  const int64_t tall = whole(tokens, MAX_TILE_ROWS);
  for (int64_t number = begin_of(count, share, s.shares);
       number < begin_of(count, share + 1, s.shares); ++number) {
    const Window at = window_at(number, down, across);
    locate_tokens(pixel, at, s.height, s.width, window, (int)s.shift);
    Head h = block_head(b, at, index, s.qkv + number * tall * qkv_wide,
                        s.attended + number * tall * wide);
    h.log_sums = s.log_sums + number * tokens * heads;
    h.grad_out = grad_attended;
    h.grad_qkv = grad_qkv;
    for (int token = 0; token < tokens; ++token)
      copy_row(grad + token * wide, s.grad_after_attention + pixel[token] * channels, channels);
    for (int first = 0; first < tokens; first += ROWS_AT_ONCE)
      linear_backward(b.proj, sums.proj, grad + first * wide, h.out + first * wide,
                      tokens - first < ROWS_AT_ONCE ? tokens - first : ROWS_AT_ONCE,
                      grad_attended + first * wide);
    pack_masks(packed, h.regions, window);
    for (h.head = 0; h.head < heads; ++h.head) differentiate_head(packed, h);
    for (int first = 0; first < tokens; first += ROWS_AT_ONCE) {
      const int some = tokens - first < ROWS_AT_ONCE ? tokens - first : ROWS_AT_ONCE;
      for (int r = 0; r < some; ++r) {
        copy_row(rows + r * wide, s.x + pixel[first + r] * channels, channels);
        normalize(normalized + r * wide, rows + r * wide, b.norm1, channels);
      }
      linear_backward(b.qkv, sums.qkv, grad_qkv + first * qkv_wide, normalized, some, grad_rows);
      for (int r = 0; r < some; ++r) {
        float *row = grad_rows + r * wide, *to = s.grad_x + pixel[first + r] * channels;
        normalize_backward(row, rows + r * wide, b.norm1, channels, sums.norm1);
        add_row(row, grad + (first + r) * wide, channels);
        add_row(row, to, channels);
        copy_row(to, row, channels);
      }
    }
  }
  unpack_grad_tables(sums.tables, packed, window, heads);
}

const int64_t SUMS_AT_ONCE = 1 << 14;

// Adds the sums of the other shares to those of the first; a task does some of the floats.
static void add_sums(const void *context, int64_t task) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const int64_t begin = task * SUMS_AT_ONCE, left = backward.sums_floats - begin;
  add_shares(backward.b.s.sums + begin, left < SUMS_AT_ONCE ? left : SUMS_AT_ONCE,
             backward.sums_floats, backward.b.s.shares);
}

static int64_t block_sums_floats(const BlockArguments &s) {
  Arena nothing{nullptr, 0}, arena{nullptr, 0};
  const PackedBlock b = pack_block(s, nothing);
  take_sums(arena, b);
  return arena.used;
}

static void block_backward(const BlockArguments &s, int threads, Parallel parallel) {
  Arena arena{s.packed, 0};
  const PackedBlock b = pack_block(s, arena);
  const int64_t class_wide = vectors(s.classes);
  std::vector<float> dictionary_t(s.d_state * class_wide);
  for (int64_t c = 0; c < s.classes; ++c)
    for (int64_t n = 0; n < s.d_state; ++n)
      dictionary_t[n * class_wide + c] = b.dictionary[c * s.d_state + n];
  const BlockBackward backward{b, block_sums_floats(s), dictionary_t.data()};

  run_tasks(finish_rows_backward, &backward, s.shares, threads, parallel);
  run_tasks(project_tokens_backward, &backward, s.shares, threads, parallel);
  ScanArguments scan = block_scan(b);
  scan.grad_y = s.grad_scanned;
  scan.grad_u = s.grad_ordered;
  scan.grad_delta = s.grad_delta;
  scan.grad_B = s.grad_B;
  scan.grad_C = s.grad_C;
  scan.grad_A = s.grad_A;
  scan.grad_D = s.grad_D;
  scan.grad_bias = s.grad_bias;
  scan_backward(scan, threads, parallel);
  run_tasks(order_tokens_backward, &backward, s.shares, threads, parallel);
  run_tasks(choose_prompts_backward, &backward, s.shares, threads, parallel);
  run_tasks(begin_rows_backward, &backward, s.shares, threads, parallel);
  run_tasks(attend_windows_backward, &backward, s.shares, threads, parallel);
  run_tasks(add_sums, &backward, (backward.sums_floats + SUMS_AT_ONCE - 1) / SUMS_AT_ONCE, threads,
            parallel);
  unpack_sums(b, sums_of(backward, 0));
}

}  // namespace MAMBAIR_SET
