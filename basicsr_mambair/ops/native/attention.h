// Window attention: scores, bias, mask, softmax and products of one window and head in one pass, all in
// cache. Lanes are queries of a row of the window (keys, in the backward pass): sums over keys and
// channels need no sums of lanes, and the biases of a row of queries and one key stand side by side in
// the table of relative positions. Scores are kept in units of log2.

const int KEYS = VECTOR_REGISTERS == 32 ? 8 : VECTOR_REGISTERS == 16 ? 4 : 2;  // scored at once
const int SUMS = VECTOR_REGISTERS == 32 ? 16 : 4;  // channels whose weighted sums are in registers
const int QUERIES = VECTOR_REGISTERS == 32 ? 8 : 2;  // differentiated at once
static_assert(SUMS == 4 || SUMS == 16, "weigh_part knows these");
const float BETWEEN_REGIONS = -100.0f;

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
INLINE void locate_tokens(int64_t *pixel, const Window &at, int64_t height, int64_t width, int window,
                          int shift) {
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
  int64_t channels;      // of all heads
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
INLINE int fours(int depth) { return (depth + 3) / 4 * 4; }

// The biases of every head from ((2w - 1)^2, heads): [head][(2w - 1)^2 + LANES], in units of log2;
// vectors may reach past the end.
INLINE int64_t table_floats(int window) { return (int64_t)(2 * window - 1) * (2 * window - 1) + LANES; }
INLINE void pack_tables(float *to, const float *table, int64_t window, int64_t heads) {
  const int64_t entries = table_floats((int)window) - LANES;
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

// `depth` floats of `count` lanes, which lie one after the other in each of `rows`, to [depth][LANES],
// times a factor.
INLINE void rows_to_lanes(float *RESTRICT to, const float *const *rows, int count, float factor, int depth) {
  int lane = 0;
  for (; lane + 4 <= count; lane += 4, rows += 4) {
    int i = 0;
    for (; i + 4 <= depth; i += 4) {
      float a[4][4];
      for (int j = 0; j < 4; ++j) memcpy(a[j], rows[j] + i, sizeof a[j]);
      for (int k = 0; k < 4; ++k) {
        const float four[4] = {a[0][k] * factor, a[1][k] * factor, a[2][k] * factor, a[3][k] * factor};
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
        const float four[4] = {a[0][j] * factor, a[1][j] * factor, a[2][j] * factor, a[3][j] * factor};
        memcpy(rows[j] + i, four, sizeof four);
      }
    }
    for (; i < depth; ++i)
      for (int j = 0; j < 4; ++j) rows[j][i] = from[i * LANES + lane + j] * factor;
  }
  for (; lane < count; ++lane, ++rows)
    for (int i = 0; i < depth; ++i) rows[0][i] = from[i * LANES + lane] * factor;
}

// to ([token][stride]) from the part (queries 0, keys 1, values 2) of every token; zeros past depth.
INLINE void pack_tokens(float *to, int stride, const Head &h, int part, float factor) {
  const float *from = h.qkv + part * h.channels + h.head * h.depth;
  const int tokens = h.window * h.window;
  for (int token = 0; token < tokens; ++token, to += stride) {
    copy_scaled(to, from + h.place[token] * h.qkv_stride, factor, h.depth);
    for (int i = h.depth; i < stride; ++i) to[i] = 0.0f;
  }
}

// The same with tokens in lanes: [row][piece][depth][LANES]; zeros past the row.
INLINE void pack_lanes(float *to, const Head &h, int part, float factor) {
  const float *from = h.qkv + part * h.channels + h.head * h.depth;
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
  for (int region = 0; region < 4; ++region)
    for (int lane = 0; lane < LANES; ++lane)
      mask[region * LANES + lane] =
          regions.of(row, column + lane) == region ? 0.0f : BETWEEN_REGIONS * LOG2_E;
}

// Scores of one vector of queries by COUNT keys of a row; gives their maximum with `highest`. `bias` is
// the first key's, the next key's stands before it.
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
static NOINLINE vf score_window(float *to, const float *queries, const float *keys, const float *table,
                                const Head &h, int row, int column) {
  const int window = h.window, depth = h.depth, span = 2 * window - 1;
  float mask[4 * LANES];
  if (MASKED) pack_mask(mask, h.regions, row, column);
  vf highest = splat(-1e30f);
  for (int y = 0; y < window; ++y) {
    const float *bias = table + (row - y + window - 1) * span + column + window - 1;
    const float *row_mask = mask + h.regions.of(y, -1) * LANES;
    int x = 0;
    for (; x + KEYS <= window; x += KEYS, keys += KEYS * depth, to += KEYS * LANES)
      highest = score_keys<KEYS, MASKED>(to, queries, keys, bias - x, row_mask,
                                         h.regions.first_column - x, depth, highest);
    for (; x < window; ++x, keys += depth, to += LANES)
      highest = score_keys<1, MASKED>(to, queries, keys, bias - x, row_mask, h.regions.first_column - x,
                                      depth, highest);
  }
  return highest;
}

// out ([COUNT][LANES]) = sum over tokens of weights times values ([token][stride]), from scores the
// first time, when the weights take their place; gives the sum of the weights.
template <int COUNT, bool FIRST>
static NOINLINE vf weigh_values(float *out, float *scores, const float *values, int stride, int tokens,
                                vf highest) {
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
INLINE vf weigh_part(float *out, float *scores, const float *values, int stride, int tokens, vf highest,
                     int count) {
  if (count >= SUMS) return weigh_values<SUMS, FIRST>(out, scores, values, stride, tokens, highest);
  if (count == 12) return weigh_values<12, FIRST>(out, scores, values, stride, tokens, highest);
  if (count == 8) return weigh_values<8, FIRST>(out, scores, values, stride, tokens, highest);
  return weigh_values<4, FIRST>(out, scores, values, stride, tokens, highest);
}

INLINE int64_t attend_floats(int window, int depth) {
  const int64_t tokens = (int64_t)window * window;
  return lanes_of(window) * depth + tokens * (depth + fours(depth) + LANES) + fours(depth) * LANES +
         5 * LANES;
}

// One head of one window.
static void attend(const Head &h, const float *table, Scratch scratch) {
  const int window = h.window, depth = h.depth, tokens = window * window, padded = fours(depth);
  float *queries = scratch.take(lanes_of(window) * depth);
  float *keys = scratch.take(tokens * depth), *values = scratch.take(tokens * padded);
  float *scores = scratch.take(tokens * LANES), *sums = scratch.take(padded * LANES);
  pack_lanes(queries, h, 0, h.scale * LOG2_E);
  pack_tokens(keys, depth, h, 1, 1.0f);
  pack_tokens(values, padded, h, 2, 1.0f);
  for (int row = 0; row < window; ++row)
    for (int column = 0; column < window; column += LANES, queries += depth * LANES) {
      const vf highest = h.regions.any
                             ? score_window<true>(scores, queries, keys, table, h, row, column)
                             : score_window<false>(scores, queries, keys, table, h, row, column);
      const vf total = weigh_part<true>(sums, scores, values, padded, tokens, highest, padded);
      for (int first = SUMS; first < padded; first += SUMS)
        weigh_part<false>(sums + first * LANES, scores, values + first, padded, tokens, highest,
                          padded - first);
      const vf factor = 1.0f / total;
      for (int i = 0; i < depth; ++i) store(sums + i * LANES, load(sums + i * LANES) * factor);
      const int64_t *place = h.place + row * window + column;
      const int count = window - column < LANES ? window - column : LANES;
      float *rows[LANES];
      for (int lane = 0; lane < count; ++lane) rows[lane] = h.out + place[lane] * h.out_stride + h.head * depth;
      lanes_to_rows(rows, sums, count, 1.0f, depth);
      if (!h.log_sums) continue;
      alignas(64) float peaks[LANES], totals[LANES];
      store(peaks, highest);
      store(totals, total);
      for (int lane = 0; lane < count; ++lane)
        h.log_sums[place[lane] * h.heads + h.head] = peaks[lane] + std::log2(totals[lane]);
    }
}

INLINE Head head_of(const AttentionArguments &s, const int64_t *place, const Window &at, int64_t head) {
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

static void run_attention_forward(const void *context, int64_t task) {
  const AttentionArguments &s = *(const AttentionArguments *)context;
  const int window = (int)s.window;
  const Window at = window_at(task / s.heads, s.height / window, s.width / window);
  const Head shape = head_of(s, nullptr, at, task % s.heads);
  Scratch scratch(2 * vectors(window * window) + attend_floats(window, shape.depth));
  int64_t *place = (int64_t *)scratch.take(2 * window * window);
  locate_tokens(place, at, s.height, s.width, window, (int)s.shift);
  const Head h = head_of(s, place, at, task % s.heads);
  attend(h, s.tables + h.head * table_floats(window), scratch);
}

// Operands of the backward pass of one window and head, packed.
struct Packed {
  float *queries;      // [token][depth], times scale and log2(e)
  float *grad_out;     // [token][depth]
  float *keys_t, *values_t;            // [row][piece][depth][LANES]
  float *grad_keys_t, *grad_values_t;  // likewise
  float *keys;         // [token of whole pieces][depth in whole vectors]
  float *log_sums, *inner;  // (token); inner: dO·O
  float *masks;        // [row][piece][region][LANES], of border windows
  float *grad_scores;  // [query][token of whole pieces]
  float *table, *grad_table;  // of every head, from its end
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
          weight[j] += load(p.masks + (vector * 4 + h.regions.of(row + j, column)) * LANES);
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
      copy_scaled(to, grads + j * LANES, h.scale, h.depth - first < LANES ? h.depth - first : LANES);
    }
  }
}

INLINE int64_t differentiate_floats(int window, int depth, int heads) {
  const int64_t tokens = (int64_t)window * window, wide = lanes_of(window);
  return 2 * vectors(tokens * depth) + 4 * wide * depth + wide * vectors(depth) + 2 * vectors(tokens) +
         (4 + QUERIES) * wide + 2 * heads * vectors(table_floats(window));
}

// Room, and the tables of every head from their end.
INLINE Packed prepare_backward(Scratch &scratch, const float *tables, int window, int depth, int heads) {
  const int64_t tokens = (int64_t)window * window, wide = lanes_of(window);
  const int64_t table_size = vectors(table_floats(window)), entries = table_floats(window) - LANES;
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
  p.masks = scratch.take(4 * wide);
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
      pack_mask(p.masks + (y * pieces + piece) * 4 * LANES, regions, y, piece * LANES);
}

// Gradients of one head of one window; its table's grow.
INLINE void differentiate_head(Packed p, const Head &h) {
  const int window = h.window, depth = h.depth;
  const int64_t wide = lanes_of(window), key_stride = vectors(depth), first_channel = h.head * depth;
  const int pieces = pieces_of(window);
  p.table += h.head * vectors(table_floats(window));
  p.grad_table += h.head * vectors(table_floats(window));
  pack_tokens(p.queries, depth, h, 0, h.scale * LOG2_E);
  pack_lanes(p.keys_t, h, 1, 1.0f);
  pack_lanes(p.values_t, h, 2, 1.0f);
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
  const int64_t entries = table_floats(window) - LANES;
  for (int head = 0; head < heads; ++head, to += entries) {
    const float *from = p.grad_table + head * vectors(table_floats(window));
    std::reverse_copy(from, from + entries, to);
  }
}

// Gradients of the windows `part`, `part + parts`, …, all heads of a window while it is in cache.
static void run_attention_backward(const void *context, int64_t part) {
  const AttentionArguments &s = *(const AttentionArguments *)context;
  const int window = (int)s.window, heads = (int)s.heads, depth = (int)(s.channels / s.heads);
  const int64_t rows = s.height / window, columns = s.width / window;
  Scratch scratch(2 * vectors(window * window) + differentiate_floats(window, depth, heads));
  int64_t *place = (int64_t *)scratch.take(2 * window * window);
  const Packed p = prepare_backward(scratch, s.tables, window, depth, heads);
  for (int64_t number = part; number < s.batch * rows * columns; number += s.parts) {
    const Window at = window_at(number, rows, columns);
    locate_tokens(place, at, s.height, s.width, window, (int)s.shift);
    pack_masks(p, regions_of(at, window, (int)s.shift), window);
    for (int head = 0; head < heads; ++head) differentiate_head(p, head_of(s, place, at, head));
  }
  unpack_grad_tables(s.grad_table + part * heads * (table_floats(window) - LANES), p, window, heads);
}
