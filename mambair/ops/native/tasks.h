// Work on several threads. It is cut into tasks that may run in any order, handed out in turn.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "api.h"

using Task = void (*)(const void *context, int64_t task);

// Threads come from the OpenMP runtime that torch has loaded, if Python found it (libgomp's
// GOMP_parallel): a second pool in addition to torch's would compete with its spinning threads.
// Without it (null), threads are started for the call.
using Parallel = void (*)(void (*function)(void *), void *data, unsigned threads, unsigned flags);

struct Work {
  Task task;
  const void *context;
  int64_t count;
  int64_t at_once;
  std::atomic<int64_t> next;
};

static inline void drain(void *data) {
  Work &work = *(Work *)data;
  for (int64_t i = work.next.fetch_add(work.at_once); i < work.count;
       i = work.next.fetch_add(work.at_once))
    for (int64_t k = i; k < std::min(i + work.at_once, work.count); ++k) work.task(work.context, k);
}

// `related`: this many neighboring tasks read the same memory; one thread does them if there are
// enough.
static inline void run_tasks(Task task, const void *context, int64_t count, int threads,
                             Parallel parallel, int64_t related = 1) {
  threads = (int)std::min<int64_t>(threads, count);
  Work work{task, context, count, count >= 4 * related * threads ? related : 1, {0}};
  if (threads <= 1) {
    drain(&work);
  } else if (parallel) {
    parallel(drain, &work, (unsigned)threads, 0);
  } else {
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(drain, &work);
    drain(&work);
    for (auto &other : others) other.join();
  }
}

// The scan: a task is a segment of a bundle of channels (scan.h), and may wait for tasks with lower
// numbers, which have been taken.
static inline void run_scan(Task task, ScanArguments s, int threads, Parallel parallel) {
  const int64_t bundles = s.batch * s.groups * ((s.channels / s.groups + LANES - 1) / LANES);
  std::vector<float> carry(bundles * s.d_state * LANES);
  std::vector<std::atomic<int64_t>> progress(bundles);
  for (auto &done : progress) done.store(0);
  s.carry = carry.data();
  s.progress = progress.data();
  run_tasks(task, &s, bundles * ((s.length + SEGMENT - 1) / SEGMENT), threads, parallel);
}
