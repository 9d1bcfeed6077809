// Window attention, forward: scores, bias, mask, softmax and the product with the values of one window
// and head in one pass. Tasks are (batch element, window, head). Queries, keys and values are read from
// the map where they are, rolled or not, and the result is written where the window came from.

// Tokens of one window and head, packed: rows are padded to whole vectors with zeros.
struct Window {
  int64_t batch, row, column, head;
  bool last_row, last_column;
};

INLINE Window attention_window(const AttentionArguments &s, int64_t task) {
  int64_t rows = s.height / s.window, columns = s.width / s.window;
  Window at;
  at.head = task % s.heads;
  task /= s.heads;
  at.column = task % columns;
  at.row = task / columns % rows;
  at.batch = task / columns / rows;
  at.last_row = at.row == rows - 1;
  at.last_column = at.column == columns - 1;
  return at;
}

// Pixel of a token before the roll.
INLINE int64_t attention_pixel(const AttentionArguments &s, const Window &at, int token) {
  int64_t y = at.row * s.window + token / s.window + s.shift;
  int64_t x = at.column * s.window + token % s.window + s.shift;
  if (y >= s.height) y -= s.height;
  if (x >= s.width) x -= s.width;
  return (at.batch * s.height + y) * s.width + x;
}

// Which of the regions that the roll brought together a token of a border window belongs to.
INLINE int attention_region(const AttentionArguments &s, const Window &at, int token) {
  bool below = at.last_row && token / s.window >= s.window - s.shift;
  bool right = at.last_column && token % s.window >= s.window - s.shift;
  return 2 * below + right;
}

// VECTORS: vectors that hold one head's channels. Scores are kept in units of log2.
template <int VECTORS>
static void attention_forward(const AttentionArguments &s, int64_t task) {
  const int ROWS = 4, COLUMNS = 4;  // rows and vectors of scores computed together
  const int DEPTH = VECTORS * LANES;
  const Window at = attention_window(s, task);
  const int tokens = (int)(s.window * s.window);
  const int depth = (int)(s.channels / s.heads);
  const int wide = (int)s.padded_tokens;  // a multiple of LANES * COLUMNS
  const bool masked = s.shift && (at.last_row || at.last_column);

  std::vector<float> scratch((size_t)wide * (2 * DEPTH + depth + ROWS + 4) + LANES);
  float *q = scratch.data() + ((64 - (uintptr_t)scratch.data() % 64) % 64) / sizeof(float);
  float *v = q + (size_t)wide * DEPTH;      // [token][DEPTH]
  float *keys = v + (size_t)wide * DEPTH;   // [channel][token]
  float *scores = keys + (size_t)wide * depth;
  float *mask = scores + (size_t)wide * ROWS;  // [region][token]

  for (int token = 0; token < tokens; ++token) {
    const float *from = s.qkv + attention_pixel(s, at, token) * 3 * s.channels + at.head * depth;
    for (int i = 0; i < depth; ++i) {
      q[token * DEPTH + i] = from[i] * (s.scale * LOG2_E);
      keys[i * wide + token] = from[s.channels + i];
      v[token * DEPTH + i] = from[2 * s.channels + i];
    }
  }
  if (masked)
    for (int region = 0; region < 4; ++region)
      for (int token = 0; token < tokens; ++token)
        mask[region * wide + token] =
            attention_region(s, at, token) == region ? 0.0f : -100.0f * LOG2_E;

  for (int first = 0; first < tokens; first += ROWS) {
    int rows[ROWS];  // the last ones are repeated where the window has no multiple of ROWS tokens
    for (int r = 0; r < ROWS; ++r) rows[r] = first + r < tokens ? first + r : tokens - 1;
    vf top[ROWS];
    for (int r = 0; r < ROWS; ++r) top[r] = splat(-1e30f);

    for (int column = 0; column < wide; column += LANES * COLUMNS) {
      vf sums[ROWS][COLUMNS];
      for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c)
          sums[r][c] = load(s.bias + (at.head * tokens + rows[r]) * wide + column + c * LANES);
      for (int i = 0; i < depth; ++i) {
        vf key[COLUMNS];
        for (int c = 0; c < COLUMNS; ++c) key[c] = load(keys + i * wide + column + c * LANES);
        for (int r = 0; r < ROWS; ++r) {
          const vf query = splat(q[rows[r] * DEPTH + i]);
          for (int c = 0; c < COLUMNS; ++c) sums[r][c] += query * key[c];
        }
      }
      for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c) {
          if (masked) {
            const float *from = mask + attention_region(s, at, rows[r]) * wide;
            sums[r][c] += load(from + column + c * LANES);
          }
          top[r] = maximum(top[r], sums[r][c]);
          store(scores + r * wide + column + c * LANES, sums[r][c]);
        }
    }

    float total[ROWS];
    for (int r = 0; r < ROWS; ++r) {
      const vf highest = splat(largest(top[r]));
      vf all = splat(0.0f);
      for (int column = 0; column < wide; column += LANES) {
        const vf p = exp2_of_nonpositive(load(scores + r * wide + column) - highest);
        all += p;
        store(scores + r * wide + column, p);
      }
      total[r] = sum(all);
    }

    vf out[ROWS][VECTORS];
    for (int r = 0; r < ROWS; ++r)
      for (int k = 0; k < VECTORS; ++k) out[r][k] = splat(0.0f);
    for (int token = 0; token < tokens; ++token)
      for (int k = 0; k < VECTORS; ++k) {
        const vf value = load(v + token * DEPTH + k * LANES);
        for (int r = 0; r < ROWS; ++r) out[r][k] += splat(scores[r * wide + token]) * value;
      }
    for (int r = 0; r < ROWS && first + r < tokens; ++r) {
      float *to = s.out + attention_pixel(s, at, first + r) * s.channels + at.head * depth;
      for (int k = 0; k < VECTORS; ++k) {
        const int count = depth - k * LANES < LANES ? depth - k * LANES : LANES;
        store_part(to + k * LANES, out[r][k] * (1.0f / total[r]), count);
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
