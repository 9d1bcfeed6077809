// The C interface of the kernels: what Python passes by pointer, and the sizes it needs. The
// fields of the structures are listed in *.inc, which structures.py reads too.
#pragma once

#include <atomic>
#include <cstdint>

static const int LANES = 16;          // floats of a vector
static const int CHUNK = 32;          // tokens between two kept states of the scan
static const int SEGMENT = 1024;      // tokens of a task of the scan, whole chunks
static const int MAX_STATES = 64;     // of the scan
static const int MAX_KERNEL = 15;     // side of a depthwise convolution
static const int MAX_TILE_ROWS = 8;   // of any instruction set
static const int ROWS_AT_ONCE = 64;   // that pass through linear layers together, whole tiles
static const int ROUTE_TOKENS = 256;  // of a task of the routing
static_assert(SEGMENT % CHUNK == 0, "segments are whole chunks");
static_assert(ROWS_AT_ONCE % MAX_TILE_ROWS == 0, "rows at once are whole tiles");

#define FIELD(type, name) type name;
#define SIZE(name) FIELD(int64_t, name)
struct ScanArguments {
#include "scan_arguments.inc"
};
struct AttentionArguments {
#include "attention_arguments.inc"
};
struct DenseArguments {
#include "dense_arguments.inc"
};
struct BlockArguments {
#include "block_arguments.inc"
};
struct RouteArguments {
#include "route_arguments.inc"
};
#undef SIZE
#undef FIELD

// The parameters of a block: those of its own, then FFN_PARAMETERS of each FFN.
#define PARAMETER(name, ...) name,
enum FFNParameter {
#include "ffn_parameters.inc"
  FFN_PARAMETERS
};
enum BlockParameter {
#include "block_parameters.inc"
  FFN1,
  FFN2 = FFN1 + FFN_PARAMETERS,
  BLOCK_PARAMETERS = FFN2 + FFN_PARAMETERS
};
#undef PARAMETER
