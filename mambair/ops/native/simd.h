// Vectors of LANES floats. The compiler splits a vector into what the instruction set has (one
// AVX-512, two AVX2, four SSE or NEON registers).
#pragma once

#include <cstdint>
#include <cstring>

#include "api.h"
#include "instruction_set.h"
#include "platform.h"

namespace MAMBAIR_SET {

#if (defined(__GNUC__) || defined(__clang__)) && !defined(MAMBAIR_PLAIN_VECTORS)

typedef float vf __attribute__((vector_size(64), aligned(64)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(64), aligned(64)));
typedef uint32_t vu __attribute__((vector_size(64), aligned(64)));
typedef float vf_unaligned __attribute__((vector_size(64), aligned(4)));

INLINE vf load(const float *p) { return *(const vf_unaligned *)p; }
INLINE void store(float *p, vf x) { *(vf_unaligned *)p = x; }
INLINE vf to_float(vi x) { return __builtin_convertvector(x, vf); }
INLINE vf bits_as_float(vu x) { return (vf)x; }
INLINE vu bits_of(vf x) { return (vu)x; }
INLINE vi as_signed(vu x) { return (vi)x; }
INLINE vu as_unsigned(vi x) { return (vu)x; }
INLINE vf splat(float x) { return x - (vf){}; }
INLINE vu splat_bits(uint32_t x) { return x - (vu){}; }
// Given a NaN and a number, these return the second: limits are passed first, so that NaN passes.
INLINE vf minimum(vf a, vf b) { return a < b ? a : b; }
INLINE vf maximum(vf a, vf b) { return a > b ? a : b; }
// x where a > b, y elsewhere
INLINE vf select_greater(vf a, vf b, vf x, vf y) { return a > b ? x : y; }

#else  // a compiler without vector types: plain loops, which it may vectorize

struct v4 {
  float v[4];
  float &operator[](int i) { return v[i]; }
};
INLINE v4 operator+(v4 a, v4 b) {
  for (int i = 0; i < 4; ++i) a.v[i] += b.v[i];
  return a;
}
struct vi {
  int32_t v[LANES];
};
struct vu {
  uint32_t v[LANES];
};
struct vf {
  float v[LANES];
};
#define EACH for (int i = 0; i < LANES; ++i)
INLINE vf load(const float *p) {
  vf r;
  EACH r.v[i] = p[i];
  return r;
}
INLINE void store(float *p, vf x) { EACH p[i] = x.v[i]; }
INLINE vf splat(float x) {
  vf r;
  EACH r.v[i] = x;
  return r;
}
INLINE vu splat_bits(uint32_t x) {
  vu r;
  EACH r.v[i] = x;
  return r;
}
INLINE vf operator+(vf a, vf b) {
  EACH a.v[i] += b.v[i];
  return a;
}
INLINE vf operator-(vf a, vf b) {
  EACH a.v[i] -= b.v[i];
  return a;
}
INLINE vf operator*(vf a, vf b) {
  EACH a.v[i] *= b.v[i];
  return a;
}
INLINE vf operator/(vf a, vf b) {
  EACH a.v[i] /= b.v[i];
  return a;
}
INLINE vf operator+(vf a, float b) { return a + splat(b); }
INLINE vf operator-(vf a, float b) { return a - splat(b); }
INLINE vf operator*(vf a, float b) { return a * splat(b); }
INLINE vf operator+(float a, vf b) { return splat(a) + b; }
INLINE vf operator-(float a, vf b) { return splat(a) - b; }
INLINE vf operator*(float a, vf b) { return splat(a) * b; }
INLINE vf operator/(float a, vf b) { return splat(a) / b; }
INLINE vf &operator+=(vf &a, vf b) { return a = a + b; }
INLINE vu operator+(vu a, vu b) {
  EACH a.v[i] += b.v[i];
  return a;
}
INLINE vu operator-(vu a, vu b) {
  EACH a.v[i] -= b.v[i];
  return a;
}
INLINE vu operator*(vu a, vu b) {
  EACH a.v[i] *= b.v[i];
  return a;
}
INLINE vu operator^(vu a, vu b) {
  EACH a.v[i] ^= b.v[i];
  return a;
}
INLINE vu operator<<(vu a, int b) {
  EACH a.v[i] <<= b;
  return a;
}
INLINE vu operator>>(vu a, int b) {
  EACH a.v[i] >>= b;
  return a;
}
INLINE vi operator>>(vi a, int b) {
  EACH a.v[i] >>= b;
  return a;
}
INLINE vf to_float(vi x) {
  vf r;
  EACH r.v[i] = (float)x.v[i];
  return r;
}
INLINE vf bits_as_float(vu x) {
  vf r;
  memcpy(&r, &x, sizeof r);
  return r;
}
INLINE vu bits_of(vf x) {
  vu r;
  memcpy(&r, &x, sizeof r);
  return r;
}
INLINE vi as_signed(vu x) {
  vi r;
  memcpy(&r, &x, sizeof r);
  return r;
}
INLINE vu as_unsigned(vi x) {
  vu r;
  memcpy(&r, &x, sizeof r);
  return r;
}
INLINE vf minimum(vf a, vf b) {
  EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
INLINE vf maximum(vf a, vf b) {
  EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
INLINE vf select_greater(vf a, vf b, vf x, vf y) {
  EACH x.v[i] = a.v[i] > b.v[i] ? x.v[i] : y.v[i];
  return x;
}
#undef EACH

#endif

static_assert(sizeof(vf) == LANES * sizeof(float), "a vector holds LANES floats");

// f(0), ..., f(N - 1), written out: only an array of vectors whose indices are constants stays in
// registers.
template <int N, typename F>
INLINE void unroll(const F &f) {
  if constexpr (N > 0) {
    unroll<N - 1>(f);
    f(N - 1);
  }
}

// The first `count` floats, and zeros; what follows them need not be readable.
INLINE vf load_first(const float *p, int count) {
  if (count == LANES) return load(p);
  float whole[LANES] = {0};
  memcpy(whole, p, count * sizeof(float));
  return load(whole);
}

// The first `count` lanes of x, and `rest` in the others.
INLINE vf keep_lanes(vf x, int count, float rest) {
  if (count == LANES) return x;
  alignas(64) static const float lane[LANES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};
  return select_greater(splat((float)count), load(lane), x, splat(rest));
}

INLINE void store_first(float *p, vf x, int count) {
  if (count == LANES) {
    store(p, x);
    return;
  }
  float whole[LANES];
  store(whole, x);
  memcpy(p, whole, count * sizeof(float));
}

// Sum and maximum of the lanes.
INLINE float sum(vf x) {
  v4 quarter[4];
  memcpy(quarter, &x, sizeof quarter);
  quarter[0] = (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
  return (quarter[0][0] + quarter[0][2]) + (quarter[0][1] + quarter[0][3]);
}

INLINE float largest(vf x) {
  v4 quarter[4];
  memcpy(quarter, &x, sizeof quarter);
  for (int i = 1; i < 4; ++i)
    for (int k = 0; k < 4; ++k)
      quarter[0][k] = quarter[0][k] > quarter[i][k] ? quarter[0][k] : quarter[i][k];
  float best = quarter[0][0];
  for (int k = 1; k < 4; ++k) best = best > quarter[0][k] ? best : quarter[0][k];
  return best;
}

// 2^x for -126 <= x <= 126, to 2.5e-7. n, the nearest whole number, is added to the exponent of
// 2^f, which is, for |f| <= 1/2, 1 + f p(f) with the minimax fit of degree 4 to (2^f - 1) / f: the
// error vanishes with x, so that slow decays stay right over long sequences.
INLINE vf exp2_inside(vf x) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: the sum has no fraction bits
  const vf shifted = x + magic;     // its last bits are n
  const vf f = x - (shifted - magic);
  vf p = splat(0.00133335382228f);
  p = p * f + 0.00966624542302f;
  p = p * f + 0.0555050021469f;
  p = p * f + 0.240223513432f;
  p = p * f + 0.693147143506f;
  p = p * f + 1.0f;
  return bits_as_float(bits_of(p) + (bits_of(shifted) << 23));
}

// 2^x; outside |x| < 126 the value at the limit, which is as good as 0 or infinity.
INLINE vf exp2_approx(vf x) {
  return exp2_inside(minimum(splat(126.0f), maximum(splat(-126.0f), x)));
}

// 2^x for x <= 0, and 0 below 2^-80: what smaller weights of a softmax are multiplied with would be
// subnormal, which some processors handle a hundred times more slowly.
INLINE vf exp2_of_nonpositive(vf x) {
  const vf limit = splat(-80.0f);
  return select_greater(limit, x, splat(0.0f), exp2_inside(maximum(limit, x)));
}

const float LOG2_E = 1.44269504088896f;

// log(1 + exp(x)) = max(x, 0) + log1p(z), z = exp(-|x|); log1p(z) = 2 artanh(z / (2 + z)), a series
// in s <= 1/3 that is right to the last bit for the smallest steps too. Also gives the derivative.
INLINE vf softplus(vf x, vf *slope) {
  vf magnitude = maximum(x, 0.0f - x);
  vf z = exp2_approx(magnitude * -LOG2_E);
  vf s = z / (2.0f + z);
  vf q = s * s;
  vf p = splat(1.0f / 15);
  p = p * q + 1.0f / 13;
  p = p * q + 1.0f / 11;
  p = p * q + 1.0f / 9;
  p = p * q + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  p = p * q + 1.0f;
  vf positive = maximum(splat(0.0f), x);
  // sigmoid(x) is 1 / (1 + z) where x >= 0 and z / (1 + z) elsewhere
  vf r = 1.0f / (1.0f + z);
  vf high = minimum(positive * 1e38f, splat(1.0f));  // 1 where x > 0, else 0
  *slope = r * (high + (1.0f - high) * z);
  return positive + 2.0f * s * p;
}

}  // namespace MAMBAIR_SET
