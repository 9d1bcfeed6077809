// One block of MambaIRv2, forward and backward, as a program of its own: what test_portability.py
// builds for other compilers and processors. Prints results and gradients, a number a line.

#include <cstdio>

#include "native.cpp"

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

int main(int, char **arguments) {
  mambair_use_instruction_set(atoi(arguments[1]));
  BlockArguments s{};
  s.gated = atoi(arguments[2]);
  s.batch = 2, s.height = 8, s.width = 12, s.channels = 14, s.heads = 2, s.window = 4, s.shift = 2;
  s.hidden = 22, s.d_state = 3, s.rank = 2, s.classes = 5, s.inner_rank = 4, s.route_hidden = 4;
  s.kernel = 5, s.eps = 1e-5f, s.soft = 1, s.parts = 3;
  const int64_t c = s.channels, e = s.hidden, n = s.d_state, inner = s.gated ? e / 2 : e;
  const int64_t tokens = s.batch * s.height * s.width, windows = tokens / (s.window * s.window);
  const int64_t sizes[baseline::BLOCK_PARAMETERS] = {
      c, c, c, c, c, c, c, c, c, c, 3 * c * c, 3 * c, 49 * s.heads, c * c, c, e * c, e, e * 9, e,
      (s.rank + 2 * n) * e, e * s.rank, e, e * n, e, e, e, c * e, c, s.inner_rank * n,
      s.classes * s.inner_rank, s.route_hidden * c, s.route_hidden, s.classes * s.route_hidden, s.classes,
      e * c, e, c * inner, c, inner * 25, inner, inner, inner,
      e * c, e, c * inner, c, inner * 25, inner, inner, inner};
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
  std::vector<std::vector<float>> rooms;
  const auto room = [&](int64_t floats) {
    rooms.emplace_back(floats + LANES, 0.0f);
    return rooms.back().data();
  };
  for (float **map : {&s.part1, &s.half, &s.part2, &s.grad_part, &s.grad_half}) *map = room(tokens * c);
  for (float **map : {&s.ffn1, &s.ffn2, &s.inner, &s.ordered, &s.scanned, &s.grad_ffn, &s.grad_conv,
                      &s.grad_inner, &s.grad_scanned, &s.grad_ordered, &s.grad_delta})
    *map = room(tokens * e);
  s.projected = room(tokens * (s.rank + 2 * n));
  std::vector<int32_t> indices(3 * tokens);
  s.chosen = indices.data(), s.order = s.chosen + tokens, s.inverse = s.order + tokens;
  const int64_t blocks = s.batch * 2, length = s.height * s.width;  // 22 channels: two blocks
  s.qkv = room(windows * 16 * 48), s.attended = room(windows * 16 * 16);
  s.log_sums = room(windows * 16 * s.heads);
  s.states = room(blocks * (length / CHUNK + 1) * n * LANES);
  s.grad_B = room(blocks * length * n), s.grad_C = room(blocks * length * n);
  s.grad_A = room(blocks * n * LANES), s.grad_D = room(blocks * LANES), s.grad_bias = room(blocks * LANES);
  s.packed = room(mambair_block_floats(&s));
  mambair_block(&s, 2, nullptr);
  print(y);
  s.grad_y = grad_y.data();
  s.packed = room(mambair_block_floats(&s));
  s.sums = room(s.parts * mambair_block_sums_floats(&s));
  mambair_block_backward(&s, 2, nullptr);
  print(grad_x);
  for (const auto &values : grads) print(values);
  return 0;
}
