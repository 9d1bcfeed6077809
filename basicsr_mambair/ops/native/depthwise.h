// Depthwise convolution of a map ([row][column][channels]), with zeros around it.

const int MAX_KERNEL = 15;
const int PIXELS = ROWS;  // that one vector of weights is used for

struct Depthwise {
  int channels, kernel;
  float *weights;  // [row][column][channels in whole vectors]
  float *bias;     // (channels), likewise
};

INLINE int64_t depthwise_floats(int channels, int kernel) {
  return (kernel * kernel + 1) * vectors(channels);
}

// From PyTorch's [channel][row][column].
INLINE Depthwise pack_depthwise(float *room, const float *weight, const float *bias, int channels,
                                int kernel) {
  const int taps = kernel * kernel;
  const int64_t wide = vectors(channels);
  Depthwise layer{channels, kernel, room, room + taps * wide};
  for (int tap = 0; tap < taps; ++tap)
    for (int i = 0; i < wide; ++i) room[tap * wide + i] = i < channels ? weight[i * taps + tap] : 0.0f;
  pack_row(layer.bias, bias, channels);
  return layer;
}

struct Map {
  const float *pixels;  // of one batch element, from the first channel that counts
  int64_t height, width, stride;  // stride: floats from pixel to pixel; a vector may be read past the end
};

// to ([pixel][stride]) for `count` pixels of a row from (row, column) on. `zeros`: as long as a pixel.
static NOINLINE void convolve(float *to, int64_t stride, const Map &map, const Depthwise &layer,
                              int64_t row, int64_t column, int count, const float *zeros) {
  const int kernel = layer.kernel, around = kernel / 2;
  const int64_t wide = vectors(layer.channels);
  const float *from[MAX_KERNEL][PIXELS + MAX_KERNEL - 1];
  for (int first = 0; first < count; first += PIXELS) {
    for (int i = 0; i < kernel; ++i)
      for (int j = 0; j < PIXELS + kernel - 1; ++j) {
        const int64_t y = row + i - around, x = column + first + j - around;
        const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
        from[i][j] = inside ? map.pixels + (y * map.width + x) * map.stride : zeros;
      }
    for (int64_t channel = 0; channel < wide; channel += LANES) {
      vf sums[PIXELS];
      unroll<PIXELS>([&](int p) FLAT { sums[p] = load(layer.bias + channel); });
      const float *weight = layer.weights + channel;
      for (int i = 0; i < kernel; ++i)
        for (int j = 0; j < kernel; ++j, weight += wide) {
          const vf value = load(weight);
          unroll<PIXELS>([&](int p) FLAT { sums[p] += load(from[i][j + p] + channel) * value; });
        }
      unroll<PIXELS>([&](int p) FLAT { store(to + (first + p) * stride + channel, sums[p]); });
    }
  }
}
