// Products of small matrices, a tile in registers. The loops are functions of their own: in one large
// function, constants of one loop take the registers of another.

// Tiles: rows by vectors of columns.
const int ROWS = VECTOR_REGISTERS / 4;
const int COLUMNS = VECTOR_REGISTERS == 32 ? 2 : 1;  // the products are written out for two

// Floats that a thread keeps from task to task; 64-byte aligned, of any content.
INLINE float *thread_scratch(size_t count) {
  static thread_local std::vector<float> kept;
  if (kept.size() < count + LANES) kept.resize(count + LANES);
  return kept.data() + ((64 - (uintptr_t)kept.data() % 64) % 64) / sizeof(float);
}

template <int STRIDE, int WIDTH>
INLINE void multiply_tile(float *to, const float *a, const float *b, const float *const *first,
                          const float *const *second, int64_t column, int64_t wide, int depth,
                          int64_t stride) {
  const float *rows[ROWS];
  unroll<ROWS>([&](int r) FLAT { rows[r] = a + r * (STRIDE ? STRIDE : stride); });
  vf sums[ROWS][WIDTH];
  unroll<ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT {
      sums[r][c] = load(first[r] + column + c * LANES);
      if (second) sums[r][c] += load(second[r] + column + c * LANES);
    });
  });
  b += column;
  for (int64_t i = 0; i < depth; ++i, b += wide) {
    const vf left = load(b), right = load(b + (WIDTH - 1) * LANES);
    unroll<ROWS>([&](int r) FLAT {
      const vf value = splat(rows[r][i]);
      sums[r][0] += value * left;
      if (WIDTH > 1) sums[r][WIDTH - 1] += value * right;
    });
  }
  unroll<ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { store(to + r * wide + column + c * LANES, sums[r][c]); });
  });
}

// to ([row][wide]) = ROWS rows of `a` times `b` ([depth][wide]), plus rows of `first` and, unless null,
// of `second`. Rows of `a` lie `stride` floats apart (STRIDE, unless it is 0).
template <int STRIDE>
static NOINLINE void multiply_rows(float *to, const float *a, const float *b, const float *const *first,
                                   const float *const *second, int64_t wide, int depth,
                                   int64_t stride) {
  int64_t column = 0;
  for (; column + LANES * COLUMNS <= wide; column += LANES * COLUMNS)
    multiply_tile<STRIDE, COLUMNS>(to, a, b, first, second, column, wide, depth, stride);
  for (; column < wide; column += LANES)
    multiply_tile<STRIDE, 1>(to, a, b, first, second, column, wide, depth, stride);
}
