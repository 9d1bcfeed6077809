// The kernels for processors with AVX2.
#define MAMBAIR_SET avx2
#define MAMBAIR_REGISTERS 16
#include "instruction_set.h"

#ifdef MAMBAIR_X86_DISPATCH
// The standard library first, for any processor: the linker shares its functions between files.
#include "standard.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#include "kernel_table.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const Kernels avx2_kernels = avx2::table;
#endif
