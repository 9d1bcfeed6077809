// Working memory of a task, which its thread keeps for the next one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "api.h"
#include "instruction_set.h"
#include "platform.h"

namespace MAMBAIR_SET {

INLINE int64_t whole(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }
// Floats of so many in whole vectors. What takes that many from scratch starts on a cache line.
INLINE int64_t vectors(int64_t count) { return whole(count, LANES); }

const size_t CACHE_LINE = 64;  // bytes; a vector is one, so that no vector lies across two
static_assert(LANES * sizeof(float) == CACHE_LINE, "whole vectors are whole cache lines");

template <typename T>
INLINE T *aligned(T *p) {
  return (T *)(((uintptr_t)p + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
}

#ifndef MAMBAIR_CHECKS

// Hands out floats of any content. A copy that is passed on hands out what the caller has not
// taken, and leaves the caller's as they are.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {
    static thread_local std::vector<float> kept;
    if (kept.size() < (size_t)floats + LANES) kept.resize(floats + LANES);
    next_ = aligned(kept.data());
  }
  template <typename T = float>
  T *take(int64_t count) {
    float *taken = next_;
    next_ += vectors(count * (int64_t)(sizeof(T) / sizeof(float)));
    return (T *)taken;
  }

 private:
  float *next_;
};

#else

// The same with fences: taking more than was asked for ends the process, and so does writing past
// the end of what was taken. Content is NaN at first, so that nothing relies on the contents that a
// task left there.
class Scratch {
 public:
  explicit Scratch(int64_t floats) : owned_(FACTOR * floats + FENCE + LANES, NOT_SET) {
    next_ = aligned(owned_.data());
    end_ = owned_.data() + owned_.size();
    left_ = floats;
  }
  Scratch(const Scratch &other) : next_(other.next_), end_(other.end_), left_(other.left_) {}
  Scratch &operator=(const Scratch &) = delete;
  ~Scratch() {
    for (const float *fence : fences_)
      for (int i = 0; i < FENCE; ++i) CHECK(fence[i] == FENCE_VALUE);
  }
  template <typename T = float>
  T *take(int64_t count) {
    const int64_t floats = vectors(count * (int64_t)(sizeof(T) / sizeof(float)));
    left_ -= floats;
    CHECK(left_ >= 0);
    CHECK(next_ + floats + FENCE <= end_);
    float *taken = next_;
    next_ += floats;
    fences_.push_back(next_);
    for (int i = 0; i < FENCE; ++i) *next_++ = FENCE_VALUE;
    return (T *)taken;
  }

 private:
  static constexpr int FENCE = LANES;
  static constexpr int FACTOR = 2;  // fences are no larger than what they follow
  static constexpr float FENCE_VALUE = 7.25e30f;
  static constexpr float NOT_SET = __builtin_nanf("");
  std::vector<float> owned_;
  std::vector<const float *> fences_;
  float *next_, *end_;
  int64_t left_;
};

#endif

}  // namespace MAMBAIR_SET
