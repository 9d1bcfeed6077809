// clang-format off
// A whole block of MambaIRv2 in six sweeps over the map (mambair/archs/attentive_block.py defines the
// computation). Each sweep takes a window, a stretch or a lot through everything that does not need
// other tokens' results, while it is in cache:
//
//   attend_windows   norm1, wqkv, attention, proj, + x; norm2, fc1
//   choose_prompts   rest of convffn1, + x * scale1; norm3, route, choice of a class; in_proj
//   order_tokens     CPE and gate; to the sorted place, with x_proj and the prompt
//   scan             (scan.h)
//   project_tokens   out_norm, out_proj, back to raster order, + x; norm4, fc1
//   finish_rows      rest of convffn2, + x * scale2
//
// Glossary of the kernels:
//
//   block     a block of the network: window attention, FFN, attentive state space, FFN
//   sweep     one pass over the whole map; all its tasks end before the next sweep begins
//   task      the work that one thread does without a break; tasks of a sweep run in any order
//   map       a value for every channel of every pixel of the batch: (batch, height, width, channels)
//   token     a pixel of a map, with all its channels; its `place` is its index in an array of tokens
//   window    window x window pixels that attend to one another
//   row       in a matrix, the channels of one token; in a map or window, pixels of the same height
//   stretch   up to ROWS_AT_ONCE neighboring tokens of one row of a map
//   lot       ROWS_AT_ONCE tokens that follow each other in an array, whatever their rows
//   vector    LANES floats; a lane is one of them. `wide` counts floats in whole vectors
//   tile      the rows and vectors of a product that fit in registers; a panel is its other factor
//   group     channels of the scan that share B and C
//   bundle    up to LANES channels of one group, one in each lane, which are scanned together
//   segment   SEGMENT tokens of the scan: the part of a bundle that one task scans
//   chunk     CHUNK tokens of a segment: a state is kept before each of them
//   share     the part of a map that one task of the backward pass processes, summing gradients of
//             parameters
//   class     the prompt that a token has chosen; tokens are sorted by it for the scan
//   scratch   working memory of a task (scratch.h); an arena is the buffer of packed parameters or of
//             sums
//   packed    stored in the order in which kernels read it
//   hidden    the channels between the two layers of an FFN, and of the state space
// clang-format on
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "block_pack.h"
#include "scan.h"
#include "scratch.h"
#include "tasks.h"

namespace MAMBAIR_SET {

// Vectors that begin at any channel are read past the end of the last row.
const int PAST_ROWS = LANES;

// Floats of scratch that an FFN needs.
INLINE int64_t ffn_floats(const BlockArguments &s) {
  return ROWS_AT_ONCE * (vectors(s.channels) + vectors(s.hidden)) + PAST_ROWS + vectors(s.hidden);
}

// norm, fc1, GELU of rows of channels; the gate is normalized. Goes to `hidden` at the given
// places.
INLINE void begin_ffn(const FFN &f, float *hidden, const float *x, int rows, const int64_t *place,
                      Scratch scratch) {
  const int channels = f.fc1.in, width = f.fc1.out, half = width / 2;
  const int64_t wide = vectors(channels), hidden_wide = vectors(width);
  float *a = scratch.take(ROWS_AT_ONCE * wide);
  float *h = scratch.take(ROWS_AT_ONCE * hidden_wide + PAST_ROWS);
  float *gate = scratch.take(width);
  for (int r = 0; r < rows; ++r) normalize(a + r * wide, x + r * wide, f.norm, channels);
  apply(f.fc1, h, a, wide, rows);
  gelu_rows(h, rows * hidden_wide);
  for (int r = 0; r < rows; ++r) {
    const float *row = h + r * hidden_wide;
    float *to = hidden + place[r] * width;
    copy_row(to, row, f.gated ? half : width);
    if (!f.gated) continue;
    normalize(gate, row + half, f.gate,
              half);  // reads up to a vector past it: the next row, or PAST_ROWS
    copy_row(to + half, gate, half);
  }
}

// Up to ROWS_AT_ONCE tokens of a row of one picture: `count`, the first of which is `first` in the
// batch.
struct Stretch {
  int64_t batch, row, column, first;
  int count;
};

INLINE int64_t stretches_of(const BlockArguments &s) {
  return s.batch * s.height * ((s.width + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE);
}

INLINE Stretch stretch_at(const BlockArguments &s, int64_t number) {
  const int64_t per_row = (s.width + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  Stretch at;
  at.column = number % per_row * ROWS_AT_ONCE;
  at.row = number / per_row % s.height;
  at.batch = number / per_row / s.height;
  at.first = (at.batch * s.height + at.row) * s.width + at.column;
  at.count = (int)(s.width - at.column < ROWS_AT_ONCE ? s.width - at.column : ROWS_AT_ONCE);
  return at;
}

// Channels that an FFN convolves: all hidden ones, or the second half of them if it is gated.
INLINE Map convolved_map(const FFN &f, const BlockArguments &s, const float *hidden,
                         const Stretch &at) {
  const float *picture = hidden + at.batch * s.height * s.width * s.hidden;
  return {picture + (f.gated ? s.hidden / 2 : 0), s.height, s.width, s.hidden};
}

// For a stretch, in scratch: z, the result of the convolution, and `gated`, the input of fc2.
// `zeros`: a pixel.
INLINE void gate_ffn(const FFN &f, const BlockArguments &s, const float *hidden, const Stretch &at,
                     float *z, float *gated, float *zeros) {
  const int width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(inner);
  memset(zeros, 0, vectors(width) * sizeof(float));
  convolve(z, wide, convolved_map(f, s, hidden, at), f.conv, at.row, at.column, at.count, zeros);
  for (int r = 0; r < at.count; ++r) {
    const float *value = hidden + (at.first + r) * width;
    for (int64_t i = r * wide, k = 0; k < inner; i += LANES, k += LANES)
      store(gated + i,
            f.gated ? load(z + i) * load(value + k) : load(value + k) + gelu(load(z + i)));
  }
}

// The rest of an FFN for a stretch, and the block's residuals `first + second · scale`: y in
// scratch.
INLINE void end_ffn(const FFN &f, const BlockArguments &s, const float *hidden, float *y,
                    const Stretch &at, const float *first, const float *second, Scratch scratch) {
  const int channels = (int)s.channels, width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(channels), inner_wide = vectors(inner);
  float *a = scratch.take(ROWS_AT_ONCE * inner_wide), *zeros = scratch.take(width);
  gate_ffn(f, s, hidden, at, a, a, zeros);
  apply(f.fc2, y, a, inner_wide, at.count);
  for (int r = 0; r < at.count; ++r) {
    add_row(y + r * wide, first + (at.first + r) * channels, channels);
    add_scaled_row(y + r * wide, second + (at.first + r) * channels, f.scale, channels);
  }
}

// Tokens of a window lie one after the other.
INLINE Head block_head(const PackedBlock &b, const Window &at, const int64_t *index,
                       const float *qkv, float *attended) {
  Head h{};
  h.window = (int)b.s.window;
  h.depth = (int)(b.s.channels / b.s.heads);
  h.heads = (int)b.s.heads;
  h.channels = b.s.channels;
  h.scale = 1.0f / std::sqrt((float)h.depth);
  h.place = index;
  h.qkv = qkv;
  h.qkv_stride = vectors(3 * b.s.channels);
  h.out = attended;
  h.out_stride = vectors(b.s.channels);
  h.regions = regions_of(at, h.window, (int)b.s.shift);
  return h;
}

static void attend_windows(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const int window = (int)s.window, tokens = window * window, channels = (int)s.channels;
  const int64_t wide = vectors(channels), qkv_wide = vectors(3 * channels);
  const int64_t rows = whole(tokens, MAX_TILE_ROWS);
  const Window at = window_at(task, s.height / window, s.width / window);
  Scratch scratch(2 * vectors(2 * tokens) + rows * (qkv_wide + wide) + 2 * ROWS_AT_ONCE * wide +
                  ffn_floats(s) + attend_floats(window, channels / (int)s.heads));
  int64_t *pixel = scratch.take<int64_t>(tokens), *index = scratch.take<int64_t>(tokens);
  float *qkv = s.qkv ? s.qkv + task * rows * qkv_wide : scratch.take(rows * qkv_wide);
  float *attended = s.attended ? s.attended + task * rows * wide : scratch.take(rows * wide);
  float *a = scratch.take(ROWS_AT_ONCE * wide), *y = scratch.take(ROWS_AT_ONCE * wide);
  locate_tokens(pixel, at, s.height, s.width, window, (int)s.shift);
  for (int64_t i = 0; i < tokens; ++i) index[i] = i;

  for (int first = 0; first < tokens; first += ROWS_AT_ONCE) {
    const int count = tokens - first < ROWS_AT_ONCE ? tokens - first : ROWS_AT_ONCE;
    for (int r = 0; r < count; ++r) {
      copy_row(a + r * wide, s.x + pixel[first + r] * channels, channels);
      normalize(a + r * wide, a + r * wide, b.norm1, channels);
    }
    apply(b.qkv, qkv + first * qkv_wide, a, wide, count);
  }

  Head h = block_head(b, at, index, qkv, attended);
  h.log_sums = s.log_sums ? s.log_sums + task * tokens * s.heads : nullptr;
  for (h.head = 0; h.head < h.heads; ++h.head)
    attend(h, b.tables + h.head * table_floats(window), scratch);

  for (int first = 0; first < tokens; first += ROWS_AT_ONCE) {
    const int count = tokens - first < ROWS_AT_ONCE ? tokens - first : ROWS_AT_ONCE;
    apply(b.proj, y, attended + first * wide, wide, count);
    for (int r = 0; r < count; ++r) {
      const int64_t place = pixel[first + r] * channels;
      add_row(y + r * wide, s.x + place, channels);
      copy_row(s.after_attention + place, y + r * wide, channels);
    }
    begin_ffn(b.ffn[0], s.hidden1, y, count, pixel + first, scratch);
  }
}

static void choose_prompts(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const Stretch at = stretch_at(s, task);
  const int channels = (int)s.channels, hidden = (int)s.hidden, classes = (int)s.classes;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  const int64_t route_wide = vectors(s.route_hidden), class_wide = vectors(classes);
  Scratch scratch(ROWS_AT_ONCE * (2 * wide + hidden_wide + route_wide + class_wide) +
                  ffn_floats(s));
  float *x = scratch.take(ROWS_AT_ONCE * wide), *a = scratch.take(ROWS_AT_ONCE * wide);
  float *inner = scratch.take(ROWS_AT_ONCE * hidden_wide),
        *route = scratch.take(ROWS_AT_ONCE * route_wide);
  float *scores = scratch.take(ROWS_AT_ONCE * class_wide);
  end_ffn(b.ffn[0], s, s.hidden1, x, at, s.after_attention, s.x, scratch);
  for (int r = 0; r < at.count; ++r) {
    copy_row(s.after_ffn1 + (at.first + r) * channels, x + r * wide, channels);
    normalize(a + r * wide, x + r * wide, b.norm3, channels);
  }
  apply(b.route0, route, a, wide, at.count);
  gelu_rows(route, at.count * route_wide);
  apply(b.route2, scores, route, route_wide, at.count);
  apply(b.in, inner, a, wide, at.count);
  for (int r = 0; r < at.count; ++r) {
    const int64_t token = at.first + r;
    const Noise noise{s.keys ? s.keys + at.batch : nullptr,
                      s.noise ? s.noise + token * classes : nullptr};
    const int64_t inside = token - at.batch * b.length;
    s.chosen[token] = choose_class(scores + r * class_wide, classes, inside, noise);
    copy_row(s.inner + token * hidden, inner + r * hidden_wide, hidden);
  }
}

static void sort_tokens(const void *context, int64_t batch) {
  const PackedBlock &b = *(const PackedBlock *)context;
  sort_by_class(b.s.chosen, b.s.order, b.s.inverse, batch, b.length, b.s.classes);
}

static void order_tokens(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const Stretch at = stretch_at(s, task);
  const int hidden = (int)s.hidden, d_state = (int)s.d_state, projected = b.x.out;
  const int64_t wide = vectors(hidden), projected_wide = vectors(projected);
  Scratch scratch(ROWS_AT_ONCE * (wide + projected_wide) + wide);
  float *u = scratch.take(ROWS_AT_ONCE * wide), *p = scratch.take(ROWS_AT_ONCE * projected_wide);
  float *zeros = scratch.take(wide);
  memset(zeros, 0, wide * sizeof(float));
  const Map map{s.inner + at.batch * b.length * hidden, s.height, s.width, hidden};
  convolve(u, wide, map, b.cpe, at.row, at.column, at.count, zeros);
  for (int r = 0; r < at.count; ++r) {
    const float *x = s.inner + (at.first + r) * hidden;
    float *row = u + r * wide;
    for (int i = 0; i < hidden; i += LANES) store(row + i, load(x + i) * sigmoid(load(row + i)));
  }
  apply(b.x, p, u, wide, at.count);
  for (int r = 0; r < at.count; ++r) {
    const int64_t place = s.inverse[at.first + r];
    float *row = p + r * projected_wide;
    // The prompt stays in raster order while the tokens do not: the authors keep it so, and
    // published weights expect it.
    const float *prompt = b.dictionary + (int64_t)s.chosen[place] * d_state;
    for (int n = 0; n < d_state; ++n) row[b.x.out - d_state + n] += prompt[n];
    copy_row(s.ordered + place * hidden, u + r * wide, hidden);
    copy_row(s.projected + place * projected, row, projected);
  }
}

static void project_tokens(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const int64_t begin = task * ROWS_AT_ONCE;
  const int count = (int)(b.tokens - begin < ROWS_AT_ONCE ? b.tokens - begin : ROWS_AT_ONCE);
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  Scratch scratch(ROWS_AT_ONCE * (wide + hidden_wide) + vectors(2 * ROWS_AT_ONCE) + ffn_floats(s));
  float *a = scratch.take(ROWS_AT_ONCE * hidden_wide), *y = scratch.take(ROWS_AT_ONCE * wide);
  int64_t *place = scratch.take<int64_t>(ROWS_AT_ONCE);
  for (int r = 0; r < count; ++r) {
    place[r] = s.order[begin + r];
    float *row = a + r * hidden_wide;
    copy_row(row, s.scanned + (begin + r) * hidden, hidden);
    normalize(row, row, b.out_norm, hidden);
  }
  apply(b.out, y, a, hidden_wide, count);
  for (int r = 0; r < count; ++r) {
    add_row(y + r * wide, s.after_ffn1 + place[r] * channels, channels);
    copy_row(s.after_scan + place[r] * channels, y + r * wide, channels);
  }
  begin_ffn(b.ffn[1], s.hidden2, y, count, place, scratch);
}

static void finish_rows(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const Stretch at = stretch_at(s, task);
  const int64_t wide = vectors(s.channels);
  Scratch scratch(ROWS_AT_ONCE * wide + ffn_floats(s));
  float *y = scratch.take(ROWS_AT_ONCE * wide);
  end_ffn(b.ffn[1], s, s.hidden2, y, at, s.after_scan, s.after_ffn1, scratch);
  for (int r = 0; r < at.count; ++r)
    copy_row(s.y + (at.first + r) * s.channels, y + r * wide, (int)s.channels);
}

// The scan of the sorted tokens.
static ScanArguments block_scan(const PackedBlock &b) {
  const BlockArguments &s = b.s;
  const int64_t projected = b.x.out;
  ScanArguments scan{};
  scan.batch = s.batch;
  scan.length = b.length;
  scan.channels = s.hidden;
  scan.groups = 1;
  scan.d_state = s.d_state;
  scan.u = s.ordered;
  scan.u_batch = b.length * s.hidden;
  scan.u_token = s.hidden;
  scan.A = b.A;
  scan.low = s.projected;
  scan.low_weight = b.delta_weight;
  scan.rank = s.rank;
  scan.B = s.projected + s.rank;
  scan.C = scan.B + s.d_state;
  scan.B_batch = scan.C_batch = b.length * projected;
  scan.B_token = scan.C_token = projected;
  scan.D = b.D;
  scan.bias = b.delta_bias;
  scan.y = s.scanned;
  scan.states = s.states;
  return scan;
}

static int64_t block_floats(const BlockArguments &s) {
  Arena arena{nullptr, 0};
  pack_block(s, arena);
  return arena.used;
}

static void block_forward(const BlockArguments &s, int threads, Parallel parallel) {
  Arena arena{s.packed, 0};
  const PackedBlock b = pack_block(s, arena);
  const int64_t windows = s.batch * (s.height / s.window) * (s.width / s.window);
  const int64_t stretches = stretches_of(s), lots = (b.tokens + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  run_tasks(attend_windows, &b, windows, threads, parallel);
  run_tasks(choose_prompts, &b, stretches, threads, parallel);
  run_tasks(sort_tokens, &b, s.batch, threads, parallel);
  run_tasks(order_tokens, &b, stretches, threads, parallel);
  scan_forward(block_scan(b), threads, parallel);
  run_tasks(project_tokens, &b, lots, threads, parallel);
  run_tasks(finish_rows, &b, stretches, threads, parallel);
}

}  // namespace MAMBAIR_SET
