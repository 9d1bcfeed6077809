// The kernels for processors with AVX-512.
#define MAMBAIR_SET avx512
#define MAMBAIR_REGISTERS 32
#include "instruction_set.h"

#ifdef MAMBAIR_X86_DISPATCH
// The standard library first, for any processor: the linker shares its functions between files.
#include "standard.h"

#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
#include "kernel_table.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const Kernels avx512_kernels = avx512::table;
#endif
