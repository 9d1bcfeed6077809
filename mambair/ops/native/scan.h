// The selective scan: the channels of a bundle in the lanes of a vector, their states in registers,
// one token after the other. A task is a segment of the tokens of one bundle. It continues where
// the segment before it stopped, which is a task with a lower number, so that any number of threads
// shares any number of bundles, and the result does not depend on how many.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "scratch.h"
#include "simd.h"
#include "tasks.h"

namespace MAMBAIR_SET {

struct ScanTask {
  int64_t batch, bundle, group;
  int64_t first;    // channel
  int count;        // of channels
  int64_t number;   // of the bundle in the batch
  int64_t segment;  // in the order of the tasks
};

INLINE int64_t bundles_per_group(const ScanArguments &s) {
  return (s.channels / s.groups + LANES - 1) / LANES;
}

INLINE ScanTask scan_task(const ScanArguments &s, int64_t task) {
  int64_t per_group = bundles_per_group(s), bundles = s.groups * per_group;
  int64_t width = s.channels / s.groups;
  ScanTask b;
  b.segment = task / (s.batch * bundles);
  b.number = task = task % (s.batch * bundles);
  b.batch = task / bundles;
  b.bundle = task % bundles;
  b.group = b.bundle / per_group;
  int64_t inside = (b.bundle % per_group) * LANES;
  b.first = b.group * width + inside;
  b.count = (int)(width - inside < LANES ? width - inside : LANES);
  return b;
}

// A in units of log2, since exp(delta A) = 2^(delta A log2 e).
INLINE void load_decay(const ScanArguments &s, const ScanTask &b, int d_state, vf *decay) {
  int64_t width = s.channels / s.groups;
  const float *A = s.A + b.group * d_state * width + (b.first - b.group * width);
  for (int n = 0; n < d_state; ++n) decay[n] = load_first(A + n * width, b.count) * LOG2_E;
}

// Waits for the segment before, whose end is in `carry`; passes on that this one is done.
INLINE void await_segment(const ScanArguments &s, const ScanTask &b) {
  while (s.progress[b.number].load(std::memory_order_acquire) < b.segment)
    std::this_thread::yield();
}
INLINE void finish_segment(const ScanArguments &s, const ScanTask &b) {
  s.progress[b.number].store(b.segment + 1, std::memory_order_release);
}

// A step before bias and softplus, as it is or as a product of its factors.
INLINE vf raw_delta(const ScanArguments &s, const ScanTask &b, int64_t t) {
  if (!s.low)
    return load_first(s.delta + b.batch * s.delta_batch + t * s.delta_token + b.first, b.count);
  const float *low = s.low + b.batch * s.B_batch + t * s.B_token, *weight = s.low_weight + b.first;
  vf delta = splat(0.0f);
  for (int64_t r = 0; r < s.rank; ++r) delta += load(weight + r * vectors(s.channels)) * low[r];
  return delta;
}

// N = 0: any number of states up to MAX_STATES.
template <int N>
static void scan_segment(const ScanArguments &s, int64_t task) {
  const int d_state = N ? N : (int)s.d_state;
  CHECK(d_state <= MAX_STATES);
  const ScanTask b = scan_task(s, task);
  vf decay[N ? N : MAX_STATES], h[N ? N : MAX_STATES];
  load_decay(s, b, d_state, decay);
  const vf skip = s.D ? load_first(s.D + b.first, b.count) : splat(0.0f);
  const vf bias = s.bias ? load_first(s.bias + b.first, b.count) : splat(0.0f);
  const int64_t chunks = (s.length + CHUNK - 1) / CHUNK, begin = b.segment * SEGMENT;
  const int64_t end = begin + SEGMENT < s.length ? begin + SEGMENT : s.length;
  float *states = s.states ? s.states + b.number * chunks * d_state * LANES : nullptr;
  float *carry = s.carry + b.number * d_state * LANES;

  await_segment(s, b);
  for (int n = 0; n < d_state; ++n) h[n] = begin ? load(carry + n * LANES) : splat(0.0f);
  for (int64_t first = begin; first < end; first += CHUNK) {
    const int tokens = (int)(end - first < CHUNK ? end - first : CHUNK);
    if (states)
      for (int n = 0; n < d_state; ++n) store(states + (first / CHUNK * d_state + n) * LANES, h[n]);
    vf delta[CHUNK];  // ahead of the states, which depend on one another
    for (int i = 0; i < tokens; ++i) {
      vf slope;
      delta[i] = softplus(raw_delta(s, b, first + i) + bias, &slope);
    }
    for (int i = 0; i < tokens; ++i) {
      const int64_t t = first + i;
      const vf u = load_first(s.u + b.batch * s.u_batch + t * s.u_token + b.first, b.count);
      const vf du = delta[i] * u;
      const float *B = s.B + b.batch * s.B_batch + t * s.B_token + b.group * s.B_group;
      const float *C = s.C + b.batch * s.C_batch + t * s.C_token + b.group * s.C_group;
      vf y = skip * u;
      for (int n = 0; n < d_state; ++n) {
        h[n] = exp2_approx(delta[i] * decay[n]) * h[n] + du * B[n];
        y += h[n] * C[n];
      }
      store_first(s.y + (b.batch * s.length + t) * s.channels + b.first, y, b.count);
    }
  }
  for (int n = 0; n < d_state; ++n) store(carry + n * LANES, h[n]);
  finish_segment(s, b);
}

// Chunks from last to first; a chunk's states and decays are recomputed from its first state.
template <int N>
static void differentiate_segment(const ScanArguments &s, int64_t task) {
  const int d_state = N ? N : (int)s.d_state;
  CHECK(d_state <= MAX_STATES);
  const ScanTask b = scan_task(s, task);
  const int64_t bundles = s.groups * bundles_per_group(s);
  vf decay[N ? N : MAX_STATES];
  load_decay(s, b, d_state, decay);
  const vf skip = s.D ? load_first(s.D + b.first, b.count) : splat(0.0f);
  const vf bias = s.bias ? load_first(s.bias + b.first, b.count) : splat(0.0f);
  const int64_t chunks = (s.length + CHUNK - 1) / CHUNK;
  const int64_t segment = (s.length - 1) / SEGMENT - b.segment;  // from last to first
  const int64_t first_chunk = segment * (SEGMENT / CHUNK);
  const int64_t last_chunk =
      first_chunk + SEGMENT / CHUNK < chunks ? first_chunk + SEGMENT / CHUNK : chunks;
  const float *states = s.states + b.number * chunks * d_state * LANES;
  float *grad_B = s.grad_B + (b.batch * bundles + b.bundle) * s.length * d_state;
  float *grad_C = s.grad_C + (b.batch * bundles + b.bundle) * s.length * d_state;

  // Contents of one chunk: states before it and after every token, decays, steps, slopes, inputs.
  const int states_held = (CHUNK + 1) * d_state, decays_held = CHUNK * d_state;
  Scratch scratch((states_held + decays_held + 3 * CHUNK + 2 * d_state) * LANES);
  vf *h = scratch.take<vf>(states_held), *a = scratch.take<vf>(decays_held);
  vf *delta = scratch.take<vf>(CHUNK), *slope = scratch.take<vf>(CHUNK),
     *u = scratch.take<vf>(CHUNK);
  vf *carry = scratch.take<vf>(d_state), *grad_A = scratch.take<vf>(d_state);
  vf grad_D = splat(0.0f), grad_bias = splat(0.0f);
  float *kept = s.carry + b.number * d_state * LANES,
        *kept_A = s.grad_A + b.number * d_state * LANES;
  await_segment(s, b);
  for (int n = 0; n < d_state; ++n) {
    carry[n] = b.segment ? load(kept + n * LANES) : splat(0.0f);
    grad_A[n] = b.segment ? load(kept_A + n * LANES) : splat(0.0f);
  }
  if (b.segment) {
    grad_D = load(s.grad_D + b.number * LANES);
    grad_bias = load(s.grad_bias + b.number * LANES);
  }

  for (int64_t chunk = last_chunk - 1; chunk >= first_chunk; --chunk) {
    const int64_t begin = chunk * CHUNK;
    const int tokens = (int)(s.length - begin < CHUNK ? s.length - begin : CHUNK);
    for (int n = 0; n < d_state; ++n) h[n] = load(states + (chunk * d_state + n) * LANES);
    for (int i = 0; i < tokens; ++i) {
      const int64_t t = begin + i;
      delta[i] = softplus(raw_delta(s, b, t) + bias, &slope[i]);
      u[i] = load_first(s.u + b.batch * s.u_batch + t * s.u_token + b.first, b.count);
      const vf du = delta[i] * u[i];
      const float *B = s.B + b.batch * s.B_batch + t * s.B_token + b.group * s.B_group;
      for (int n = 0; n < d_state; ++n) {
        a[i * d_state + n] = exp2_approx(delta[i] * decay[n]);
        h[(i + 1) * d_state + n] = a[i * d_state + n] * h[i * d_state + n] + du * B[n];
      }
    }
    for (int i = tokens - 1; i >= 0; --i) {
      const int64_t t = begin + i;
      const int64_t at = (b.batch * s.length + t) * s.channels + b.first;
      const float *B = s.B + b.batch * s.B_batch + t * s.B_token + b.group * s.B_group;
      const float *C = s.C + b.batch * s.C_batch + t * s.C_token + b.group * s.C_group;
      const vf dy = load_first(s.grad_y + at, b.count);
      const vf du = delta[i] * u[i];
      vf g_B = splat(0.0f), through_decay = splat(0.0f);
      for (int n = 0; n < d_state; ++n) {
        const vf g = dy * C[n] + carry[n];  // the loss by h_t
        grad_C[t * d_state + n] = sum(dy * h[(i + 1) * d_state + n]);
        grad_B[t * d_state + n] = sum(g * du);
        g_B += g * B[n];
        const vf q = g * a[i * d_state + n] * h[i * d_state + n];
        through_decay += q * decay[n];
        grad_A[n] += q * delta[i];
        carry[n] = g * a[i * d_state + n];
      }
      const vf grad_delta = (through_decay * (1.0f / LOG2_E) + g_B * u[i]) * slope[i];
      grad_bias += grad_delta;
      grad_D += dy * u[i];
      store_first(s.grad_delta + at, grad_delta, b.count);
      store_first(s.grad_u + at, g_B * delta[i] + dy * skip, b.count);
    }
  }
  for (int n = 0; n < d_state; ++n) {
    store(kept + n * LANES, carry[n]);
    store(kept_A + n * LANES, grad_A[n]);
  }
  store(s.grad_D + b.number * LANES, grad_D);
  store(s.grad_bias + b.number * LANES, grad_bias);
  finish_segment(s, b);
}

static void scan_forward_task(const void *context, int64_t task) {
  const ScanArguments &s = *(const ScanArguments *)context;
  switch (s.d_state) {
    case 8:
      return scan_segment<8>(s, task);
    case 16:
      return scan_segment<16>(s, task);
    default:
      return scan_segment<0>(s, task);
  }
}

static void scan_backward_task(const void *context, int64_t task) {
  const ScanArguments &s = *(const ScanArguments *)context;
  switch (s.d_state) {
    case 8:
      return differentiate_segment<8>(s, task);
    case 16:
      return differentiate_segment<16>(s, task);
    default:
      return differentiate_segment<0>(s, task);
  }
}

static void scan_forward(const ScanArguments &s, int threads, Parallel parallel) {
  run_scan(scan_forward_task, s, threads, parallel);
}

static void scan_backward(const ScanArguments &s, int threads, Parallel parallel) {
  run_scan(scan_backward_task, s, threads, parallel);
}

}  // namespace MAMBAIR_SET
