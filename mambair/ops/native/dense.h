// A linear layer with what stands around it: a factor and normalisation before it, GELU and residuals
// after it. A task is a block of tokens, which passes through all of it in cache.

// x, times a factor, of the tokens from `first` on, in scratch.
INLINE void load_tokens(float *to, int64_t stride, const DenseArguments &s, int64_t first, int rows) {
  const int in = (int)s.in;
  for (int r = 0; r < rows; ++r, to += stride) {
    const float *x = s.x + (first + r) * s.x_token, *times = s.times + (first + r) * s.times_token;
    each_vector(in, [&](int i, int count) FLAT {
      const vf value = load_part(x + i, count);
      store(to + i, s.times ? value * load_part(times + i, count) : value);
    });
  }
}

INLINE int64_t dense_floats(const DenseArguments &s) {
  const int in = (int)s.in, out = (int)s.out;
  return linear_floats(in, out) + 2 * vectors(in) + (s.grad_y ? transposed_floats(in, out) : 0);
}

struct PackedDense {
  const DenseArguments &s;
  Linear layer;
  Norm norm;
};

static PackedDense pack_dense(const DenseArguments &s, float *room) {
  PackedDense d{s, pack_linear(room, s.weight, s.bias, (int)s.in, (int)s.out), {}};
  room += linear_floats(d.layer.in, d.layer.out);
  if (s.norm_weight) {
    const float *weight = pack_row(room, s.norm_weight, d.layer.in);
    d.norm = {weight, pack_row(room + vectors(s.in), s.norm_bias, d.layer.in), s.eps};
  }
  if (s.grad_y) pack_transposed(d.layer, room + 2 * vectors(s.in), s.weight);
  return d;
}

static void run_dense(const void *context, int64_t task) {
  const PackedDense &d = *(const PackedDense *)context;
  const DenseArguments &s = d.s;
  const int64_t begin = task * BLOCK;
  const int rows = (int)(s.tokens - begin < BLOCK ? s.tokens - begin : BLOCK);
  const Linear &layer = d.layer;
  const int64_t in_wide = vectors(s.in), out_wide = vectors(s.out);
  Scratch scratch(BLOCK * (in_wide + out_wide));
  float *a = scratch.take(BLOCK * in_wide), *y = scratch.take(BLOCK * out_wide);
  load_tokens(a, in_wide, s, begin, rows);
  if (s.norm_weight)
    for (int r = 0; r < rows; ++r) normalise(a + r * in_wide, a + r * in_wide, d.norm, layer.in);
  apply(layer, y, a, in_wide, rows);
  if (s.gelu) gelu_rows(y, rows * out_wide);
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (begin + r) * s.out;
    float *row = y + r * out_wide;
    if (s.residual) add_row(row, s.residual + at, layer.out);
    if (s.second) add_scaled_row(row, s.second + at, s.scale, layer.out);
    copy_row(s.y + at, row, layer.out);
  }
}

// Sums of a part of the tokens, of which the gradients of parameters are made.
struct DenseSums {
  LinearSums layer;
  float *norm;   // [2][in in whole vectors]: of weight and bias
  float *scale;  // (out) in whole vectors
};

INLINE int64_t dense_sums_floats(const DenseArguments &s) {
  return linear_sums_floats((int)s.in, (int)s.out) + 2 * vectors(s.in) + vectors(s.out);
}

INLINE DenseSums dense_sums(const DenseArguments &s, int64_t part) {
  DenseSums sums;
  float *room = s.sums + part * dense_sums_floats(s);
  sums.layer = linear_sums(room, (int)s.in, (int)s.out);
  sums.norm = room + linear_sums_floats((int)s.in, (int)s.out);
  sums.scale = sums.norm + 2 * vectors(s.in);
  return sums;
}

// Gradients of a block of tokens; what the forward pass computed is computed again.
INLINE void dense_block_backward(const PackedDense &d, const DenseSums &sums, int64_t begin,
                                 Scratch scratch) {
  const DenseArguments &s = d.s;
  const int rows = (int)(s.tokens - begin < BLOCK ? s.tokens - begin : BLOCK);
  const Linear &layer = d.layer;
  const int in = layer.in, out = layer.out;
  const int64_t in_wide = vectors(in), out_wide = vectors(out);
  float *a = scratch.take(BLOCK * in_wide), *normalised = a;
  float *grad = scratch.take(BLOCK * out_wide), *grad_in = scratch.take(BLOCK * in_wide);
  load_tokens(a, in_wide, s, begin, rows);
  if (s.norm_weight) {
    normalised = scratch.take(BLOCK * in_wide);
    for (int r = 0; r < rows; ++r) normalise(normalised + r * in_wide, a + r * in_wide, d.norm, in);
  }
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (begin + r) * out;
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
  linear_backward(layer, sums.layer, grad, normalised, rows, grad_in);
  for (int r = 0; r < rows; ++r) {
    float *row = grad_in + r * in_wide;
    if (s.norm_weight) normalise_backward(row, a + r * in_wide, d.norm, in, sums.norm);
    const int64_t token = begin + r;
    each_vector(in, [&](int i, int count) FLAT {
      vf g = load(row + i);
      if (s.times) {
        store_part(s.grad_times + token * in + i, g * load_part(s.x + token * s.x_token + i, count), count);
        g = g * load_part(s.times + token * s.times_token + i, count);
      }
      store_part(s.grad_x + token * in + i, g, count);
    });
  }
}

// The blocks of a part, one after the other: parts, not threads, decide in which order sums grow.
static void run_dense_backward(const void *context, int64_t part) {
  const PackedDense &d = *(const PackedDense *)context;
  const DenseArguments &s = d.s;
  const int64_t blocks = (s.tokens + BLOCK - 1) / BLOCK;
  const DenseSums sums = dense_sums(s, part);
  Scratch scratch(BLOCK * (3 * vectors(s.in) + 2 * vectors(s.out)));
  for (int64_t block = blocks * part / s.parts; block < blocks * (part + 1) / s.parts; ++block)
    dense_block_backward(d, sums, block * BLOCK, scratch);
}

static void dense_forward(const DenseArguments &s, int threads, Parallel parallel) {
  std::vector<float> room(dense_floats(s));
  const PackedDense d = pack_dense(s, room.data());
  run_tasks(run_dense, &d, (s.tokens + BLOCK - 1) / BLOCK, threads, parallel);
}

static void dense_backward(DenseArguments s, int threads, Parallel parallel) {
  std::vector<float> room(dense_floats(s)), parts(s.parts * dense_sums_floats(s));
  s.sums = parts.data();
  const PackedDense d = pack_dense(s, room.data());
  run_tasks(run_dense_backward, &d, s.parts, threads, parallel);
  add_parts(s.sums, dense_sums_floats(s), dense_sums_floats(s), s.parts);
  const DenseSums sums = dense_sums(s, 0);
  unpack_linear(s.grad_weight, s.bias ? s.grad_bias : nullptr, sums.layer, (int)s.in, (int)s.out);
  if (s.norm_weight) copy_row(s.grad_norm_weight, sums.norm, (int)s.in);
  if (s.norm_weight) copy_row(s.grad_norm_bias, sums.norm + vectors(s.in), (int)s.in);
  if (s.second) copy_row(s.grad_scale, sums.scale, (int)s.out);
}
