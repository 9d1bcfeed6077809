// Routing: the class of every token is the argmax of its scores plus Gumbel noise that is a
// function of (key, token, class), drawn in registers. The numbers are those of ops/gumbel.py.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "linear.h"
#include "scratch.h"
#include "tasks.h"

namespace MAMBAIR_SET {

const float NO_CLASS = -1e30f;   // score of the lanes past the last class
const float BELOW_ALL = -3e38f;  // less than any score
const uint32_t GOLDEN_RATIO = 0x9E3779B9u;

INLINE uint32_t bits_like(uint32_t, uint32_t value) { return value; }
INLINE vu bits_like(vu, uint32_t value) { return splat_bits(value); }

template <typename Bits>  // uint32_t or a vector of them
INLINE Bits mix_bits(Bits x) {
  x = x ^ (x >> 16);
  x = x * bits_like(x, 0x7FEB352Du);
  x = x ^ (x >> 15);
  x = x * bits_like(x, 0x846CA68Bu);
  return x ^ (x >> 16);
}

// Natural logarithm of normal floats in (0, 2^64): frexp, then log(1 + f) by the polynomial of
// Cephes' logf on [sqrt(1/2) - 1, sqrt(2) - 1].
INLINE vf log_approx(vf x) {
  // the exponent of x / sqrt(1/2), so that the mantissa lies around 1
  const vu bits = bits_of(x);
  const vi exponent = as_signed(bits - splat_bits(0x3F3504F3u)) >> 23;
  const vf f = bits_as_float(bits - (as_unsigned(exponent) << 23)) - 1.0f;
  const vf e = to_float(exponent);
  vf p = splat(7.0376836292e-2f);
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const vf square = f * f;
  return f + (p * f * square - 0.5f * square + e * 1.428606765330187e-6f) + e * 0.693145751953125f;
}

INLINE vf gumbel(vu bits) {
  const vf uniform = (to_float(as_signed(bits >> 9)) + 0.5f) * (1.0f / (1 << 23));
  return 0.0f - log_approx(0.0f - log_approx(uniform));
}

struct Noise {
  const int32_t *key;   // of the counter, or null
  const float *values;  // drawn by the caller, or null
};

// The class of one token: the first of the largest noisy scores, which take the place of the
// scores. Scores past `classes` are NO_CLASS.
INLINE int choose_class(float *scores, int classes, int64_t token, const Noise &noise) {
  alignas(64) static const uint32_t lanes[LANES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                    8, 9, 10, 11, 12, 13, 14, 15};
  vu column;
  memcpy(&column, lanes, sizeof column);
  column = column * splat_bits(GOLDEN_RATIO);
  uint32_t start = 0;
  if (noise.key) start = mix_bits(mix_bits((uint32_t)token + GOLDEN_RATIO) ^ (uint32_t)*noise.key);
  vf best = splat(BELOW_ALL), at = splat(0.0f);  // largest of every lane, and the vector it is in
  for (int c = 0; c < classes; c += LANES) {
    vf value = load(scores + c);
    if (noise.key)
      value += gumbel(mix_bits(column + splat_bits(start + (uint32_t)c * GOLDEN_RATIO)));
    if (noise.values)
      value += load_first(noise.values + c, classes - c < LANES ? classes - c : LANES);
    store(scores + c, value);
    at = select_greater(value, best, splat((float)c), at);
    best = maximum(best, value);
  }
  alignas(64) float bests[LANES], ats[LANES];
  store(bests, best);
  store(ats, at);
  const float highest = largest(best);
  int chosen = classes - 1;  // also where every score is NaN
  for (int i = LANES - 1; i >= 0; --i) {
    const int c = (int)ats[i] + i;
    if (bests[i] == highest && c <= chosen) chosen = c;
  }
  return chosen;
}

// Softmax of scores that are NO_CLASS past `classes`.
INLINE void soften(float *to, float *scores, float best, int classes) {
  vf all = splat(0.0f);
  for (int c = 0; c < classes; c += LANES) {
    const vf weight = exp2_of_nonpositive((load(scores + c) - splat(best)) * LOG2_E);
    all += weight;
    store(scores + c, weight);
  }
  const float factor = 1.0f / sum(all);
  each_vector(classes, [&](int c, int count)
                           FLAT { store_first(to + c, load(scores + c) * factor, count); });
}

INLINE int64_t route_tasks(const RouteArguments &s) {
  return (s.length + ROUTE_TOKENS - 1) / ROUTE_TOKENS;
}

// Some tokens of a batch element.
static void route_task(const void *context, int64_t task) {
  const RouteArguments &s = *(const RouteArguments *)context;
  const int64_t tasks = route_tasks(s);
  const int64_t batch = task / tasks, begin = task % tasks * ROUTE_TOKENS;
  const int64_t end = begin + ROUTE_TOKENS < s.length ? begin + ROUTE_TOKENS : s.length;
  const int classes = (int)s.classes;
  Scratch scratch(vectors(classes));
  float *noisy = scratch.take(classes);
  for (int64_t t = begin; t < end; ++t) {
    pack_row(noisy, s.scores + (batch * s.length + t) * classes, classes, NO_CLASS);
    const int chosen =
        choose_class(noisy, classes, t, {s.keys ? s.keys + batch : nullptr, nullptr});
    s.chosen[batch * s.length + t] = chosen;
    if (s.soft) soften(s.soft + (batch * s.length + t) * classes, noisy, noisy[chosen], classes);
  }
}

// Stable counting sort of one batch element: tokens in the order of their classes, and its inverse;
// both count through the whole batch.
template <typename Index>
INLINE void sort_by_class(const Index *chosen, Index *order, Index *inverse, int64_t batch,
                          int64_t length, int64_t classes) {
  std::vector<int64_t> next((size_t)classes + 1, 0);
  const int64_t first = batch * length;
  for (int64_t t = 0; t < length; ++t) ++next[chosen[first + t] + 1];
  for (int64_t c = 0; c < classes; ++c) next[c + 1] += next[c];
  for (int64_t t = 0; t < length; ++t) {
    const int64_t at = next[chosen[first + t]]++;
    order[first + at] = (Index)(first + t);
    inverse[first + t] = (Index)(first + at);
  }
}

static void sort_task(const void *context, int64_t batch) {
  const RouteArguments &s = *(const RouteArguments *)context;
  sort_by_class(s.chosen, s.order, s.inverse, batch, s.length, s.classes);
}

static void route(const RouteArguments &s, int threads, Parallel parallel) {
  run_tasks(route_task, &s, s.batch * route_tasks(s), threads, parallel);
  run_tasks(sort_task, &s, s.batch, threads, parallel);
}

}  // namespace MAMBAIR_SET
