// The C interface of the kernels: what Python passes by pointer (native/__init__.py mirrors it).
#pragma once

#include <atomic>
#include <cstdint>

// Selective scan, token-major. Strides count floats; the innermost stride is 1 everywhere.
struct ScanArguments {
  int64_t batch, length, channels, groups, d_state;
  const float *u;      // (batch, length, channels)
  const float *delta;  // (batch, length, channels), before bias and softplus
  const float *A;      // (groups, d_state, channels / groups), contiguous
  const float *B;      // (batch, length, groups, d_state)
  const float *C;      // (batch, length, groups, d_state)
  const float *D;      // (channels) or null
  const float *bias;   // (channels) or null
  int64_t u_batch, u_token, delta_batch, delta_token;
  int64_t B_batch, B_token, B_group, C_batch, C_token, C_group;
  float *y;       // (batch, length, channels), contiguous
  float *states;  // state before every chunk, or null: (batch, blocks, chunks, d_state, LANES)
  // In place of delta, from C++: (batch, length, rank), strides of B, times (rank, channels in whole vectors).
  int64_t rank;
  const float *low, *low_weight;
  // Set by the entry point: what passes from segment to segment, and how many are done.
  float *carry;                     // (batch, blocks, d_state, LANES)
  std::atomic<int64_t> *progress;   // (batch, blocks)
  // Backward only; all contiguous.
  const float *grad_y;              // (batch, length, channels)
  float *grad_u, *grad_delta;       // (batch, length, channels)
  float *grad_B, *grad_C;           // (batch, blocks, length, d_state): one part a block
  float *grad_A;                    // (batch, blocks, d_state, LANES)
  float *grad_D, *grad_bias;        // (batch, blocks, LANES)
};

// Attention within shifted windows of a map of queries, keys and values.
struct AttentionArguments {
  int64_t batch, height, width, channels, heads, window, shift;
  const float *qkv;    // (batch, height, width, 3 * channels), contiguous
  const float *table;  // ((2 * window - 1)^2, heads), contiguous
  float *out;          // (batch, height, width, channels), contiguous; backward reads it
  float *log_sums;     // log2 of the softmax's denominator, (batch, height, width, heads), or null
  // Backward only; all contiguous.
  int64_t parts;          // the table's gradient is the sum of so many parts
  const float *grad_out;  // (batch, height, width, channels)
  float *grad_qkv;        // (batch, height, width, 3 * channels)
  float *grad_table;      // (parts, heads, (2 * window - 1)^2)
  float scale;
  const float *tables;    // set by the entry point: the table, packed
};

// y = gelu(norm(x * times) weight + bias) + residual + second * scale; null pointers leave parts out.
struct DenseArguments {
  int64_t tokens, in, out;
  int64_t x_token, times_token;  // floats from token to token
  const float *x;         // (tokens, in)
  const float *times;     // (tokens, in)
  const float *norm_weight, *norm_bias;  // (in)
  const float *weight;    // (out, in), contiguous
  const float *bias;      // (out)
  const float *residual, *second;  // (tokens, out), contiguous
  const float *scale;     // (out)
  float *y;               // (tokens, out), contiguous
  float eps;
  int32_t gelu;
  // Backward only; all contiguous, in the shape of what they are the gradients of.
  int64_t parts;           // gradients of parameters are sums of so many parts
  const float *grad_y;
  float *grad_x, *grad_times, *grad_norm_weight, *grad_norm_bias, *grad_weight, *grad_bias;
  float *grad_second, *grad_scale;
  float *sums;             // of every part; set by the kernel
};

// A block of MambaIRv2. Maps are (batch, height, width, channels), contiguous; those with `hidden`
// channels are read up to LANES floats past their end.
struct BlockArguments {
  int64_t batch, height, width, channels, heads, window, shift;
  int64_t hidden, d_state, rank, classes, inner_rank, route_hidden, kernel;
  const float *x;
  float *y;
  const float *const *parameters;  // in the order of BlockParameter (block.h)
  const int32_t *keys;  // of the noise of every batch element, or null
  const float *noise;   // (batch, height * width, classes), or null
  float *packed;        // room for mambair_block_floats() floats
  // What passes from sweep to sweep. Without gradients part1 and part2, ffn1 and ffn2, inner and scanned
  // may be the same.
  float *part1, *half, *part2;  // maps: after attention, after the first half, after the scan
  float *ffn1, *ffn2, *inner;   // maps of `hidden` channels
  float *ordered, *scanned;     // the same, sorted by class
  float *projected;             // (batch, height * width, rank + 2 * d_state)
  int32_t *chosen, *order, *inverse;  // (batch * height * width)
  // Kept for gradients, or null. Of windows: rows of tokens in whole tiles, of channels in whole vectors.
  float *qkv, *attended;  // (windows, tokens, 3 * channels), (windows, tokens, channels)
  float *log_sums;        // (windows, window^2, heads)
  float *states;          // of the scan
  // Backward only.
  int64_t parts;            // gradients of parameters are sums of so many parts
  const float *grad_y;
  float *grad_x;
  float *const *grad_parameters;  // in the order of `parameters`
  float *sums;              // room for mambair_block_sums_floats() floats
  float *grad_part, *grad_half;              // maps
  float *grad_ffn, *grad_conv, *grad_inner;  // maps of `hidden` channels, as are those of the scan:
  float *grad_scanned, *grad_ordered, *grad_delta;
  float *grad_B, *grad_C;   // as in ScanArguments
  float *grad_A, *grad_D, *grad_bias;
  float eps;                // of every norm
  int32_t gated;            // which FFN
  int32_t soft;             // the choice of a class has a (straight-through) gradient
};

// Choice of a class for every token, and the order of the tokens by class.
struct RouteArguments {
  int64_t batch, length, classes;
  const float *scores;  // (batch, length, classes), contiguous
  int64_t *chosen;      // (batch, length)
  int64_t *order;       // (batch * length): token at every place, counted through the batch
  int64_t *inverse;     // (batch * length): place of every token
  const int32_t *keys;  // of the noise of every batch element, or null: no noise
  float *soft;          // softmax of the noisy scores, (batch, length, classes), or null
};

// Work is cut into tasks that may run in any order; `run(context, task)` does one of them.
using Task = void (*)(const void *context, int64_t task);
