// Depthwise convolution of a map ([row][column][channels]), with zeros around it.
#pragma once

#include <cstdint>

#include "linear.h"

namespace MAMBAIR_SET {

const int PIXELS = TILE_ROWS;  // that one vector of weights is used for

struct Depthwise {
  int channels, kernel;
  float *weights;  // [row][column][channels in whole vectors]
  float *bias;     // (channels), likewise, or null
  float *flipped;  // the weights the other way round, for gradients, or null
};

INLINE int64_t depthwise_floats(int channels, int kernel) {
  return (kernel * kernel + 1) * vectors(channels);
}

// From PyTorch's [channel][row][column].
INLINE Depthwise pack_depthwise(float *buffer, const float *weight, const float *bias, int channels,
                                int kernel) {
  const int taps = kernel * kernel;
  const int64_t wide = vectors(channels);
  Depthwise layer{channels, kernel, buffer, buffer + taps * wide, nullptr};
  for (int tap = 0; tap < taps; ++tap)
    for (int i = 0; i < wide; ++i)
      buffer[tap * wide + i] = i < channels ? weight[i * taps + tap] : 0.0f;
  pack_row(layer.bias, bias, channels);
  return layer;
}

INLINE void pack_flipped(Depthwise &layer, float *buffer) {
  const int taps = layer.kernel * layer.kernel;
  const int64_t wide = vectors(layer.channels);
  layer.flipped = buffer;
  for (int tap = 0; tap < taps; ++tap)
    copy_row(buffer + tap * wide, layer.weights + (taps - 1 - tap) * wide, (int)wide);
}

// The layer that takes gradients of the results to gradients of the map.
INLINE Depthwise transpose(const Depthwise &layer) {
  return {layer.channels, layer.kernel, layer.flipped, nullptr, nullptr};
}

struct Map {
  const float *pixels;  // of one batch element, from the first channel that counts
  int64_t height, width,
      stride;  // stride: floats from pixel to pixel; a vector may be read past the end
};

// PIXELS neighboring pixels times a row of taps, one vector of channels: `pixel(j)` is where the
// j-th of the pixels under them lies.
template <typename F>
INLINE void convolve_row(vf *sums, const float *weight, int64_t wide, int kernel, const F &pixel) {
  for (int j = 0; j < kernel; ++j, weight += wide) {
    const vf value = load(weight);
    unroll<PIXELS>([&](int p) FLAT { sums[p] += load(pixel(j + p)) * value; });
  }
}

// to ([pixel][stride]) for `count` pixels of a row from (row, column) on. `zeros`: as long as a
// pixel.
static NOINLINE void convolve(float *to, int64_t stride, const Map &map, const Depthwise &layer,
                              int64_t row, int64_t column, int count, const float *zeros) {
  const int kernel = layer.kernel, around = kernel / 2;
  const int64_t wide = vectors(layer.channels);
  const int64_t top = row < around ? around - row : 0;  // taps that lie within the map
  const int64_t bottom = row + around < map.height ? kernel : map.height - row + around;
  for (int first = 0; first < count; first += PIXELS) {
    const int64_t left = column + first - around;
    const bool inside = left >= 0 && left + PIXELS + kernel - 1 <= map.width;
    for (int64_t channel = 0; channel < wide; channel += LANES) {
      const vf start = layer.bias ? load(layer.bias + channel) : splat(0.0f);
      vf sums[PIXELS];
      unroll<PIXELS>([&](int p) FLAT { sums[p] = start; });
      for (int64_t i = top; i < bottom; ++i) {
        const float *line =
            map.pixels + ((row + i - around) * map.width + left) * map.stride + channel;
        const float *weight = layer.weights + i * kernel * wide + channel;
        if (inside)
          convolve_row(sums, weight, wide, kernel,
                       [&](int j) FLAT { return line + j * map.stride; });
        else
          convolve_row(sums, weight, wide, kernel, [&](int j) FLAT {
            const bool there = left + j >= 0 && left + j < map.width;
            return there ? line + j * map.stride : zeros + channel;
          });
      }
      unroll<PIXELS>([&](int p) FLAT { store(to + (first + p) * stride + channel, sums[p]); });
    }
  }
}

// COUNT neighboring taps of a row: sums ([tap][wide]) += map times gradients, for a stretch of a
// row.
template <int COUNT>
static NOINLINE void accumulate_taps(float *sums, int64_t wide, const float *const *from,
                                     const float *grad, int64_t grad_stride, int count,
                                     int64_t channels) {
  for (int64_t channel = 0; channel < channels; channel += LANES) {
    vf taps[COUNT];
    unroll<COUNT>([&](int j) FLAT { taps[j] = load(sums + j * wide + channel); });
    for (int p = 0; p < count; ++p) {
      const vf g = load(grad + p * grad_stride + channel);
      unroll<COUNT>([&](int j) FLAT { taps[j] += load(from[p + j] + channel) * g; });
    }
    unroll<COUNT>([&](int j) FLAT { store(sums + j * wide + channel, taps[j]); });
  }
}

// Adds to the gradients of weights and bias (laid out as they are) those of a stretch of a row;
// `grads` is the map of the results' gradients.
INLINE void convolve_backward(float *sums, const Map &map, const Map &grads, const Depthwise &layer,
                              int64_t row, int64_t column, int count, const float *zeros) {
  const int kernel = layer.kernel, around = kernel / 2;
  const int64_t wide = vectors(layer.channels);
  const float *grad = grads.pixels + (row * grads.width + column) * grads.stride;
  CHECK(count <= ROWS_AT_ONCE && kernel <= MAX_KERNEL);
  const float *from[ROWS_AT_ONCE + MAX_KERNEL];
  for (int i = 0; i < kernel; ++i, sums += kernel * wide) {
    const int64_t y = row + i - around;
    if (y < 0 || y >= map.height) continue;
    for (int j = 0; j < count + kernel - 1; ++j) {
      const int64_t x = column + j - around;
      from[j] = x >= 0 && x < map.width ? map.pixels + (y * map.width + x) * map.stride : zeros;
    }
    if (kernel == 5)
      accumulate_taps<5>(sums, wide, from, grad, grads.stride, count, layer.channels);
    else if (kernel == 3)
      accumulate_taps<3>(sums, wide, from, grad, grads.stride, count, layer.channels);
    else
      for (int j = 0; j < kernel; ++j)
        accumulate_taps<1>(sums + j * wide, wide, from + j, grad, grads.stride, count,
                           layer.channels);
  }
  for (int p = 0; p < count; ++p)  // sums is at the bias now
    for (int64_t i = 0; i < layer.channels; i += LANES)
      store(sums + i, load(sums + i) + load(grad + p * grads.stride + i));
}

// To PyTorch's layout.
INLINE void unpack_depthwise(float *grad_weight, float *grad_bias, const float *sums,
                             const Depthwise &layer) {
  const int taps = layer.kernel * layer.kernel;
  const int64_t wide = vectors(layer.channels);
  for (int i = 0; i < layer.channels; ++i)
    for (int tap = 0; tap < taps; ++tap) grad_weight[i * taps + tap] = sums[tap * wide + i];
  copy_row(grad_bias, sums + taps * wide, layer.channels);
}

}  // namespace MAMBAIR_SET
