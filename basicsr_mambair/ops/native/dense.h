// A linear layer with what stands around it: normalisation or a gate before it, GELU and residuals
// after it. A task is a block of tokens, which passes through all of it in cache.

// gelu(x) = x (1 + erf(x / sqrt(2))) / 2 to 1e-6, with erf by equation 7.1.26 of Abramowitz & Stegun.
INLINE vf gelu(vf x) {
  const vf z = maximum(x, 0.0f - x) * 0.70710678118654752f;
  const vf t = 1.0f / (1.0f + 0.3275911f * z);
  vf p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const vf tail = p * t * exp2_approx(z * z * -LOG2_E);  // 1 - erf(z)
  return maximum(x, splat(0.0f)) - 0.5f * maximum(x, 0.0f - x) * tail;
}

// Mean 0 and variance 1 over a token's channels, then weight and bias (LayerNorm).
INLINE void normalise(float *x, const float *weight, const float *bias, float eps, int channels) {
  vf total = splat(0.0f);
  for (int i = 0; i < channels; i += LANES)
    total += load_part(x + i, channels - i < LANES ? channels - i : LANES);
  const float mean = sum(total) / channels;
  float squares = 0.0f;
  vf square = splat(0.0f);
  int i = 0;
  for (; i + LANES <= channels; i += LANES) {
    const vf centred = load(x + i) - mean;
    square += centred * centred;
  }
  for (; i < channels; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float factor = 1.0f / std::sqrt((sum(square) + squares) / channels + eps);
  for (int k = 0; k < channels; ++k) x[k] = (x[k] - mean) * factor * weight[k] + bias[k];
}

static void run_dense(const void *context, int64_t task) {
  const DenseArguments &s = *(const DenseArguments *)context;
  const int64_t begin = task * DENSE_BLOCK;
  const int tokens = (int)(s.tokens - begin < DENSE_BLOCK ? s.tokens - begin : DENSE_BLOCK);
  const int in = (int)s.in, out = (int)s.out;
  const int64_t wide = s.wide;
  float *a = thread_scratch((size_t)(DENSE_BLOCK + ROWS) * in + ROWS * wide);
  float *y = a + (DENSE_BLOCK + ROWS) * in;

  const float *bias[ROWS];
  for (int r = 0; r < ROWS; ++r) bias[r] = s.bias;
  for (int first = 0; first < tokens; first += ROWS) {
    const int rows = tokens - first < ROWS ? tokens - first : ROWS;
    for (int r = 0; r < rows; ++r) {
      const float *from = s.x + (begin + first + r) * s.x_token;
      float *row = a + r * in;
      memcpy(row, from, in * sizeof(float));
      if (s.times) {
        const float *times = s.times + (begin + first + r) * s.times_token;
        for (int i = 0; i < in; ++i) row[i] *= times[i];
      }
      if (s.norm_weight) normalise(row, s.norm_weight, s.norm_bias, s.eps, in);
    }
    for (int64_t i = (int64_t)rows * in; i < (int64_t)ROWS * in; ++i) a[i] = 0.0f;
    multiply_rows<0>(y, a, s.weight, bias, nullptr, wide, in, in);
    for (int r = 0; r < rows; ++r) {
      const int64_t at = (begin + first + r) * s.out;
      for (int i = 0; i < out; i += LANES) {
        const int count = out - i < LANES ? out - i : LANES;
        vf value = load(y + r * wide + i);
        if (s.gelu) value = gelu(value);
        if (s.residual) value += load_part(s.residual + at + i, count);
        if (s.second) value += load_part(s.second + at + i, count) * load_part(s.scale + i, count);
        store_part(s.y + at + i, value, count);
      }
    }
  }
}
