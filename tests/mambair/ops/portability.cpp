// One block of MambaIRv2, forward and backward, as a program of its own that
// test_portability.py builds for other compilers and processors. Prints results and gradients, one
// number on each line.

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <vector>

#include "native.cpp"
#include "scratch.h"

extern "C" PyObject *PyModule_Create2(PyModuleDef *, int) { return nullptr; }  // no Python here

static uint32_t state = 1;
static float draw() {  // in [-1, 1)
  state = state * 1664525u + 1013904223u;
  return (float)(int32_t)(state >> 8) / (1 << 23) - 1.0f;
}
static std::vector<float> drawn(int64_t count, float scale, float shift = 0.0f) {
  std::vector<float> values(count);
  for (auto &value : values) value = shift + scale * draw();
  return values;
}
static void print(const std::vector<float> &values) {
  for (float value : values) printf("%.8g\n", value);
}

static int64_t product(std::initializer_list<int64_t> sides) {
  int64_t size = 1;
  for (int64_t side : sides) size *= side;
  return size;
}

static std::vector<int64_t> parameter_sizes(const BlockArguments &s) {
  const int64_t one = 1, three = 3, channels = s.channels, three_channels = 3 * channels;
  const int64_t positions = (2 * s.window - 1) * (2 * s.window - 1), heads = s.heads;
  const int64_t hidden = s.hidden, d_state = s.d_state, rank = s.rank,
                projected = rank + 2 * d_state;
  const int64_t inner_rank = s.inner_rank, classes = s.classes, route_hidden = s.route_hidden;
  const int64_t kernel = s.kernel, convolved = s.gated ? hidden / 2 : hidden, gate = convolved;
#define PARAMETER(name, ...) product({__VA_ARGS__}),
  return {
  // clang-format off: it would leave out the second
#include "block_parameters.inc"
#include "ffn_parameters.inc"
#include "ffn_parameters.inc"
      // clang-format on
  };
#undef PARAMETER
}

int main(int, char **arguments) {
  mambair_use_instruction_set(atoi(arguments[1]));
  BlockArguments s{};
  s.gated = atoi(arguments[2]);
  s.batch = 2, s.height = 8, s.width = 12, s.channels = 14, s.heads = 2, s.window = 4, s.shift = 2;
  s.hidden = 22, s.d_state = 3, s.rank = 2, s.classes = 5, s.inner_rank = 4, s.route_hidden = 4;
  s.kernel = 5, s.eps = 1e-5f, s.soft = 1, s.shares = 3;
  const int64_t c = s.channels, e = s.hidden, n = s.d_state;
  const int64_t tokens = s.batch * s.height * s.width, windows = tokens / (s.window * s.window);
  const std::vector<int64_t> sizes = parameter_sizes(s);
  std::vector<std::vector<float>> parameters, grads;
  std::vector<const float *> pointers;
  std::vector<float *> grad_pointers;
  for (int64_t size : sizes) {
    parameters.push_back(drawn(size, 0.5f, 0.1f));
    grads.emplace_back(size, 0.0f);
  }
  for (auto &values : parameters) pointers.push_back(values.data());
  for (auto &values : grads) grad_pointers.push_back(values.data());
  s.parameters = pointers.data();
  s.grad_parameters = grad_pointers.data();

  const auto x = drawn(tokens * c, 1.0f), grad_y = drawn(tokens * c, 1.0f);
  std::vector<float> y(tokens * c), grad_x(tokens * c);
  s.x = x.data(), s.y = y.data(), s.grad_x = grad_x.data();
  const std::vector<int32_t> keys = {12345, -678};
  s.keys = keys.data();
  std::vector<std::vector<float>> buffers;
  const auto take = [&](int64_t floats) {
    buffers.emplace_back(floats + LANES, 0.0f);
    return buffers.back().data();
  };
  for (float **map : {&s.after_attention, &s.after_ffn1, &s.after_scan, &s.grad_after_attention,
                      &s.grad_after_ffn1})
    *map = take(tokens * c);
  for (float **map : {&s.hidden1, &s.hidden2, &s.inner, &s.ordered, &s.scanned, &s.grad_hidden,
                      &s.grad_conv, &s.grad_inner, &s.grad_scanned, &s.grad_ordered, &s.grad_delta})
    *map = take(tokens * e);
  s.projected = take(tokens * (s.rank + 2 * n));
  std::vector<int32_t> indices(3 * tokens);
  s.chosen = indices.data(), s.order = s.chosen + tokens, s.inverse = s.order + tokens;
  const int64_t length = s.height * s.width, bundles = s.batch * baseline::vectors(e) / LANES;
  const int64_t area = s.window * s.window, rows = baseline::whole(area, MAX_TILE_ROWS);
  s.qkv = take(windows * rows * baseline::vectors(3 * c));
  s.attended = take(windows * rows * baseline::vectors(c));
  s.log_sums = take(windows * area * s.heads);
  s.states = take(bundles * (length / CHUNK + 1) * n * LANES);
  s.grad_B = take(bundles * length * n), s.grad_C = take(bundles * length * n);
  s.grad_A = take(bundles * n * LANES), s.grad_D = take(bundles * LANES),
  s.grad_bias = take(bundles * LANES);
  s.packed = take(mambair_block_floats(&s));
  mambair_block(&s, 2, nullptr);
  print(y);
  s.grad_y = grad_y.data();
  s.packed = take(mambair_block_floats(&s));
  s.sums = take(s.shares * mambair_block_sums_floats(&s));
  mambair_block_backward(&s, 2, nullptr);
  print(grad_x);
  for (const auto &values : grads) print(values);
  return 0;
}
