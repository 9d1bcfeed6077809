// A linear layer with what stands around it: normalisation or a gate before it, GELU and residuals
// after it. A task is a block of tokens, which passes through all of it in cache.

// x, times a gate or its sigmoid, of the tokens from `first` on, in scratch.
INLINE void load_tokens(float *to, int64_t stride, const DenseArguments &s, int64_t first, int rows) {
  const int in = (int)s.in;
  for (int r = 0; r < rows; ++r, to += stride) {
    const int64_t from = s.gather ? s.gather[first + r] : first + r;
    const float *x = s.x + from * s.x_token, *times = s.times + from * s.times_token;
    each_vector(in, [&](int i, int count) FLAT {
      vf value = load_part(x + i, count);
      if (s.times) {
        const vf by = load_part(times + i, count);
        value = value * (s.sigmoid ? sigmoid(by) : by);
      }
      store(to + i, value);
    });
    if (s.kept) copy_row(s.kept + (first + r) * in, to, in);
  }
}

INLINE Linear layer_of(const DenseArguments &s) {
  return {(int)s.in, (int)s.out, s.packed, s.bias ? s.packed + s.in * vectors(s.out) : nullptr};
}

INLINE Norm norm_of(const DenseArguments &s) {
  const float *weight = s.packed + linear_floats((int)s.in, (int)s.out);
  return {weight, weight + vectors(s.in), s.eps};
}

INLINE int64_t dense_floats(const DenseArguments &s) {
  return linear_floats((int)s.in, (int)s.out) + 2 * vectors(s.in);
}

// What the tasks share, prepared by one thread.
static void pack_dense(const DenseArguments &s) {
  const Linear layer = pack_linear(s.packed, s.weight, s.bias, (int)s.in, (int)s.out);
  if (!s.norm_weight) return;
  const Norm norm = norm_of(s);
  pack_row((float *)norm.weight, s.norm_weight, layer.in);
  pack_row((float *)norm.bias, s.norm_bias, layer.in);
}

static void run_dense(const void *context, int64_t task) {
  const DenseArguments &s = *(const DenseArguments *)context;
  const int64_t begin = task * BLOCK;
  const int rows = (int)(s.tokens - begin < BLOCK ? s.tokens - begin : BLOCK);
  const Linear layer = layer_of(s);
  const int64_t in_wide = vectors(s.in), out_wide = vectors(s.out);
  Scratch scratch(BLOCK * (in_wide + out_wide));
  float *a = scratch.take(BLOCK * in_wide), *y = scratch.take(BLOCK * out_wide);
  load_tokens(a, in_wide, s, begin, rows);
  if (s.norm_weight)
    for (int r = 0; r < rows; ++r) normalise(a + r * in_wide, a + r * in_wide, norm_of(s), layer.in);
  apply(layer, y, a, in_wide, rows);
  if (s.gelu) gelu_rows(y, rows * out_wide);
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (s.scatter ? s.scatter[begin + r] : begin + r) * s.out;
    float *row = y + r * out_wide;
    if (s.residual) add_row(row, s.residual + at, layer.out);
    if (s.second) add_scaled_row(row, s.second + at, s.scale, layer.out);
    copy_row(s.y + at, row, layer.out);
  }
}
