// The instruction set for which a source file compiles the kernels. kernels_*.cpp define
// MAMBAIR_SET, the namespace of the set, and its registers; a header that is compiled alone takes
// the baseline.
#pragma once

#ifndef MAMBAIR_SET
#define MAMBAIR_SET baseline
#define MAMBAIR_REGISTERS 8
#endif

namespace MAMBAIR_SET {
// Vector registers of the set, for the size of tiles. SSE and NEON need four registers for a vector
// of LANES floats, so the baseline's 32 or 16 count as fewer.
const int VECTOR_REGISTERS = MAMBAIR_REGISTERS;
static_assert(VECTOR_REGISTERS == 8 || VECTOR_REGISTERS == 16 || VECTOR_REGISTERS == 32,
              "tiles are written out for these");
}  // namespace MAMBAIR_SET

// The best set that the processor has is taken at run time. Other compilers and processors use the
// baseline, which is NEON on 64-bit ARM; so does the build that checks itself.
#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__)) && \
    !defined(MAMBAIR_CHECKS)
#define MAMBAIR_X86_DISPATCH 1
#endif
