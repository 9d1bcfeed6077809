// Window attention: scores, bias, mask, softmax and products of one window and head in one pass, all in
// cache. Queries, keys, values and gradients are read from the map where they are, rolled or not, and
// results are written where the window came from. Scores are kept in units of log2.

const int CHANNELS = 4;  // channels of a tile where the vectors run over tokens

struct Window {
  int64_t batch, row, column, head;
  bool last_row, last_column;
};

INLINE Window attention_window(const AttentionArguments &s, int64_t window, int64_t head) {
  int64_t rows = s.height / s.window, columns = s.width / s.window;
  Window at;
  at.head = head;
  at.column = window % columns;
  at.row = window / columns % rows;
  at.batch = window / columns / rows;
  at.last_row = at.row == rows - 1;
  at.last_column = at.column == columns - 1;
  return at;
}

// One window and head, packed. `wide` tokens are a whole number of tiles; those past the window are
// zeros.
struct PackedWindow {
  float *q;       // [token][DEPTH], times scale and log2(e)
  float *k, *v;   // [token][DEPTH]
  float *k_t, *v_t;  // [channel][token]
  float *mask;    // [region][token], of border windows
  int64_t *pixel;  // of every token, before the roll
  int *region;    // which of the regions that the roll brought together it belongs to
  bool masked;
};

INLINE void locate_tokens(const AttentionArguments &s, const Window &at, const PackedWindow &to) {
  int64_t token = 0;
  for (int64_t row = 0; row < s.window; ++row) {
    int64_t y = at.row * s.window + row + s.shift;
    if (y >= s.height) y -= s.height;
    const int below = at.last_row && row >= s.window - s.shift ? 2 : 0;
    for (int64_t column = 0; column < s.window; ++column, ++token) {
      int64_t x = at.column * s.window + column + s.shift;
      if (x >= s.width) x -= s.width;
      to.pixel[token] = (at.batch * s.height + y) * s.width + x;
      to.region[token] = below + (at.last_column && column >= s.window - s.shift ? 1 : 0);
    }
  }
}

// `depth` floats, in fours where they go.
INLINE void copy_channels(float *RESTRICT to, const float *RESTRICT from, float factor, int depth) {
  int i = 0;
  for (; i + 4 <= depth; i += 4) {
    float four[4];
    for (int k = 0; k < 4; ++k) four[k] = from[i + k] * factor;
    memcpy(to + i, four, sizeof four);
  }
  for (; i < depth; ++i) to[i] = from[i] * factor;
}

// The same, filled up to DEPTH with zeros.
template <int DEPTH>
INLINE void copy_padded(float *to, const float *from, int depth, float factor) {
  for (int k = 0; k < DEPTH; k += LANES) store(to + k, splat(0.0f));
  copy_channels(to, from, factor, depth);
}

template <int DEPTH>
INLINE void clear_tokens(float *to, int tokens, int wide) {
  memset(to + tokens * DEPTH, 0, (size_t)(wide - tokens) * DEPTH * sizeof(float));
}

// to ([channel][wide]) from [wide][DEPTH].
template <int DEPTH>
static void transpose_tokens(float *to, const float *from, int64_t wide, int depth) {
  for (int64_t token = 0; token < wide; token += 4)
    for (int i = 0; i < depth; ++i) {
      float *column = to + i * wide + token;
      for (int k = 0; k < 4; ++k) column[k] = from[(token + k) * DEPTH + i];
    }
}

template <int DEPTH>
static void pack_window(const AttentionArguments &s, const Window &at, const PackedWindow &to) {
  const int tokens = (int)(s.window * s.window), wide = (int)s.padded_tokens;
  const int depth = (int)(s.channels / s.heads);
  locate_tokens(s, at, to);
  for (int token = 0; token < tokens; ++token) {
    const float *from = s.qkv + to.pixel[token] * 3 * s.channels + at.head * depth;
    copy_padded<DEPTH>(to.q + token * DEPTH, from, depth, s.scale * LOG2_E);
    copy_padded<DEPTH>(to.k + token * DEPTH, from + s.channels, depth, 1.0f);
    copy_padded<DEPTH>(to.v + token * DEPTH, from + 2 * s.channels, depth, 1.0f);
  }
  for (float *part : {to.q, to.k, to.v}) clear_tokens<DEPTH>(part, tokens, wide);
  transpose_tokens<DEPTH>(to.k_t, to.k, wide, depth);
  if (to.v_t) transpose_tokens<DEPTH>(to.v_t, to.v, wide, depth);
  if (!to.masked) return;
  for (int region = 0; region < 4; ++region)
    for (int token = 0; token < wide; ++token)
      to.mask[region * wide + token] =
          token >= tokens || to.region[token] == region ? 0.0f : -100.0f * LOG2_E;
}

// Scores of the rows from `first` on, bias and mask added.
template <int DEPTH>
INLINE void score_rows(float *to, const AttentionArguments &s, const Window &at, const PackedWindow &p,
                       int first) {
  const int tokens = (int)(s.window * s.window);
  const float *bias[ROWS], *mask[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    const int row = first + r < tokens ? first + r : tokens - 1;  // rows past the window: any
    bias[r] = s.bias + (at.head * tokens + row) * s.padded_tokens;
    mask[r] = p.mask + (p.masked ? p.region[row] * s.padded_tokens : 0);
  }
  multiply_rows<DEPTH>(to, p.q + first * DEPTH, p.k_t, bias, p.masked ? mask : nullptr, s.padded_tokens,
                       (int)(s.channels / s.heads), DEPTH);
}

// Scores become weights, still to be divided by `total`; gives log2 of what they are divided by in all.
static NOINLINE float softmax_row(float *scores, int64_t wide, float *total) {
  vf top = load(scores);
  for (int64_t column = LANES; column < wide; column += LANES) top = maximum(top, load(scores + column));
  const float highest = largest(top);
  vf all = splat(0.0f);
  for (int64_t column = 0; column < wide; column += LANES) {
    const vf weight = exp2_of_nonpositive(load(scores + column) - splat(highest));
    all += weight;
    store(scores + column, weight);
  }
  *total = sum(all);
  return highest + std::log2(*total);
}

// out ([COUNT][VECTORS * LANES]) = weights ([COUNT][wide]) times values ([token][VECTORS * LANES]).
template <int VECTORS, int COUNT>
static NOINLINE void weighted_values(float *out, const float *weights, const float *values,
                                     int64_t tokens, int64_t wide) {
  const float *rows[COUNT];
  unroll<COUNT>([&](int r) FLAT { rows[r] = weights + r * wide; });
  vf sums[COUNT][VECTORS];
  unroll<COUNT>([&](int r) FLAT {
    unroll<VECTORS>([&](int k) FLAT { sums[r][k] = splat(0.0f); });
  });
  for (int64_t token = 0; token < tokens; ++token, values += VECTORS * LANES)
    unroll<VECTORS>([&](int k) FLAT {
      const vf value = load(values + k * LANES);
      unroll<COUNT>([&](int r) FLAT { sums[r][k] += splat(rows[r][token]) * value; });
    });
  unroll<COUNT>([&](int r) FLAT {
    unroll<VECTORS>([&](int k) FLAT { store(out + (r * VECTORS + k) * LANES, sums[r][k]); });
  });
}

// The rows of a block: those that are held in registers, as often as needed.
template <int VECTORS>
INLINE void weighted_rows(float *out, const float *weights, const float *values, int64_t tokens,
                          int64_t wide) {
  const int COUNT = VECTORS <= 2 ? ROWS : ROWS / 2;
  for (int r = 0; r < ROWS; r += COUNT)
    weighted_values<VECTORS, COUNT>(out + r * VECTORS * LANES, weights + r * wide, values, tokens, wide);
}

// VECTORS: vectors that hold one head's channels.
template <int VECTORS>
static void attention_forward(const AttentionArguments &s, int64_t task) {
  const int DEPTH = VECTORS * LANES;
  const Window at = attention_window(s, task / s.heads, task % s.heads);
  const int tokens = (int)(s.window * s.window);
  const int depth = (int)(s.channels / s.heads);
  const int wide = (int)s.padded_tokens;

  PackedWindow p;
  p.masked = s.shift && (at.last_row || at.last_column);
  p.q = thread_scratch((size_t)wide * (3 * DEPTH + depth + ROWS + 7));
  p.k = p.q + (size_t)wide * DEPTH;
  p.v = p.k + (size_t)wide * DEPTH;
  p.k_t = p.v + (size_t)wide * DEPTH;
  p.v_t = nullptr;
  float *weights = p.k_t + (size_t)wide * depth;
  p.mask = weights + (size_t)wide * ROWS;
  p.pixel = (int64_t *)(p.mask + (size_t)wide * 4);
  p.region = (int *)(p.pixel + wide);
  pack_window<DEPTH>(s, at, p);

  for (int first = 0; first < tokens; first += ROWS) {
    float out[ROWS * DEPTH], total[ROWS], log_sum[ROWS];
    score_rows<DEPTH>(weights, s, at, p, first);
    for (int r = 0; r < ROWS; ++r) log_sum[r] = softmax_row(weights + r * wide, wide, &total[r]);
    weighted_rows<VECTORS>(out, weights, p.v, tokens, wide);
    for (int r = 0; r < ROWS && first + r < tokens; ++r) {
      const int64_t pixel = p.pixel[first + r];
      float *to = s.out + pixel * s.channels + at.head * depth;
      copy_channels(to, out + r * DEPTH, 1.0f / total[r], depth);
      if (s.log_sums) s.log_sums[pixel * s.heads + at.head] = log_sum[r];
    }
  }
}

// to ([channel][token]) = sum over rows of values ([row][DEPTH]) times weights ([row][token]).
template <int DEPTH>
static NOINLINE void gather_by_column(float *to, const float *weights, const float *values, int rows,
                             int64_t wide, int depth) {
  for (int column = 0; column < wide; column += LANES * COLUMNS)
    for (int i = 0; i < depth; i += CHANNELS) {  // values are 0 past depth
      const float *value_row = values + i, *weight_row = weights + column;
      vf sums[CHANNELS][COLUMNS];
      unroll<CHANNELS>([&](int k) FLAT {
        unroll<COLUMNS>([&](int c) FLAT { sums[k][c] = splat(0.0f); });
      });
      for (int row = 0; row < rows; ++row, value_row += DEPTH, weight_row += wide) {
        const vf left = load(weight_row), right = load(weight_row + (COLUMNS - 1) * LANES);
        unroll<CHANNELS>([&](int k) FLAT {
          const vf value = splat(value_row[k]);
          sums[k][0] += value * left;
          if (COLUMNS > 1) sums[k][COLUMNS - 1] += value * right;
        });
      }
      unroll<CHANNELS>([&](int k) FLAT {
        unroll<COLUMNS>([&](int c) FLAT {
          store(to + (i + k) * wide + column + c * LANES, sums[k][c]);
        });
      });
    }
}

// Scores become weights; their gradients become those of the scores, which are also added to the bias's.
static NOINLINE void softmax_row_backward(float *scores, float *grads, float *grad_bias, int64_t wide,
                                          float log_sum, float inner) {
  for (int64_t column = 0; column < wide; column += LANES) {
    const vf weight = exp2_of_nonpositive(load(scores + column) - splat(log_sum));
    const vf grad = weight * (load(grads + column) - splat(inner));
    store(scores + column, weight);
    store(grads + column, grad);
    store(grad_bias + column, load(grad_bias + column) + grad);
  }
}

// Gradients of one head's windows `part`, `part + parts`, …. The probabilities P are recomputed from
// the kept log-sums; with dP = dO Vᵀ and dS = P (dP − dO·O): dQ = dS K, dK = dSᵀ Q, dV = Pᵀ dO, and the
// bias takes the sum of dS over the windows, here those of the part.
template <int VECTORS>
static void attention_backward(const AttentionArguments &s, int64_t task) {
  const int DEPTH = VECTORS * LANES;
  const int64_t windows = s.batch * (s.height / s.window) * (s.width / s.window);
  const int64_t head = task / s.parts, part = task % s.parts;
  const int tokens = (int)(s.window * s.window), wide = (int)s.padded_tokens;
  const int depth = (int)(s.channels / s.heads);
  const int tall = (tokens + ROWS - 1) / ROWS * ROWS;

  PackedWindow p;
  p.q = thread_scratch((size_t)wide * (6 * DEPTH + 2 * depth + 8 + 2 * tall) + 2 * tall);
  p.k = p.q + (size_t)wide * DEPTH;
  p.v = p.k + (size_t)wide * DEPTH;
  float *grad_out = p.v + (size_t)wide * DEPTH;      // [token][DEPTH]
  float *grad_k_t = grad_out + (size_t)wide * DEPTH;  // [DEPTH][token]
  float *grad_v_t = grad_k_t + (size_t)wide * DEPTH;
  p.k_t = grad_v_t + (size_t)wide * DEPTH;
  p.v_t = p.k_t + (size_t)wide * depth;
  p.mask = p.v_t + (size_t)wide * depth;
  p.pixel = (int64_t *)(p.mask + (size_t)wide * 4);
  p.region = (int *)(p.pixel + wide);
  float *weights = (float *)(p.region + wide);       // P, [row][token]
  float *grad_scores = weights + (size_t)wide * tall;  // dS, [row][token]
  float *log_sums = grad_scores + (size_t)wide * tall;
  float *inner = log_sums + tall;                    // dO·O of every row
  float *zeros = inner + tall;                       // (wide)
  memset(zeros, 0, wide * sizeof(float));

  float *grad_bias = s.grad_bias + task * tokens * wide;
  memset(grad_bias, 0, (size_t)tokens * wide * sizeof(float));

  for (int64_t window = part; window < windows; window += s.parts) {
    const Window at = attention_window(s, window, head);
    p.masked = s.shift && (at.last_row || at.last_column);
    pack_window<DEPTH>(s, at, p);
    for (int token = 0; token < tokens; ++token) {
      const int64_t pixel = p.pixel[token];
      const float *out = s.out + pixel * s.channels + head * depth;
      const float *grad = s.grad_out + pixel * s.channels + head * depth;
      copy_padded<DEPTH>(grad_out + token * DEPTH, grad, depth, 1.0f);
      log_sums[token] = s.log_sums[pixel * s.heads + head];
      inner[token] = 0.0f;
      for (int i = 0; i < depth; ++i) inner[token] += out[i] * grad[i];
    }

    clear_tokens<DEPTH>(grad_out, tokens, wide);

    for (int first = 0; first < tokens; first += ROWS) {
      float *weight_rows = weights + first * wide, *grad_rows = grad_scores + first * wide;
      const float *nothing[ROWS];
      for (int r = 0; r < ROWS; ++r) nothing[r] = zeros;
      score_rows<DEPTH>(weight_rows, s, at, p, first);
      multiply_rows<DEPTH>(grad_rows, grad_out + first * DEPTH, p.v_t, nothing, nullptr, wide, depth,
                           DEPTH);
      const int rows = tokens - first < ROWS ? tokens - first : ROWS;
      for (int r = 0; r < rows; ++r)
        softmax_row_backward(weight_rows + r * wide, grad_rows + r * wide,
                             grad_bias + (int64_t)(first + r) * wide, wide, log_sums[first + r],
                             inner[first + r]);
      float grad_q[ROWS * DEPTH];
      weighted_rows<VECTORS>(grad_q, grad_rows, p.k, tokens, wide);
      for (int r = 0; r < rows; ++r)
        copy_channels(s.grad_qkv + p.pixel[first + r] * 3 * s.channels + head * depth,
                      grad_q + r * DEPTH, s.scale, depth);
    }

    gather_by_column<DEPTH>(grad_k_t, grad_scores, p.q, tokens, wide, depth);
    gather_by_column<DEPTH>(grad_v_t, weights, grad_out, tokens, wide, depth);
    for (int token = 0; token < tokens; ++token) {
      float *to = s.grad_qkv + p.pixel[token] * 3 * s.channels + head * depth;
      for (int i = 0; i < depth; ++i) {
        to[s.channels + i] = grad_k_t[i * wide + token] * (1.0f / LOG2_E);
        to[2 * s.channels + i] = grad_v_t[i * wide + token];
      }
    }
  }
}

static void run_attention_forward(const void *context, int64_t task) {
  const AttentionArguments &s = *(const AttentionArguments *)context;
  switch ((s.channels / s.heads + LANES - 1) / LANES) {
    case 1: return attention_forward<1>(s, task);
    case 2: return attention_forward<2>(s, task);
    case 3: return attention_forward<3>(s, task);
    default: return attention_forward<4>(s, task);
  }
}

static void run_attention_backward(const void *context, int64_t task) {
  const AttentionArguments &s = *(const AttentionArguments *)context;
  switch ((s.channels / s.heads + LANES - 1) / LANES) {
    case 1: return attention_backward<1>(s, task);
    case 2: return attention_backward<2>(s, task);
    case 3: return attention_backward<3>(s, task);
    default: return attention_backward<4>(s, task);
  }
}
