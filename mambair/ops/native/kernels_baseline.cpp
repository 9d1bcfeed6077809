// The kernels for any processor.
#define MAMBAIR_SET baseline
#define MAMBAIR_REGISTERS 8
#include "kernel_table.h"

const Kernels baseline_kernels = baseline::table;
