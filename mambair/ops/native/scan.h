// The selective scan: 16 channels in the lanes of a vector, their states in registers, one token after
// the other. Tasks are segments of tokens of a block of 16 channels of one group and batch element. A
// segment goes on where the one before it stopped, which is a task with a lower number, so that any
// number of threads shares any number of blocks, and the result does not depend on it.

struct ScanBlock {
  int64_t batch, index, group;
  int64_t first;  // channel
  int count;      // channels
  int64_t number;    // among all blocks of the batch
  int64_t segment;   // in the order of the tasks
};

INLINE int64_t blocks_per_group(const ScanArguments &s) {
  return (s.channels / s.groups + LANES - 1) / LANES;
}

INLINE ScanBlock scan_block(const ScanArguments &s, int64_t task) {
  int64_t per_group = blocks_per_group(s), blocks = s.groups * per_group;
  int64_t width = s.channels / s.groups;
  ScanBlock b;
  b.segment = task / (s.batch * blocks);
  b.number = task = task % (s.batch * blocks);
  b.batch = task / blocks;
  b.index = task % blocks;
  b.group = b.index / per_group;
  int64_t inside = (b.index % per_group) * LANES;
  b.first = b.group * width + inside;
  b.count = (int)(width - inside < LANES ? width - inside : LANES);
  return b;
}

// A in units of log2: exp(delta A) = 2^(delta A log2 e).
INLINE void load_decay(const ScanArguments &s, const ScanBlock &b, int d_state, vf *decay) {
  int64_t width = s.channels / s.groups;
  const float *A = s.A + b.group * d_state * width + (b.first - b.group * width);
  for (int n = 0; n < d_state; ++n) decay[n] = load_part(A + n * width, b.count) * LOG2_E;
}

// Waits for the segment before, whose end is in `carry`; passes on that this one is done.
INLINE void await_segment(const ScanArguments &s, const ScanBlock &b) {
  while (s.progress[b.number].load(std::memory_order_acquire) < b.segment) std::this_thread::yield();
}
INLINE void finish_segment(const ScanArguments &s, const ScanBlock &b) {
  s.progress[b.number].store(b.segment + 1, std::memory_order_release);
}

// A step before bias and softplus, as it is or as a product of its factors.
INLINE vf raw_delta(const ScanArguments &s, const ScanBlock &b, int64_t t) {
  if (!s.low) return load_part(s.delta + b.batch * s.delta_batch + t * s.delta_token + b.first, b.count);
  const float *low = s.low + b.batch * s.B_batch + t * s.B_token, *weight = s.low_weight + b.first;
  vf delta = splat(0.0f);
  for (int64_t r = 0; r < s.rank; ++r) delta += load(weight + r * vectors(s.channels)) * low[r];
  return delta;
}

// N = 0: any number of states up to MAX_STATES.
template <int N>
static void scan_forward(const ScanArguments &s, int64_t task) {
  const int d_state = N ? N : (int)s.d_state;
  const ScanBlock b = scan_block(s, task);
  vf decay[N ? N : MAX_STATES], h[N ? N : MAX_STATES];
  load_decay(s, b, d_state, decay);
  const vf skip = s.D ? load_part(s.D + b.first, b.count) : splat(0.0f);
  const vf bias = s.bias ? load_part(s.bias + b.first, b.count) : splat(0.0f);
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
      const vf u = load_part(s.u + b.batch * s.u_batch + t * s.u_token + b.first, b.count);
      const vf du = delta[i] * u;
      const float *B = s.B + b.batch * s.B_batch + t * s.B_token + b.group * s.B_group;
      const float *C = s.C + b.batch * s.C_batch + t * s.C_token + b.group * s.C_group;
      vf y = skip * u;
      for (int n = 0; n < d_state; ++n) {
        h[n] = exp2_approx(delta[i] * decay[n]) * h[n] + du * B[n];
        y += h[n] * C[n];
      }
      store_part(s.y + (b.batch * s.length + t) * s.channels + b.first, y, b.count);
    }
  }
  for (int n = 0; n < d_state; ++n) store(carry + n * LANES, h[n]);
  finish_segment(s, b);
}

// Chunks from last to first; a chunk's states and decays are recomputed from its first state.
template <int N>
static void scan_backward(const ScanArguments &s, int64_t task) {
  const int d_state = N ? N : (int)s.d_state;
  const ScanBlock b = scan_block(s, task);
  const int64_t blocks = s.groups * blocks_per_group(s);
  vf decay[N ? N : MAX_STATES];
  load_decay(s, b, d_state, decay);
  const vf skip = s.D ? load_part(s.D + b.first, b.count) : splat(0.0f);
  const vf bias = s.bias ? load_part(s.bias + b.first, b.count) : splat(0.0f);
  const int64_t chunks = (s.length + CHUNK - 1) / CHUNK;
  const int64_t segment = (s.length - 1) / SEGMENT - b.segment;  // from last to first
  const int64_t first_chunk = segment * (SEGMENT / CHUNK);
  const int64_t last_chunk = first_chunk + SEGMENT / CHUNK < chunks ? first_chunk + SEGMENT / CHUNK : chunks;
  const float *states = s.states + b.number * chunks * d_state * LANES;
  float *grad_B = s.grad_B + (b.batch * blocks + b.index) * s.length * d_state;
  float *grad_C = s.grad_C + (b.batch * blocks + b.index) * s.length * d_state;

  // Of a chunk: states (one more than tokens: the first is before it), decays, steps, slopes, inputs.
  Scratch scratch((size_t)((2 * CHUNK + 1) * d_state + 3 * CHUNK + 3 * d_state) * LANES);
  vf *h = (vf *)scratch.at, *a = h + (CHUNK + 1) * d_state;
  vf *delta = a + CHUNK * d_state, *slope = delta + CHUNK, *u = slope + CHUNK;
  vf *carry = u + CHUNK, *grad_A = carry + d_state;
  vf grad_D = splat(0.0f), grad_bias = splat(0.0f);
  float *kept = s.carry + b.number * d_state * LANES, *kept_A = s.grad_A + b.number * d_state * LANES;
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
      u[i] = load_part(s.u + b.batch * s.u_batch + t * s.u_token + b.first, b.count);
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
      const vf dy = load_part(s.grad_y + at, b.count);
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
      store_part(s.grad_delta + at, grad_delta, b.count);
      store_part(s.grad_u + at, g_B * delta[i] + dy * skip, b.count);
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

static void run_scan_forward(const void *context, int64_t task) {
  const ScanArguments &s = *(const ScanArguments *)context;
  switch (s.d_state) {
    case 8: return scan_forward<8>(s, task);
    case 16: return scan_forward<16>(s, task);
    default: return scan_forward<0>(s, task);
  }
}

static void run_scan_backward(const void *context, int64_t task) {
  const ScanArguments &s = *(const ScanArguments *)context;
  switch (s.d_state) {
    case 8: return scan_backward<8>(s, task);
    case 16: return scan_backward<16>(s, task);
    default: return scan_backward<0>(s, task);
  }
}
