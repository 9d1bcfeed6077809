// Layers over rows of channels: linear layers, normalization, GELU. Rows in scratch are padded to
// whole vectors, and what the padding holds means nothing.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tiles.h"

namespace MAMBAIR_SET {

// A linear layer as products take it.
struct Linear {
  int in, out;
  float *panels;      // [in][out], packed
  float *bias;        // (out) in whole vectors, or null
  float *transposed;  // [out][in], packed, for gradients, or null
};

struct Norm {
  const float *weight, *bias;  // in whole vectors
  float eps;
};

// f(i, count) for vectors of a row from channel i on, of which `count` lanes count.
template <typename F>
INLINE void each_vector(int channels, const F &f) {
  int i = 0;
  for (; i + LANES <= channels; i += LANES) f(i, LANES);
  if (i < channels) f(i, channels - i);
}

INLINE void copy_row(float *to, const float *from, int channels) {
  each_vector(channels, [&](int i, int count) FLAT {
    if (count == LANES)
      store(to + i, load(from + i));
    else
      memcpy(to + i, from + i, count * sizeof(float));
  });
}

INLINE float *pack_row(float *buffer, const float *from, int channels, float padding = 0.0f) {
  for (int i = 0; i < vectors(channels); ++i) buffer[i] = i < channels ? from[i] : padding;
  return buffer;
}

INLINE int64_t linear_floats(int in, int out) { return (in + 1) * vectors(out); }

// `padding` is the bias past `out`.
INLINE Linear pack_linear(float *buffer, const float *weight, const float *bias, int in, int out,
                          float padding = 0.0f) {
  Linear layer{in, out, buffer, nullptr, nullptr};
  pack_panels(layer.panels, weight, in, out, 1, in);
  if (bias) layer.bias = pack_row(buffer + in * vectors(out), bias, out, padding);
  return layer;
}

// to ([row][out in whole vectors]) = a ([row][stride]) times the layer.
INLINE void apply(const Linear &layer, float *to, const float *a, int64_t stride, int rows) {
  multiply(to, vectors(layer.out), a, stride, rows, layer.panels, layer.bias, layer.in, layer.out);
}

struct Moments {
  float mean, factor;  // factor: 1 / standard deviation
};

// Mean and deviation of a row in scratch.
INLINE Moments moments(const float *x, int channels, float eps) {
  vf total = splat(0.0f);
  each_vector(channels,
              [&](int i, int count) FLAT { total += keep_lanes(load(x + i), count, 0.0f); });
  const float mean = sum(total) / channels;
  vf squares = splat(0.0f);
  each_vector(channels, [&](int i, int count) FLAT {
    const vf centered = keep_lanes(load(x + i), count, mean) - splat(mean);
    squares += centered * centered;
  });
  return {mean, 1.0f / std::sqrt(sum(squares) / channels + eps)};
}

// Mean 0 and variance 1 over the channels of a row in scratch, then weight and bias (LayerNorm).
INLINE void normalize(float *to, const float *from, const Norm &norm, int channels) {
  const Moments m = moments(from, channels, norm.eps);
  for (int i = 0; i < channels; i += LANES) {
    const vf centered = (load(from + i) - splat(m.mean)) * m.factor;
    store(to + i, centered * load(norm.weight + i) + load(norm.bias + i));
  }
}

// Common to gelu and its slope: the tail 1 - Phi(|x|) of the normal distribution, by
// equation 7.1.26 of Abramowitz & Stegun, to 1e-7.
INLINE vf normal_tail(vf magnitude, vf *bell) {
  const vf z = magnitude * 0.70710678118654752f;
  const vf t = 1.0f / (1.0f + 0.3275911f * z);
  vf p = splat(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  *bell = exp2_approx(z * z * -LOG2_E);
  return p * t * *bell * 0.5f;
}

// gelu(x) = x Phi(x) to 1e-6.
INLINE vf gelu(vf x) {
  const vf magnitude = minimum(splat(1e4f), maximum(x, 0.0f - x));  // beyond, the tail is 0
  vf bell;
  const vf tail = normal_tail(magnitude, &bell);
  return maximum(splat(0.0f), x) - magnitude * tail;
}

// Phi(x) + x phi(x).
INLINE vf gelu_slope(vf x) {
  const vf magnitude = minimum(splat(1e4f), maximum(x, 0.0f - x));
  vf bell;
  const vf tail = normal_tail(magnitude, &bell);
  const vf below = select_greater(x, splat(0.0f), 1.0f - tail, tail);  // Phi(x)
  return below + minimum(splat(1e4f), maximum(splat(-1e4f), x)) * bell * 0.39894228040143268f;
}

// Gradient of a normalized row by the row, in the place of that by its result; `sums` of both by
// weight and bias grow ([2][channels in whole vectors]). All in scratch.
INLINE void normalize_backward(float *grad, const float *from, const Norm &norm, int channels,
                               float *sums) {
  const Moments m = moments(from, channels, norm.eps);
  const int64_t wide = vectors(channels);
  vf mean = splat(0.0f), slope = splat(0.0f);
  each_vector(channels, [&](int i, int count) FLAT {
    const vf unit = keep_lanes((load(from + i) - splat(m.mean)) * m.factor, count, 0.0f);
    const vf g = load(grad + i);
    store(sums + i, load(sums + i) + g * unit);
    store(sums + wide + i, load(sums + wide + i) + g);
    const vf inner = keep_lanes(g * load(norm.weight + i), count, 0.0f);
    mean += inner;
    slope += inner * unit;
  });
  const float mean_grad = sum(mean) / channels, mean_slope = sum(slope) / channels;
  for (int i = 0; i < channels; i += LANES) {
    const vf unit = (load(from + i) - splat(m.mean)) * m.factor;
    const vf inner = load(grad + i) * load(norm.weight + i);
    store(grad + i, (inner - splat(mean_grad) - unit * mean_slope) * m.factor);
  }
}

INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exp2_approx(x * -LOG2_E)); }

INLINE void gelu_rows(float *x, int64_t floats) {
  for (int64_t i = 0; i < floats; i += LANES) store(x + i, gelu(load(x + i)));
}

INLINE void add_row(float *to, const float *what, int channels) {
  each_vector(channels, [&](int i, int count)
                            FLAT { store(to + i, load(to + i) + load_first(what + i, count)); });
}

INLINE void add_scaled_row(float *to, const float *what, const float *scale, int channels) {
  each_vector(channels, [&](int i, int count) FLAT {
    store(to + i, load(to + i) + load_first(what + i, count) * load_first(scale + i, count));
  });
}

// Sums that become a layer's gradients.
struct LinearSums {
  float *weight;  // [out in whole tiles][in in whole vectors]
  float *bias;    // (out) in whole vectors
};

INLINE int64_t linear_sums_floats(int in, int out) {
  return whole(out, TILE_ROWS) * vectors(in) + vectors(out);
}
INLINE LinearSums linear_sums(float *buffer, int in, int out) {
  return {buffer, buffer + whole(out, TILE_ROWS) * vectors(in)};
}

INLINE int64_t transposed_floats(int in, int out) { return out * vectors(in); }
INLINE void pack_transposed(Linear &layer, float *buffer, const float *weight) {
  layer.transposed = buffer;
  pack_panels(buffer, weight, layer.out, layer.in, layer.in, 1);
}

// Adds the gradients of parameters for rows x ([row][in]) whose results have gradients `grad`
// ([row][out]), both in whole vectors; `grad_in` takes the gradients of x.
INLINE void linear_backward(const Linear &layer, const LinearSums &sums, const float *grad,
                            const float *x, int rows, float *grad_in) {
  const int64_t in_wide = vectors(layer.in), out_wide = vectors(layer.out);
  for (int r = 0; r < rows; ++r)
    for (int64_t i = 0; i < out_wide; i += LANES)
      store(sums.bias + i, load(sums.bias + i) + load(grad + r * out_wide + i));
  accumulate(sums.weight, in_wide, grad, out_wide, x, in_wide, rows, layer.out, layer.in);
  multiply(grad_in, in_wide, grad, out_wide, rows, layer.transposed, nullptr, layer.out, layer.in);
}

// Sums to gradients in PyTorch's layout.
INLINE void unpack_linear(float *grad_weight, float *grad_bias, const LinearSums &sums, int in,
                          int out) {
  for (int o = 0; o < out; ++o)
    copy_row(grad_weight + (int64_t)o * in, sums.weight + o * vectors(in), in);
  if (grad_bias) copy_row(grad_bias, sums.bias, out);
}

// Adds `floats` of every share of sums, which lie `stride` apart, to those of the first.
INLINE void add_shares(float *sums, int64_t floats, int64_t stride, int64_t shares) {
  for (int64_t share = 1; share < shares; ++share)
    for (int64_t i = 0; i < floats; i += LANES)
      store(sums + i, load(sums + i) + load(sums + share * stride + i));
}

}  // namespace MAMBAIR_SET
