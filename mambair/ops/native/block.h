// A whole block of MambaIRv2 (ops/attentive_block.py says what it computes), in six
// sweeps over the map. Each takes a window, a part of a row, or a run of sorted tokens through
// everything that does not need other tokens' results, while it is in cache:
//
//   attend_windows   norm1, wqkv, attention, proj, + x; norm2, fc1
//   choose_prompts   rest of convffn1, + x · scale1; norm3, route, choice of a class; in_proj
//   order_tokens     CPE and gate; to the sorted place, with x_proj and the prompt
//   scan             (scan.h)
//   project_tokens   out_norm, out_proj, back to raster order, + x; norm4, fc1
//   finish_rows      rest of convffn2, + x · scale2

// The parameters, in the order of PARAMETERS in ops/attentive_block.py.
enum BlockParameter {
  NORM1_WEIGHT, NORM1_BIAS, NORM2_WEIGHT, NORM2_BIAS, NORM3_WEIGHT, NORM3_BIAS, NORM4_WEIGHT,
  NORM4_BIAS, SCALE1, SCALE2, QKV_WEIGHT, QKV_BIAS, TABLE, PROJ_WEIGHT, PROJ_BIAS, IN_WEIGHT, IN_BIAS,
  CPE_WEIGHT, CPE_BIAS, X_WEIGHT, DELTA_WEIGHT, DELTA_BIAS, A_LOGS, DS, OUT_NORM_WEIGHT, OUT_NORM_BIAS,
  OUT_WEIGHT, OUT_BIAS, EMBEDDING_A, EMBEDDING_B, ROUTE0_WEIGHT, ROUTE0_BIAS, ROUTE2_WEIGHT,
  ROUTE2_BIAS,
  FFN1,  // FFN_PARAMETERS of each
  FFN2 = FFN1 + 8,
  BLOCK_PARAMETERS = FFN2 + 8,
};
enum FFNParameter {
  FC1_WEIGHT, FC1_BIAS, FC2_WEIGHT, FC2_BIAS, CONV_WEIGHT, CONV_BIAS, GATE_WEIGHT, GATE_BIAS,
};

struct FFN {
  Norm norm;       // the block's, before it
  Linear fc1, fc2;
  Depthwise conv;
  Norm gate;       // of the gated one
  float *scale;    // of the residual after it
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
  Linear delta;       // the same, for gradients
  int64_t tokens, length;  // of the batch, of a picture
};

// Hands out room; without any, it only counts.
struct Room {
  float *base;
  int64_t used;
  float *take(int64_t floats) {
    const int64_t at = used;
    used += vectors(floats);
    return base ? base + at : nullptr;
  }
};

INLINE Norm block_norm(Room &room, const float *weight, const float *bias, int channels, float eps) {
  float *to = room.take(2 * vectors(channels));
  if (!to) return {};
  pack_row(to, weight, channels);
  pack_row(to + vectors(channels), bias, channels);
  return {to, to + vectors(channels), eps};
}

INLINE Linear block_linear(Room &room, bool backward, const float *weight, const float *bias, int in,
                           int out, float padding = 0.0f) {
  float *to = room.take(linear_floats(in, out));
  float *transposed = backward ? room.take(transposed_floats(in, out)) : nullptr;
  if (!to) return {in, out, nullptr, nullptr, nullptr};
  Linear layer = pack_linear(to, weight, bias, in, out, padding);
  if (backward) pack_transposed(layer, transposed, weight);
  return layer;
}

INLINE Depthwise block_depthwise(Room &room, bool backward, const float *weight, const float *bias,
                                 int channels, int kernel) {
  float *to = room.take(depthwise_floats(channels, kernel));
  float *flipped = backward ? room.take(kernel * kernel * vectors(channels)) : nullptr;
  if (!to) return {channels, kernel, nullptr, nullptr, nullptr};
  Depthwise layer = pack_depthwise(to, weight, bias, channels, kernel);
  if (backward) pack_flipped(layer, flipped);
  return layer;
}

INLINE float *block_row(Room &room, const float *from, int channels) {
  float *to = room.take(channels);
  return to ? pack_row(to, from, channels) : nullptr;
}

INLINE FFN block_ffn(Room &room, const BlockArguments &s, const float *const *p, const float *norm_weight,
                     const float *norm_bias, const float *scale) {
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int inner = s.gated ? hidden / 2 : hidden;
  FFN f;
  f.gated = s.gated;
  f.norm = block_norm(room, norm_weight, norm_bias, channels, s.eps);
  f.fc1 = block_linear(room, s.grad_y, p[FC1_WEIGHT], p[FC1_BIAS], channels, hidden);
  f.fc2 = block_linear(room, s.grad_y, p[FC2_WEIGHT], p[FC2_BIAS], inner, channels);
  f.conv = block_depthwise(room, s.grad_y, p[CONV_WEIGHT], p[CONV_BIAS], inner, (int)s.kernel);
  if (s.gated) f.gate = block_norm(room, p[GATE_WEIGHT], p[GATE_BIAS], inner, s.eps);
  f.scale = block_row(room, scale, channels);
  return f;
}

// Packs the parameters into `room`.
static PackedBlock pack_block(const BlockArguments &s, Room &room) {
  const float *const *p = s.parameters;
  const int channels = (int)s.channels, hidden = (int)s.hidden, d_state = (int)s.d_state;
  const int classes = (int)s.classes, rank = (int)s.rank, window = (int)s.window;
  PackedBlock b{s};
  b.length = s.height * s.width;
  b.tokens = s.batch * b.length;
  b.norm1 = block_norm(room, p[NORM1_WEIGHT], p[NORM1_BIAS], channels, s.eps);
  b.norm3 = block_norm(room, p[NORM3_WEIGHT], p[NORM3_BIAS], channels, s.eps);
  b.out_norm = block_norm(room, p[OUT_NORM_WEIGHT], p[OUT_NORM_BIAS], hidden, s.eps);
  b.qkv = block_linear(room, s.grad_y, p[QKV_WEIGHT], p[QKV_BIAS], channels, 3 * channels);
  b.proj = block_linear(room, s.grad_y, p[PROJ_WEIGHT], p[PROJ_BIAS], channels, channels);
  b.in = block_linear(room, s.grad_y, p[IN_WEIGHT], p[IN_BIAS], channels, hidden);
  b.route0 = block_linear(room, s.grad_y, p[ROUTE0_WEIGHT], p[ROUTE0_BIAS], channels, (int)s.route_hidden);
  b.route2 = block_linear(room, s.grad_y, p[ROUTE2_WEIGHT], p[ROUTE2_BIAS], (int)s.route_hidden, classes, -1e30f);
  b.x = block_linear(room, s.grad_y, p[X_WEIGHT], nullptr, hidden, rank + 2 * d_state);
  b.out = block_linear(room, s.grad_y, p[OUT_WEIGHT], p[OUT_BIAS], hidden, channels);
  b.ffn[0] = block_ffn(room, s, p + FFN1, p[NORM2_WEIGHT], p[NORM2_BIAS], p[SCALE1]);
  b.ffn[1] = block_ffn(room, s, p + FFN2, p[NORM4_WEIGHT], p[NORM4_BIAS], p[SCALE2]);
  b.cpe = block_depthwise(room, s.grad_y, p[CPE_WEIGHT], p[CPE_BIAS], hidden, 3);
  b.tables = room.take(s.heads * table_floats(window));
  b.dictionary = room.take(classes * d_state);
  b.A = room.take(d_state * hidden);
  b.delta_weight = room.take(rank * vectors(hidden));
  b.delta_bias = block_row(room, p[DELTA_BIAS], hidden);
  b.D = block_row(room, p[DS], hidden);
  if (s.grad_y) b.delta = block_linear(room, true, p[DELTA_WEIGHT], p[DELTA_BIAS], rank, hidden);
  if (!room.base) return b;

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

// Rows of scratch that an FFN needs.
INLINE int64_t ffn_floats(const BlockArguments &s) {
  return BLOCK * (vectors(s.channels) + 2 * vectors(s.hidden)) + vectors(s.hidden);
}

// norm, fc1, GELU of rows of channels; the gate is normalised. Goes to `hidden` at the given places.
INLINE void begin_ffn(const FFN &f, float *hidden, const float *x, int rows, const int64_t *place,
                      Scratch scratch) {
  const int channels = f.fc1.in, width = f.fc1.out, half = width / 2;
  const int64_t wide = vectors(channels), hidden_wide = vectors(width);
  float *a = scratch.take(BLOCK * wide), *h = scratch.take(BLOCK * hidden_wide);
  float *gate = scratch.take(width);
  for (int r = 0; r < rows; ++r) normalise(a + r * wide, x + r * wide, f.norm, channels);
  apply(f.fc1, h, a, wide, rows);
  gelu_rows(h, rows * hidden_wide);
  for (int r = 0; r < rows; ++r) {
    const float *row = h + r * hidden_wide;
    float *to = hidden + place[r] * width;
    copy_row(to, row, f.gated ? half : width);
    if (!f.gated) continue;
    normalise(gate, row + half, f.gate, half);  // reads up to a vector past it: the next row, or `gate`
    copy_row(to + half, gate, half);
  }
}

// A part of a row of one picture: `count` tokens, the first of which is `first` in the batch.
struct Segment {
  int64_t batch, row, column, first;
  int count;
};

INLINE int64_t segments_of(const BlockArguments &s) {
  return s.batch * s.height * ((s.width + BLOCK - 1) / BLOCK);
}

INLINE Segment segment_at(const BlockArguments &s, int64_t number) {
  const int64_t per_row = (s.width + BLOCK - 1) / BLOCK;
  Segment at;
  at.column = number % per_row * BLOCK;
  at.row = number / per_row % s.height;
  at.batch = number / per_row / s.height;
  at.first = (at.batch * s.height + at.row) * s.width + at.column;
  at.count = (int)(s.width - at.column < BLOCK ? s.width - at.column : BLOCK);
  return at;
}

// What an FFN convolves: of the gated one the second half of its hidden channels.
INLINE Map convolved_map(const FFN &f, const BlockArguments &s, const float *hidden, const Segment &at) {
  const float *picture = hidden + at.batch * s.height * s.width * s.hidden;
  return {picture + (f.gated ? s.hidden / 2 : 0), s.height, s.width, s.hidden};
}

// Of a segment, in scratch: z, the convolution, and what fc2 takes. `zeros`: room for a pixel.
INLINE void gate_ffn(const FFN &f, const BlockArguments &s, const float *hidden, const Segment &at, float *z,
                     float *gated, float *zeros) {
  const int width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(inner);
  memset(zeros, 0, vectors(width) * sizeof(float));
  convolve(z, wide, convolved_map(f, s, hidden, at), f.conv, at.row, at.column, at.count, zeros);
  for (int r = 0; r < at.count; ++r) {
    const float *value = hidden + (at.first + r) * width;
    for (int64_t i = r * wide, k = 0; k < inner; i += LANES, k += LANES)
      store(gated + i, f.gated ? load(z + i) * load(value + k) : load(value + k) + gelu(load(z + i)));
  }
}

// The rest of an FFN of a segment, and the block's residuals `first + second · scale`: y in scratch.
INLINE void end_ffn(const FFN &f, const BlockArguments &s, const float *hidden, float *y, const Segment &at,
                    const float *first, const float *second, Scratch scratch) {
  const int channels = (int)s.channels, width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(channels), inner_wide = vectors(inner);
  float *a = scratch.take(BLOCK * inner_wide), *zeros = scratch.take(width);
  gate_ffn(f, s, hidden, at, a, a, zeros);
  apply(f.fc2, y, a, inner_wide, at.count);
  for (int r = 0; r < at.count; ++r) {
    add_row(y + r * wide, first + (at.first + r) * channels, channels);
    add_scaled_row(y + r * wide, second + (at.first + r) * channels, f.scale, channels);
  }
}

// Tokens of a window lie one after the other.
INLINE Head block_head(const PackedBlock &b, const Window &at, const int64_t *index, const float *qkv,
                       float *attended) {
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
  const int64_t rows = whole(tokens, MAX_ROWS);
  const Window at = window_at(task, s.height / window, s.width / window);
  Scratch scratch(4 * vectors(tokens) + rows * (qkv_wide + wide) + 2 * BLOCK * wide + ffn_floats(s) +
                  attend_floats(window, channels / (int)s.heads));
  int64_t *pixel = (int64_t *)scratch.take(2 * tokens), *index = (int64_t *)scratch.take(2 * tokens);
  float *qkv = s.qkv ? s.qkv + task * rows * qkv_wide : scratch.take(rows * qkv_wide);
  float *attended = s.attended ? s.attended + task * rows * wide : scratch.take(rows * wide);
  float *a = scratch.take(BLOCK * wide), *y = scratch.take(BLOCK * wide);
  locate_tokens(pixel, at, s.height, s.width, window, (int)s.shift);
  for (int64_t i = 0; i < tokens; ++i) index[i] = i;

  for (int first = 0; first < tokens; first += BLOCK) {
    const int count = tokens - first < BLOCK ? tokens - first : BLOCK;
    for (int r = 0; r < count; ++r) {
      copy_row(a + r * wide, s.x + pixel[first + r] * channels, channels);
      normalise(a + r * wide, a + r * wide, b.norm1, channels);
    }
    apply(b.qkv, qkv + first * qkv_wide, a, wide, count);
  }

  Head h = block_head(b, at, index, qkv, attended);
  h.log_sums = s.log_sums ? s.log_sums + task * tokens * s.heads : nullptr;
  for (h.head = 0; h.head < h.heads; ++h.head)
    attend(h, b.tables + h.head * table_floats(window), scratch);

  for (int first = 0; first < tokens; first += BLOCK) {
    const int count = tokens - first < BLOCK ? tokens - first : BLOCK;
    apply(b.proj, y, attended + first * wide, wide, count);
    for (int r = 0; r < count; ++r) {
      const int64_t place = pixel[first + r] * channels;
      add_row(y + r * wide, s.x + place, channels);
      copy_row(s.part1 + place, y + r * wide, channels);
    }
    begin_ffn(b.ffn[0], s.ffn1, y, count, pixel + first, scratch);
  }
}

static void choose_prompts(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const Segment at = segment_at(s, task);
  const int channels = (int)s.channels, hidden = (int)s.hidden, classes = (int)s.classes;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  const int64_t route_wide = vectors(s.route_hidden), class_wide = vectors(classes);
  Scratch scratch(BLOCK * (2 * wide + hidden_wide + route_wide + class_wide) + ffn_floats(s));
  float *x = scratch.take(BLOCK * wide), *a = scratch.take(BLOCK * wide);
  float *inner = scratch.take(BLOCK * hidden_wide), *route = scratch.take(BLOCK * route_wide);
  float *scores = scratch.take(BLOCK * class_wide);
  end_ffn(b.ffn[0], s, s.ffn1, x, at, s.part1, s.x, scratch);
  for (int r = 0; r < at.count; ++r) {
    copy_row(s.half + (at.first + r) * channels, x + r * wide, channels);
    normalise(a + r * wide, x + r * wide, b.norm3, channels);
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
  const Segment at = segment_at(s, task);
  const int hidden = (int)s.hidden, d_state = (int)s.d_state, projected = b.x.out;
  const int64_t wide = vectors(hidden), projected_wide = vectors(projected);
  Scratch scratch(BLOCK * (wide + projected_wide) + wide);
  float *u = scratch.take(BLOCK * wide), *p = scratch.take(BLOCK * projected_wide);
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
    // The prompt stays in raster order while the tokens do not: the authors keep it so, and published
    // weights expect it.
    const float *prompt = b.dictionary + (int64_t)s.chosen[place] * d_state;
    for (int n = 0; n < d_state; ++n) row[b.x.out - d_state + n] += prompt[n];
    copy_row(s.ordered + place * hidden, u + r * wide, hidden);
    copy_row(s.projected + place * projected, row, projected);
  }
}

static void project_tokens(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const int64_t begin = task * BLOCK;
  const int count = (int)(b.tokens - begin < BLOCK ? b.tokens - begin : BLOCK);
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  Scratch scratch(BLOCK * (wide + hidden_wide + 2) + ffn_floats(s));
  float *a = scratch.take(BLOCK * hidden_wide), *y = scratch.take(BLOCK * wide);
  int64_t *place = (int64_t *)scratch.take(2 * BLOCK);
  for (int r = 0; r < count; ++r) {
    place[r] = s.order[begin + r];
    float *row = a + r * hidden_wide;
    copy_row(row, s.scanned + (begin + r) * hidden, hidden);
    normalise(row, row, b.out_norm, hidden);
  }
  apply(b.out, y, a, hidden_wide, count);
  for (int r = 0; r < count; ++r) {
    add_row(y + r * wide, s.half + place[r] * channels, channels);
    copy_row(s.part2 + place[r] * channels, y + r * wide, channels);
  }
  begin_ffn(b.ffn[1], s.ffn2, y, count, place, scratch);
}

static void finish_rows(const void *context, int64_t task) {
  const PackedBlock &b = *(const PackedBlock *)context;
  const BlockArguments &s = b.s;
  const Segment at = segment_at(s, task);
  const int64_t wide = vectors(s.channels);
  Scratch scratch(BLOCK * wide + ffn_floats(s));
  float *y = scratch.take(BLOCK * wide);
  end_ffn(b.ffn[1], s, s.ffn2, y, at, s.part2, s.half, scratch);
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
  Room room{nullptr, 0};
  pack_block(s, room);
  return room.used;
}

static void run_block(const BlockArguments &s, int threads, Parallel parallel) {
  Room room{s.packed, 0};
  const PackedBlock b = pack_block(s, room);
  const int64_t windows = s.batch * (s.height / s.window) * (s.width / s.window);
  const int64_t segments = segments_of(s), runs = (b.tokens + BLOCK - 1) / BLOCK;
  run_tasks(attend_windows, &b, windows, threads, parallel);
  run_tasks(choose_prompts, &b, segments, threads, parallel);
  run_tasks(sort_tokens, &b, s.batch, threads, parallel);
  run_tasks(order_tokens, &b, segments, threads, parallel);
  run_scan(run_scan_forward, block_scan(b), threads, parallel);
  run_tasks(project_tokens, &b, runs, threads, parallel);
  run_tasks(finish_rows, &b, segments, threads, parallel);
}
