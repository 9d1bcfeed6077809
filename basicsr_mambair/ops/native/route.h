// Routing: the class of every token is the argmax of its scores plus Gumbel noise that is a function of
// (key, token, class), drawn in registers. The numbers are those of ops/gumbel.py.

const uint32_t GOLDEN_RATIO = 0x9E3779B9u;

INLINE uint32_t mix_bits(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7FEB352Du;
  x ^= x >> 15;
  x *= 0x846CA68Bu;
  return x ^ (x >> 16);
}

// Natural logarithm of normal floats in (0, 2^64): frexp, then log(1 + f) by the polynomial of Cephes'
// logf on [sqrt(1/2) - 1, sqrt(2) - 1].
INLINE float log_approx(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  // the exponent of x / sqrt(1/2), so that the mantissa lies around 1
  const uint32_t shifted = bits - 0x3F3504F3u;
  const int32_t exponent = (int32_t)shifted >> 23;
  bits -= (uint32_t)exponent << 23;
  float m;
  memcpy(&m, &bits, sizeof m);
  const float f = m - 1.0f, e = (float)exponent;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float square = f * f;
  return f + (p * f * square - 0.5f * square + e * 1.428606765330187e-6f) + e * 0.693145751953125f;
}

INLINE float gumbel(uint32_t bits) {
  const float uniform = ((float)(int32_t)(bits >> 9) + 0.5f) * (1.0f / (1 << 23));
  return 0.0f - log_approx(0.0f - log_approx(uniform));
}

// Softmax of scores whose largest is `best`; `weights` is room for them.
INLINE void soften(float *to, const float *scores, float *weights, float best, int classes) {
  vf all = splat(0.0f);
  for (int c = 0; c < classes; c += LANES) {
    const vf weight = exp2_of_nonpositive((load(scores + c) - splat(best)) * LOG2_E);
    all += weight;
    store(weights + c, weight);
  }
  const float factor = 1.0f / sum(all);
  for (int c = 0; c < classes; ++c) to[c] = weights[c] * factor;
}

// One block of tokens; loops over classes that compilers turn into vectors.
static void run_route(const void *context, int64_t task) {
  const RouteArguments &s = *(const RouteArguments *)context;
  const int64_t blocks = (s.length + ROUTE_BLOCK - 1) / ROUTE_BLOCK;
  const int64_t batch = task / blocks, begin = task % blocks * ROUTE_BLOCK;
  const int64_t end = begin + ROUTE_BLOCK < s.length ? begin + ROUTE_BLOCK : s.length;
  const int classes = (int)s.classes;
  const int wide = (classes + LANES - 1) / LANES * LANES;
  std::vector<float> noisy(wide, -1e30f), weights(wide);
  float *values = noisy.data();
  for (int64_t t = begin; t < end; ++t) {
    const float *scores = s.scores + (batch * s.length + t) * classes;
    if (s.keys) {
      const uint32_t token = mix_bits(mix_bits((uint32_t)t + GOLDEN_RATIO) ^ (uint32_t)s.keys[batch]);
      for (int c = 0; c < classes; ++c)
        values[c] = scores[c] + gumbel(mix_bits(token + (uint32_t)c * GOLDEN_RATIO));
    } else {
      for (int c = 0; c < classes; ++c) values[c] = scores[c];
    }
    vf top = load(values);
    for (int c = LANES; c < wide; c += LANES) top = maximum(top, load(values + c));
    const float best = largest(top);
    int chosen = 0;
    while (chosen < classes - 1 && values[chosen] != best) ++chosen;
    s.chosen[batch * s.length + t] = chosen;
    if (s.soft) soften(s.soft + (batch * s.length + t) * classes, values, weights.data(), best, classes);
  }
}

// Stable counting sort of one batch element: tokens in the order of their classes, and its inverse.
static void run_sort(const void *context, int64_t batch) {
  const RouteArguments &s = *(const RouteArguments *)context;
  const int64_t *chosen = s.chosen + batch * s.length;
  std::vector<int64_t> next((size_t)s.classes + 1, 0);
  for (int64_t t = 0; t < s.length; ++t) ++next[chosen[t] + 1];
  for (int64_t c = 0; c < s.classes; ++c) next[c + 1] += next[c];
  const int64_t first = batch * s.length;  // positions count through the whole batch
  for (int64_t t = 0; t < s.length; ++t) {
    const int64_t at = next[chosen[t]]++;
    s.order[first + at] = first + t;
    s.inverse[first + t] = first + at;
  }
}
