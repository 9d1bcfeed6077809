// Fills in the table of the instruction set that is being compiled (kernels_*.cpp include this).
#pragma once

#include "attention.h"
#include "attention_backward.h"
#include "block.h"
#include "block_backward.h"
#include "dense.h"
#include "kernels.h"
#include "route.h"
#include "scan.h"

namespace MAMBAIR_SET {
static constexpr Kernels table{
    scan_forward,   scan_backward, attention_forward, attention_backward, dense_forward,
    dense_backward, route,         block_floats,      block_sums_floats,  block_forward,
    block_backward};
}  // namespace MAMBAIR_SET
