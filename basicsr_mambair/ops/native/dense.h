// A linear layer with what stands around it: normalisation or a gate before it, GELU and residuals
// after it. A task is a block of tokens, which passes through all of it in cache.

// gelu(x) = x (1 + erf(x / sqrt(2))) / 2 to 1e-6, with erf by equation 7.1.26 of Abramowitz & Stegun.
INLINE vf gelu(vf x) {
  const vf magnitude = minimum(maximum(x, 0.0f - x), splat(1e4f));  // beyond, the tail is 0
  const vf z = magnitude * 0.70710678118654752f;
  const vf t = 1.0f / (1.0f + 0.3275911f * z);
  vf p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const vf tail = p * t * exp2_approx(z * z * -LOG2_E);  // 1 - erf(z)
  return maximum(x, splat(0.0f)) - 0.5f * magnitude * tail;
}

// Mean 0 and variance 1 over a token's channels, then weight and bias (LayerNorm). `x` has room for
// whole vectors.
INLINE void normalise(float *RESTRICT x, const float *RESTRICT weight, const float *RESTRICT bias,
                      float eps, int channels) {
  const int wide = (channels + LANES - 1) / LANES * LANES;
  for (int i = channels; i < wide; ++i) x[i] = 0.0f;
  vf total = splat(0.0f);
  for (int i = 0; i < wide; i += LANES) total += load(x + i);
  const float mean = sum(total) / channels;
  for (int i = channels; i < wide; ++i) x[i] = mean;  // adds nothing to the variance
  vf squares = splat(0.0f);
  for (int i = 0; i < wide; i += LANES) {
    const vf centred = load(x + i) - mean;
    squares += centred * centred;
  }
  const float factor = 1.0f / std::sqrt(sum(squares) / channels + eps);
  for (int i = 0; i < channels; ++i) x[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

// Plain loops, which compilers turn into vectors.
INLINE void copy_row(float *RESTRICT to, const float *RESTRICT from, int count) {
  for (int i = 0; i < count; ++i) to[i] = from[i];
}
INLINE void multiply_row(float *RESTRICT to, const float *RESTRICT by, int count) {
  for (int i = 0; i < count; ++i) to[i] *= by[i];
}
// times sigmoid(by); `to` has room for whole vectors.
INLINE void gate_row(float *RESTRICT to, const float *RESTRICT by, int count) {
  for (int i = 0; i < count; i += LANES) {
    const vf x = load_part(by + i, count - i < LANES ? count - i : LANES);
    store(to + i, load(to + i) / (1.0f + exp2_approx(x * -LOG2_E)));
  }
}
INLINE void add_row(float *RESTRICT to, const float *RESTRICT what, int count) {
  for (int i = 0; i < count; ++i) to[i] += what[i];
}
INLINE void add_scaled_row(float *RESTRICT to, const float *RESTRICT what, const float *RESTRICT scale,
                           int count) {
  for (int i = 0; i < count; ++i) to[i] += what[i] * scale[i];
}

static void run_dense(const void *context, int64_t task) {
  const DenseArguments &s = *(const DenseArguments *)context;
  const int64_t begin = task * DENSE_BLOCK;
  const int64_t end = begin + DENSE_BLOCK < s.tokens ? begin + DENSE_BLOCK : s.tokens;
  const int in = (int)s.in, out = (int)s.out;
  const int64_t wide = s.wide, stride = (in + LANES - 1) / LANES * LANES;
  float *a = thread_scratch((size_t)ROWS * (stride + wide));  // [row][stride]
  float *y = a + ROWS * stride;                               // [row][wide]
  for (int64_t i = 0; i < ROWS * stride; ++i) a[i] = 0.0f;
  const float *bias[ROWS];
  for (int r = 0; r < ROWS; ++r) bias[r] = s.bias;

  for (int64_t first = begin; first < end; first += ROWS) {
    const int rows = (int)(end - first < ROWS ? end - first : ROWS);
    for (int r = 0; r < rows; ++r) {
      float *row = a + r * stride;
      const int64_t from = s.gather ? s.gather[first + r] : first + r;
      copy_row(row, s.x + from * s.x_token, in);
      if (s.times && s.sigmoid) gate_row(row, s.times + from * s.times_token, in);
      if (s.times && !s.sigmoid) multiply_row(row, s.times + from * s.times_token, in);
      if (s.kept) copy_row(s.kept + (first + r) * in, row, in);
      if (s.norm_weight) normalise(row, s.norm_weight, s.norm_bias, s.eps, in);
    }
    multiply_rows<0>(y, a, s.weight, bias, nullptr, wide, in, stride);
    if (s.gelu)
      for (int64_t i = 0; i < rows * wide; i += LANES) store(y + i, gelu(load(y + i)));
    for (int r = 0; r < rows; ++r) {
      const int64_t at = (s.scatter ? s.scatter[first + r] : first + r) * s.out;
      float *row = y + r * wide;
      if (s.residual) add_row(row, s.residual + at, out);
      if (s.second) add_scaled_row(row, s.second + at, s.scale, out);
      copy_row(s.y + at, row, out);
    }
  }
}
