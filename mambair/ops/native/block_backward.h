// Gradients of a block (block.h), in seven sweeps the other way round. What a sweep of the forward pass
// left in memory is there; what it only had in cache is computed again. Tasks are parts of the map, not
// its tiles: gradients of parameters are sums that grow part by part, in the same order for any number
// of threads.

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

INLINE LinearSums take_sums(Room &room, const Linear &layer) {
  float *to = room.take(linear_sums_floats(layer.in, layer.out));
  return to ? linear_sums(to, layer.in, layer.out) : LinearSums{};
}

INLINE FFNSums take_sums(Room &room, const FFN &f) {
  FFNSums sums;
  sums.norm = room.take(2 * vectors(f.fc1.in));
  sums.gate = room.take(2 * vectors(f.fc2.in));
  sums.scale = room.take(f.fc2.out);
  sums.conv = room.take(depthwise_floats(f.conv.channels, f.conv.kernel));
  sums.fc1 = take_sums(room, f.fc1);
  sums.fc2 = take_sums(room, f.fc2);
  return sums;
}

static BlockSums take_sums(Room &room, const PackedBlock &b) {
  const BlockArguments &s = b.s;
  BlockSums sums;
  sums.norm1 = room.take(2 * vectors(s.channels));
  sums.norm3 = room.take(2 * vectors(s.channels));
  sums.out_norm = room.take(2 * vectors(s.hidden));
  sums.cpe = room.take(depthwise_floats(b.cpe.channels, b.cpe.kernel));
  sums.qkv = take_sums(room, b.qkv);
  sums.proj = take_sums(room, b.proj);
  sums.in = take_sums(room, b.in);
  sums.route0 = take_sums(room, b.route0);
  sums.route2 = take_sums(room, b.route2);
  sums.x = take_sums(room, b.x);
  sums.delta = take_sums(room, b.delta);
  sums.out = take_sums(room, b.out);
  for (int i = 0; i < 2; ++i) sums.ffn[i] = take_sums(room, b.ffn[i]);
  sums.dictionary = room.take(s.classes * s.d_state);
  sums.tables = room.take(s.heads * (table_floats((int)s.window) - LANES));
  return sums;
}

// What the tasks share.
struct BlockBackward {
  const PackedBlock &b;
  int64_t sums_floats;  // of a part
  float *dictionary_t;  // [d_state][classes in whole vectors]
};

INLINE BlockSums sums_of(const BlockBackward &backward, int64_t part) {
  Room room{backward.b.s.sums + part * backward.sums_floats, 0};
  return take_sums(room, backward.b);
}

INLINE int64_t begin_of(int64_t count, int64_t part, int64_t parts) { return count * part / parts; }

INLINE void load_rows(float *to, const float *map, const Segment &at, int channels) {
  for (int r = 0; r < at.count; ++r)
    copy_row(to + r * vectors(channels), map + (at.first + r) * channels, channels);
}

// Of end_ffn, for gradients of its results in scratch. Those of `second` are set, those of the hidden
// channels and of the convolution go to grad_ffn and grad_conv.
static void end_ffn_backward(const PackedBlock &b, int number, const FFNSums &sums, const Segment &at,
                             const float *grad, const float *second, float *grad_second, Scratch scratch) {
  const BlockArguments &s = b.s;
  const FFN &f = b.ffn[number];
  const float *hidden = number ? s.ffn2 : s.ffn1;
  const int channels = (int)s.channels, width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(channels), inner_wide = vectors(inner);
  float *z = scratch.take(BLOCK * inner_wide), *t = scratch.take(BLOCK * inner_wide);
  float *grad_t = scratch.take(BLOCK * inner_wide), *zeros = scratch.take(width);
  gate_ffn(f, s, hidden, at, z, t, zeros);
  for (int r = 0; r < at.count; ++r) {
    const int64_t to = (at.first + r) * channels;
    each_vector(channels, [&](int i, int count) FLAT {
      const vf g = load(grad + r * wide + i);
      store(sums.scale + i, load(sums.scale + i) + g * load_part(second + to + i, count));
      store_part(grad_second + to + i, g * load(f.scale + i), count);
    });
  }
  linear_backward(f.fc2, sums.fc2, grad, t, at.count, grad_t);
  for (int r = 0; r < at.count; ++r) {
    const float *value = hidden + (at.first + r) * width;
    float *to_hidden = s.grad_ffn + (at.first + r) * width, *to_conv = s.grad_conv + (at.first + r) * inner;
    each_vector(inner, [&](int i, int count) FLAT {
      const vf g = load(grad_t + r * inner_wide + i), conv = load(z + r * inner_wide + i);
      store_part(to_hidden + i, f.gated ? g * conv : g, count);
      store_part(to_conv + i, f.gated ? g * load(value + i) : g * gelu_slope(conv), count);
    });
  }
}

// Of begin_ffn on rows of x, through norm and fc1, once end_ffn_backward is done everywhere: grad_x, in
// scratch.
static void begin_ffn_backward(const PackedBlock &b, int number, const FFNSums &sums, const Segment &at,
                               const float *x, float *grad_x, Scratch scratch) {
  const BlockArguments &s = b.s;
  const FFN &f = b.ffn[number];
  const float *hidden = number ? s.ffn2 : s.ffn1;
  const int channels = (int)s.channels, width = (int)s.hidden, inner = f.fc2.in;
  const int64_t wide = vectors(channels), width_wide = vectors(width), inner_wide = vectors(inner);
  float *rows = scratch.take(BLOCK * wide), *normalised = scratch.take(BLOCK * wide);
  float *before = scratch.take(BLOCK * width_wide), *grad = scratch.take(BLOCK * width_wide);
  float *grad_conv = scratch.take(BLOCK * inner_wide), *zeros = scratch.take(width);
  float *gate = scratch.take(width + LANES);
  memset(zeros, 0, vectors(width) * sizeof(float));
  const Map grads{s.grad_conv + at.batch * b.length * inner, s.height, s.width, inner};
  convolve(grad_conv, inner_wide, grads, transpose(f.conv), at.row, at.column, at.count, zeros);
  convolve_backward(sums.conv, convolved_map(f, s, hidden, at), grads, f.conv, at.row, at.column,
                    at.count, zeros);
  load_rows(rows, x, at, channels);
  for (int r = 0; r < at.count; ++r) normalise(normalised + r * wide, rows + r * wide, f.norm, channels);
  apply(f.fc1, before, normalised, wide, at.count);
  for (int r = 0; r < at.count; ++r) {
    const float *grad_hidden = s.grad_ffn + (at.first + r) * width, *row = before + r * width_wide;
    float *to = grad + r * width_wide, *from_conv = grad_conv + r * inner_wide;
    if (f.gated) {
      for (int i = 0; i < inner; i += LANES) store(gate + i, gelu(load(row + inner + i)));
      normalise_backward(from_conv, gate, f.gate, inner, sums.gate);
      copy_row(to, grad_hidden, inner);
      copy_row(to + inner, from_conv, inner);
    } else {
      for (int i = 0; i < inner; i += LANES) store(to + i, load(grad_hidden + i) + load(from_conv + i));
    }
    for (int i = 0; i < width; i += LANES) store(to + i, load(to + i) * gelu_slope(load(row + i)));
  }
  linear_backward(f.fc1, sums.fc1, grad, normalised, at.count, grad_x);
  for (int r = 0; r < at.count; ++r)
    normalise_backward(grad_x + r * wide, rows + r * wide, f.norm, channels, sums.norm);
}

INLINE int64_t ffn_backward_floats(const BlockArguments &s) {
  return BLOCK * (2 * vectors(s.channels) + 3 * vectors(s.hidden)) + 2 * vectors(s.hidden) + 2 * LANES;
}

template <typename F>
INLINE void each_segment(const BlockArguments &s, int64_t part, const F &f) {
  const int64_t count = segments_of(s), end = begin_of(count, part + 1, s.parts);
  for (int64_t i = begin_of(count, part, s.parts); i < end; ++i) f(segment_at(s, i));
}

static void finish_rows_backward(const void *context, int64_t part) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, part);
  memset(s.sums + part * backward.sums_floats, 0, backward.sums_floats * sizeof(float));
  Scratch scratch(BLOCK * vectors(s.channels) + ffn_backward_floats(s));
  float *grad = scratch.take(BLOCK * vectors(s.channels));
  each_segment(s, part, [&](const Segment &at) {
    load_rows(grad, s.grad_y, at, (int)s.channels);
    end_ffn_backward(b, 1, sums.ffn[1], at, grad, s.half, s.grad_half, scratch);
  });
}

static void project_tokens_backward(const void *context, int64_t part) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, part);
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  Scratch scratch(BLOCK * (wide + 3 * hidden_wide) + ffn_backward_floats(s));
  float *grad = scratch.take(BLOCK * wide), *rows = scratch.take(BLOCK * hidden_wide);
  float *normalised = scratch.take(BLOCK * hidden_wide), *grad_rows = scratch.take(BLOCK * hidden_wide);
  each_segment(s, part, [&](const Segment &at) {
    begin_ffn_backward(b, 1, sums.ffn[1], at, s.part2, grad, scratch);
    for (int r = 0; r < at.count; ++r) {
      const int64_t to = (at.first + r) * channels;
      float *row = grad + r * wide, *scanned = rows + r * hidden_wide;
      add_row(row, s.grad_y + to, channels);
      each_vector(channels, [&](int i, int count) FLAT {
        store_part(s.grad_half + to + i, load_part(s.grad_half + to + i, count) + load(row + i), count);
      });
      copy_row(scanned, s.scanned + (int64_t)s.inverse[at.first + r] * hidden, hidden);
      normalise(normalised + r * hidden_wide, scanned, b.out_norm, hidden);
    }
    linear_backward(b.out, sums.out, grad, normalised, at.count, grad_rows);
    for (int r = 0; r < at.count; ++r) {
      float *row = grad_rows + r * hidden_wide;
      normalise_backward(row, rows + r * hidden_wide, b.out_norm, hidden, sums.out_norm);
      copy_row(s.grad_scanned + (int64_t)s.inverse[at.first + r] * hidden, row, hidden);
    }
  });
}

// Sum over blocks of channels of a gradient of B or C at a place.
INLINE void add_blocks(float *to, const PackedBlock &b, const float *grads, int64_t place) {
  const int64_t blocks = vectors(b.s.hidden) / LANES, batch = place / b.length;
  const float *from = grads + (batch * blocks * b.length + place % b.length) * b.s.d_state;
  for (int64_t block = 0; block < blocks; ++block, from += b.length * b.s.d_state)
    for (int n = 0; n < b.s.d_state; ++n) to[n] += from[n];
}

// The gradients of the gate's convolution go where those of the scanned tokens were.
static void order_tokens_backward(const void *context, int64_t part) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, part);
  const int hidden = (int)s.hidden, rank = (int)s.rank, d_state = (int)s.d_state, projected = b.x.out;
  const int64_t wide = vectors(hidden), rank_wide = vectors(rank), projected_wide = vectors(projected);
  Scratch scratch(BLOCK * (4 * wide + 2 * rank_wide + projected_wide) + wide);
  float *u = scratch.take(BLOCK * wide), *gate = scratch.take(BLOCK * wide);
  float *grad_delta = scratch.take(BLOCK * wide), *grad_u = scratch.take(BLOCK * wide);
  float *low = scratch.take(BLOCK * rank_wide), *grad_low = scratch.take(BLOCK * rank_wide);
  float *grad_projected = scratch.take(BLOCK * projected_wide), *zeros = scratch.take(wide);
  memset(zeros, 0, wide * sizeof(float));
  each_segment(s, part, [&](const Segment &at) {
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
      add_blocks(row + rank, b, s.grad_B, place);
      add_blocks(row + rank + d_state, b, s.grad_C, place);
    }
    linear_backward(b.x, sums.x, grad_projected, u, at.count, grad_u);
    for (int r = 0; r < at.count; ++r) {
      const int64_t from = (int64_t)s.inverse[at.first + r] * hidden, to = (at.first + r) * hidden;
      each_vector(hidden, [&](int i, int count) FLAT {
        const vf g = load(grad_u + r * wide + i) + load_part(s.grad_ordered + from + i, count);
        const vf open = sigmoid(load(gate + r * wide + i)), x = load(s.inner + to + i);
        store_part(s.grad_inner + to + i, g * open, count);
        store_part(s.grad_scanned + to + i, g * x * open * (1.0f - open), count);
      });
    }
  });
}

// Of the route: adds to grad ([row][channels]) the gradients of its rows, whose prompts are in raster
// order; straight-through, as if the softmax of the noisy scores had been taken for the choice.
static void route_backward(const BlockBackward &backward, const BlockSums &sums, const Segment &at,
                           const float *x, float *grad, Scratch scratch) {
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const int classes = (int)s.classes, d_state = (int)s.d_state;
  const int64_t wide = vectors(s.channels), route_wide = vectors(s.route_hidden), class_wide = vectors(classes);
  float *before = scratch.take(BLOCK * route_wide), *route = scratch.take(BLOCK * route_wide);
  float *grad_route = scratch.take(BLOCK * route_wide), *scores = scratch.take(BLOCK * class_wide);
  float *grad_rows = scratch.take(BLOCK * wide), *grad_soft = scratch.take(class_wide);
  if (s.soft) {
    apply(b.route0, before, x, wide, at.count);
    for (int64_t i = 0; i < at.count * route_wide; i += LANES) store(route + i, gelu(load(before + i)));
    apply(b.route2, scores, route, route_wide, at.count);
  }
  for (int r = 0; r < at.count; ++r) {
    const int64_t token = at.first + r;
    const int chosen = s.chosen[token];
    float prompt[MAX_STATES] = {0};
    add_blocks(prompt, b, s.grad_C, token);
    for (int n = 0; n < d_state; ++n) sums.dictionary[chosen * d_state + n] += prompt[n];
    if (!s.soft) continue;
    float *row = scores + r * class_wide;
    const Noise noise{s.keys ? s.keys + at.batch : nullptr, s.noise ? s.noise + token * classes : nullptr};
    choose_class(row, classes, token - at.batch * b.length, noise);
    const float best = row[chosen];
    vf total = splat(0.0f), weighted = splat(0.0f);
    for (int64_t c = 0; c < class_wide; c += LANES) {
      const vf weight = exp2_of_nonpositive((load(row + c) - splat(best)) * LOG2_E);
      vf g = splat(0.0f);
      for (int n = 0; n < d_state; ++n) g += load(backward.dictionary_t + n * class_wide + c) * prompt[n];
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
  for (int r = 0; r < at.count; ++r) add_row(grad + r * wide, grad_rows + r * wide, (int)s.channels);
}

static void choose_prompts_backward(const void *context, int64_t part) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, part);
  const int channels = (int)s.channels, hidden = (int)s.hidden;
  const int64_t wide = vectors(channels), hidden_wide = vectors(hidden);
  const int64_t route_floats = BLOCK * (3 * vectors(s.route_hidden) + vectors(s.classes) + wide) + vectors(s.classes);
  const int64_t ffn_floats = ffn_backward_floats(s);
  Scratch scratch(BLOCK * (3 * wide + hidden_wide) + hidden_wide +
                  (ffn_floats > route_floats ? ffn_floats : route_floats));
  float *rows = scratch.take(BLOCK * wide), *normalised = scratch.take(BLOCK * wide);
  float *grad = scratch.take(BLOCK * wide), *grad_inner = scratch.take(BLOCK * hidden_wide);
  float *zeros = scratch.take(hidden);
  memset(zeros, 0, hidden_wide * sizeof(float));
  each_segment(s, part, [&](const Segment &at) {
    const int64_t picture = at.batch * b.length * hidden;
    const Map map{s.inner + picture, s.height, s.width, hidden};
    const Map grads{s.grad_scanned + picture, s.height, s.width, hidden};
    convolve(grad_inner, hidden_wide, grads, transpose(b.cpe), at.row, at.column, at.count, zeros);
    convolve_backward(sums.cpe, map, grads, b.cpe, at.row, at.column, at.count, zeros);
    load_rows(rows, s.half, at, channels);
    for (int r = 0; r < at.count; ++r) {
      add_row(grad_inner + r * hidden_wide, s.grad_inner + (at.first + r) * hidden, hidden);
      normalise(normalised + r * wide, rows + r * wide, b.norm3, channels);
    }
    linear_backward(b.in, sums.in, grad_inner, normalised, at.count, grad);
    route_backward(backward, sums, at, normalised, grad, scratch);
    for (int r = 0; r < at.count; ++r) {
      float *row = grad + r * wide, *to = s.grad_half + (at.first + r) * channels;
      normalise_backward(row, rows + r * wide, b.norm3, channels, sums.norm3);
      add_row(row, to, channels);
      copy_row(to, row, channels);
    }
    end_ffn_backward(b, 0, sums.ffn[0], at, grad, s.x, s.grad_x, scratch);
  });
}

static void begin_rows_backward(const void *context, int64_t part) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, part);
  const int channels = (int)s.channels;
  const int64_t wide = vectors(channels);
  Scratch scratch(BLOCK * wide + ffn_backward_floats(s));
  float *grad = scratch.take(BLOCK * wide);
  each_segment(s, part, [&](const Segment &at) {
    begin_ffn_backward(b, 0, sums.ffn[0], at, s.part1, grad, scratch);
    for (int r = 0; r < at.count; ++r) {
      const int64_t to = (at.first + r) * channels;
      add_row(grad + r * wide, s.grad_half + to, channels);
      copy_row(s.grad_part + to, grad + r * wide, channels);
    }
  });
}

static void attend_windows_backward(const void *context, int64_t part) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const PackedBlock &b = backward.b;
  const BlockArguments &s = b.s;
  const BlockSums sums = sums_of(backward, part);
  const int window = (int)s.window, tokens = window * window, channels = (int)s.channels;
  const int heads = (int)s.heads, depth = channels / heads;
  const int64_t wide = vectors(channels), qkv_wide = vectors(3 * channels), room = whole(tokens, BLOCK);
  Scratch scratch(4 * vectors(tokens) + room * (2 * wide + qkv_wide) + 3 * BLOCK * wide +
                  differentiate_floats(window, depth, heads));
  int64_t *pixel = (int64_t *)scratch.take(2 * tokens), *index = (int64_t *)scratch.take(2 * tokens);
  float *grad = scratch.take(room * wide), *grad_attended = scratch.take(room * wide);
  float *grad_qkv = scratch.take(room * qkv_wide), *rows = scratch.take(BLOCK * wide);
  float *normalised = scratch.take(BLOCK * wide), *grad_rows = scratch.take(BLOCK * wide);
  const Packed packed = prepare_backward(scratch, b.tables, window, depth, heads);
  for (int64_t i = 0; i < tokens; ++i) index[i] = i;

  const int64_t down = s.height / window, across = s.width / window, count = s.batch * down * across;
  const int64_t tall = whole(tokens, MAX_ROWS);
  for (int64_t number = begin_of(count, part, s.parts); number < begin_of(count, part + 1, s.parts); ++number) {
    const Window at = window_at(number, down, across);
    locate_tokens(pixel, at, s.height, s.width, window, (int)s.shift);
    Head h = block_head(b, at, index, s.qkv + number * tall * qkv_wide, s.attended + number * tall * wide);
    h.log_sums = s.log_sums + number * tokens * heads;
    h.grad_out = grad_attended;
    h.grad_qkv = grad_qkv;
    for (int token = 0; token < tokens; ++token)
      copy_row(grad + token * wide, s.grad_part + pixel[token] * channels, channels);
    for (int first = 0; first < tokens; first += BLOCK)
      linear_backward(b.proj, sums.proj, grad + first * wide, h.out + first * wide,
                      tokens - first < BLOCK ? tokens - first : BLOCK, grad_attended + first * wide);
    pack_masks(packed, h.regions, window);
    for (h.head = 0; h.head < heads; ++h.head) differentiate_head(packed, h);
    for (int first = 0; first < tokens; first += BLOCK) {
      const int some = tokens - first < BLOCK ? tokens - first : BLOCK;
      for (int r = 0; r < some; ++r) {
        copy_row(rows + r * wide, s.x + pixel[first + r] * channels, channels);
        normalise(normalised + r * wide, rows + r * wide, b.norm1, channels);
      }
      linear_backward(b.qkv, sums.qkv, grad_qkv + first * qkv_wide, normalised, some, grad_rows);
      for (int r = 0; r < some; ++r) {
        float *row = grad_rows + r * wide, *to = s.grad_x + pixel[first + r] * channels;
        normalise_backward(row, rows + r * wide, b.norm1, channels, sums.norm1);
        add_row(row, grad + (first + r) * wide, channels);
        add_row(row, to, channels);
        copy_row(to, row, channels);
      }
    }
  }
  unpack_grad_tables(sums.tables, packed, window, heads);
}

INLINE void unpack_norm(float *const *grads, int weight, const float *sums, int channels) {
  copy_row(grads[weight], sums, channels);
  copy_row(grads[weight + 1], sums + vectors(channels), channels);
}

INLINE void unpack_layer(float *const *grads, int weight, const LinearSums &sums, const Linear &layer) {
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
  const int64_t entries = table_floats((int)s.window) - LANES;
  for (int64_t head = 0; head < s.heads; ++head)
    for (int64_t i = 0; i < entries; ++i) g[TABLE][i * s.heads + head] = sums.tables[head * entries + i];

  // Of the scan, by blocks of channels of every batch element; A = -exp(A_logs).
  const int64_t blocks = vectors(hidden) / LANES;
  for (int e = 0; e < hidden; ++e) {
    float grad_D = 0.0f, grad_A[MAX_STATES] = {0};
    for (int64_t batch = 0; batch < s.batch; ++batch) {
      const int64_t block = batch * blocks + e / LANES, lane = e % LANES;
      grad_D += s.grad_D[block * LANES + lane];
      for (int n = 0; n < d_state; ++n) grad_A[n] += s.grad_A[(block * d_state + n) * LANES + lane];
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

const int64_t SUMS_AT_ONCE = 1 << 14;

// The parts of sums are added to the first, some floats a task.
static void add_sums(const void *context, int64_t task) {
  const BlockBackward &backward = *(const BlockBackward *)context;
  const int64_t begin = task * SUMS_AT_ONCE, left = backward.sums_floats - begin;
  add_parts(backward.b.s.sums + begin, left < SUMS_AT_ONCE ? left : SUMS_AT_ONCE, backward.sums_floats,
            backward.b.s.parts);
}

static int64_t block_sums_floats(const BlockArguments &s) {
  Room nothing{nullptr, 0}, room{nullptr, 0};
  const PackedBlock b = pack_block(s, nothing);
  take_sums(room, b);
  return room.used;
}

static void run_block_backward(const BlockArguments &s, int threads, Parallel parallel) {
  Room room{s.packed, 0};
  const PackedBlock b = pack_block(s, room);
  const int64_t class_wide = vectors(s.classes);
  std::vector<float> dictionary_t(s.d_state * class_wide);
  for (int64_t c = 0; c < s.classes; ++c)
    for (int64_t n = 0; n < s.d_state; ++n)
      dictionary_t[n * class_wide + c] = b.dictionary[c * s.d_state + n];
  const BlockBackward backward{b, block_sums_floats(s), dictionary_t.data()};

  run_tasks(finish_rows_backward, &backward, s.parts, threads, parallel);
  run_tasks(project_tokens_backward, &backward, s.parts, threads, parallel);
  ScanArguments scan = block_scan(b);
  scan.grad_y = s.grad_scanned;
  scan.grad_u = s.grad_ordered;
  scan.grad_delta = s.grad_delta;
  scan.grad_B = s.grad_B;
  scan.grad_C = s.grad_C;
  scan.grad_A = s.grad_A;
  scan.grad_D = s.grad_D;
  scan.grad_bias = s.grad_bias;
  run_scan(run_scan_backward, scan, threads, parallel);
  run_tasks(order_tokens_backward, &backward, s.parts, threads, parallel);
  run_tasks(choose_prompts_backward, &backward, s.parts, threads, parallel);
  run_tasks(begin_rows_backward, &backward, s.parts, threads, parallel);
  run_tasks(attend_windows_backward, &backward, s.parts, threads, parallel);
  run_tasks(add_sums, &backward, (backward.sums_floats + SUMS_AT_ONCE - 1) / SUMS_AT_ONCE, threads, parallel);
  unpack_sums(b, sums_of(backward, 0));
}
