// Products of matrices, a tile of the result in registers. The right-hand matrix is packed in panels of
// as many columns as a tile has, so that it is read from end to end.

const int ROWS = VECTOR_REGISTERS / 4;
const int COLUMNS = VECTOR_REGISTERS == 32 ? 2 : 1;  // vectors; the products are written out for two
const int PANEL = COLUMNS * LANES;
static_assert(MAX_ROWS % ROWS == 0, "kept rows are whole tiles for every instruction set");

INLINE int64_t whole(int64_t count, int64_t part) { return (count + part - 1) / part * part; }
INLINE int64_t vectors(int64_t count) { return whole(count, LANES); }  // in floats

// Room that a thread keeps from task to task, of any content, handed out in parts on whole cache lines.
struct Scratch {
  float *at;
  explicit Scratch(size_t floats) {
    static thread_local std::vector<float> kept;
    if (kept.size() < floats + LANES) kept.resize(floats + LANES);
    at = kept.data() + ((64 - (uintptr_t)kept.data() % 64) % 64) / sizeof(float);
  }
  float *take(int64_t floats) {
    float *part = at;
    at += vectors(floats);
    return part;
  }
};

// Panels of a matrix ([depth][columns], elements `down` and `right` apart), filled up with zeros to
// whole vectors.
INLINE void pack_panels(float *to, const float *from, int depth, int columns, int64_t down,
                        int64_t right) {
  const int wide = (int)vectors(columns);
  for (int first = 0; first < wide; first += PANEL) {
    const int width = wide - first < PANEL ? wide - first : PANEL;
    for (int i = 0; i < depth; ++i, to += width)
      for (int c = 0; c < width; ++c)
        to[c] = first + c < columns ? from[i * down + (first + c) * right] : 0.0f;
  }
}

template <int WIDTH>
static NOINLINE void multiply_tile(float *to, int64_t to_stride, const float *a, int64_t a_stride,
                                   const float *panel, const float *start, int depth) {
  const float *rows[ROWS];
  unroll<ROWS>([&](int r) FLAT { rows[r] = a + r * a_stride; });
  vf sums[ROWS][WIDTH];
  unroll<WIDTH>([&](int c) FLAT {
    const vf first = start ? load(start + c * LANES) : splat(0.0f);
    unroll<ROWS>([&](int r) FLAT { sums[r][c] = first; });
  });
  for (int i = 0; i < depth; ++i, panel += WIDTH * LANES) {
    const vf left = load(panel), right = load(panel + (WIDTH - 1) * LANES);
    unroll<ROWS>([&](int r) FLAT {
      const vf value = splat(rows[r][i]);
      sums[r][0] += value * left;
      if (WIDTH > 1) sums[r][WIDTH - 1] += value * right;
    });
  }
  unroll<ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { store(to + r * to_stride + c * LANES, sums[r][c]); });
  });
}

// to ([row][columns in whole vectors]) = a ([row][depth]) times packed panels, plus `start`, a row, or
// null. Rows up to a multiple of ROWS are read and written.
INLINE void multiply(float *to, int64_t to_stride, const float *a, int64_t a_stride, int rows,
                     const float *panels, const float *start, int depth, int columns) {
  const int wide = (int)vectors(columns);
  for (int column = 0; column < wide; column += PANEL) {
    const float *panel = panels + (int64_t)column * depth;
    const float *first = start ? start + column : nullptr;
    for (int row = 0; row < rows; row += ROWS) {
      float *tile = to + row * to_stride + column;
      if (wide - column < PANEL)
        multiply_tile<1>(tile, to_stride, a + row * a_stride, a_stride, panel, first, depth);
      else
        multiply_tile<COLUMNS>(tile, to_stride, a + row * a_stride, a_stride, panel, first, depth);
    }
  }
}

// to ([i][to_stride]) += the sum over rows of a ([row][i]) times b ([row][columns in whole vectors]), for
// `count` columns of a: the gradient of a layer's weights. Rows of `to` up to a multiple of ROWS are
// written.
template <int WIDTH>
static NOINLINE void accumulate_tile(float *to, int64_t to_stride, const float *a, int64_t a_stride,
                                     const float *b, int64_t b_stride, int rows) {
  vf sums[ROWS][WIDTH];
  unroll<ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { sums[r][c] = load(to + r * to_stride + c * LANES); });
  });
  for (int i = 0; i < rows; ++i, a += a_stride, b += b_stride) {
    const vf left = load(b), right = load(b + (WIDTH - 1) * LANES);
    unroll<ROWS>([&](int r) FLAT {
      const vf value = splat(a[r]);
      sums[r][0] += value * left;
      if (WIDTH > 1) sums[r][WIDTH - 1] += value * right;
    });
  }
  unroll<ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { store(to + r * to_stride + c * LANES, sums[r][c]); });
  });
}

INLINE void accumulate(float *to, int64_t to_stride, const float *a, int64_t a_stride, const float *b,
                       int64_t b_stride, int rows, int count, int columns) {
  const int wide = (int)vectors(columns);
  for (int first = 0; first < count; first += ROWS)
    for (int column = 0; column < wide; column += PANEL) {
      float *tile = to + first * to_stride + column;
      if (wide - column < PANEL)
        accumulate_tile<1>(tile, to_stride, a + first, a_stride, b + column, b_stride, rows);
      else
        accumulate_tile<COLUMNS>(tile, to_stride, a + first, a_stride, b + column, b_stride, rows);
    }
}
