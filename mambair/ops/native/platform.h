// Differences between compilers, and assertions for the build that checks itself.
#pragma once

// The build that checks itself leaves calls where they are: sanitizers compile it in a tenth of the
// time.
#if defined(MAMBAIR_CHECKS)
#define INLINE static inline
#define NOINLINE
#define RESTRICT
#define FLAT
#define EXPORT extern "C" __attribute__((visibility("default")))
#elif defined(_MSC_VER)
#define INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define RESTRICT __restrict
#define FLAT
#define EXPORT extern "C" __declspec(dllexport)
#else
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define RESTRICT __restrict__
#define FLAT __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

// CHECK(condition) ends the process where the condition does not hold, in builds with
// MAMBAIR_CHECKS (tests/mambair/ops/sanitize.sh); elsewhere it costs nothing.
#ifdef MAMBAIR_CHECKS
#include <cstdio>
#include <cstdlib>
#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
#else
#define CHECK(condition) ((void)0)
#endif
