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

INLINE float *transposed_of(const DenseArguments &s) {  // the layer the other way round, for gradients
  return s.packed + linear_floats((int)s.in, (int)s.out) + 2 * vectors(s.in);
}

INLINE int64_t dense_floats(const DenseArguments &s) {
  return linear_floats((int)s.in, (int)s.out) + 2 * vectors(s.in) + (s.grad_y ? s.out * vectors(s.in) : 0);
}

// What the tasks share, prepared by one thread.
static void pack_dense(const DenseArguments &s) {
  const Linear layer = pack_linear(s.packed, s.weight, s.bias, (int)s.in, (int)s.out);
  if (s.grad_y) pack_panels(transposed_of(s), s.weight, layer.out, layer.in, layer.in, 1);
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

// Sums of a part of the tokens, of which the layer's gradients are made.
struct DenseSums {
  float *weight;  // [out in whole tiles][in in whole vectors]
  float *bias;    // (out) in whole vectors
  float *norm;    // [2][in in whole vectors]: of weight and bias
  float *scale;   // (out) in whole vectors
};

INLINE int64_t dense_sums_floats(const DenseArguments &s) {
  return whole(s.out, ROWS) * vectors(s.in) + 2 * vectors(s.out) + 2 * vectors(s.in);
}

INLINE DenseSums dense_sums(const DenseArguments &s, int64_t part) {
  DenseSums sums;
  sums.weight = s.sums + part * dense_sums_floats(s);
  sums.bias = sums.weight + whole(s.out, ROWS) * vectors(s.in);
  sums.norm = sums.bias + vectors(s.out);
  sums.scale = sums.norm + 2 * vectors(s.in);
  return sums;
}

// Gradients of a block of tokens; what the forward pass computed is computed again.
INLINE void dense_block_backward(const DenseArguments &s, const DenseSums &sums, int64_t begin,
                                 Scratch scratch) {
  const int rows = (int)(s.tokens - begin < BLOCK ? s.tokens - begin : BLOCK);
  const Linear layer = layer_of(s);
  const int in = layer.in, out = layer.out;
  const int64_t in_wide = vectors(in), out_wide = vectors(out);
  float *a = scratch.take(BLOCK * in_wide), *normalised = a;
  float *grad = scratch.take(BLOCK * out_wide), *grad_in = scratch.take(BLOCK * in_wide);
  load_tokens(a, in_wide, s, begin, rows);
  if (s.norm_weight) {
    normalised = scratch.take(BLOCK * in_wide);
    for (int r = 0; r < rows; ++r) normalise(normalised + r * in_wide, a + r * in_wide, norm_of(s), in);
  }
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (s.scatter ? s.scatter[begin + r] : begin + r) * out;
    float *row = grad + r * out_wide;
    each_vector(out, [&](int i, int count) FLAT { store(row + i, load_part(s.grad_y + at + i, count)); });
    if (!s.second) continue;
    each_vector(out, [&](int i, int count) FLAT {
      const vf g = load(row + i);
      store_part(s.grad_second + at + i, g * load_part(s.scale + i, count), count);
      store(sums.scale + i, load(sums.scale + i) + g * load_part(s.second + at + i, count));
    });
  }
  if (s.gelu) {
    float *before = scratch.take(BLOCK * out_wide);
    apply(layer, before, normalised, in_wide, rows);
    for (int64_t i = 0; i < rows * out_wide; i += LANES)
      store(grad + i, load(grad + i) * gelu_slope(load(before + i)));
  }
  for (int r = 0; r < rows; ++r)
    for (int64_t i = 0; i < out_wide; i += LANES)
      store(sums.bias + i, load(sums.bias + i) + load(grad + r * out_wide + i));
  accumulate(sums.weight, in_wide, grad, out_wide, normalised, in_wide, rows, out, in);
  multiply(grad_in, in_wide, grad, out_wide, rows, transposed_of(s), nullptr, out, in);
  for (int r = 0; r < rows; ++r) {
    float *row = grad_in + r * in_wide;
    if (s.norm_weight) normalise_backward(row, a + r * in_wide, norm_of(s), in, sums.norm);
    if (s.grad_kept) add_row(row, s.grad_kept + (begin + r) * in, in);
    const int64_t from = s.gather ? s.gather[begin + r] : begin + r;
    each_vector(in, [&](int i, int count) FLAT {
      vf g = load(row + i);
      if (s.times) {
        vf by = load_part(s.times + from * s.times_token + i, count);
        const vf x = load_part(s.x + from * s.x_token + i, count);
        const vf gate = s.sigmoid ? sigmoid(by) : by;
        const vf slope = s.sigmoid ? gate * (1.0f - gate) : splat(1.0f);
        store_part(s.grad_times + from * in + i, g * x * slope, count);
        g = g * gate;
      }
      store_part(s.grad_x + from * in + i, g, count);
    });
  }
}

// The blocks of a part, one after the other: parts, not threads, decide in which order sums grow.
static void run_dense_backward(const void *context, int64_t part) {
  const DenseArguments &s = *(const DenseArguments *)context;
  const int64_t blocks = (s.tokens + BLOCK - 1) / BLOCK;
  const DenseSums sums = dense_sums(s, part);
  memset(sums.weight, 0, dense_sums_floats(s) * sizeof(float));
  Scratch scratch(BLOCK * (3 * vectors(s.in) + 2 * vectors(s.out)));
  for (int64_t block = blocks * part / s.parts; block < blocks * (part + 1) / s.parts; ++block)
    dense_block_backward(s, sums, block * BLOCK, scratch);
}

// The sums of all parts.
static void finish_dense_backward(const DenseArguments &s) {
  const int64_t floats = dense_sums_floats(s);
  for (int64_t part = 1; part < s.parts; ++part)
    for (int64_t i = 0; i < floats; i += LANES)
      store(s.sums + i, load(s.sums + i) + load(s.sums + part * floats + i));
  const DenseSums sums = dense_sums(s, 0);
  const int64_t in_wide = vectors(s.in);
  for (int64_t o = 0; o < s.out; ++o) copy_row(s.grad_weight + o * s.in, sums.weight + o * in_wide, (int)s.in);
  if (s.bias) copy_row(s.grad_bias, sums.bias, (int)s.out);
  if (s.norm_weight) copy_row(s.grad_norm_weight, sums.norm, (int)s.in);
  if (s.norm_weight) copy_row(s.grad_norm_bias, sums.norm + in_wide, (int)s.in);
  if (s.second) copy_row(s.grad_scale, sums.scale, (int)s.out);
}
