// Matrix products that keep a tile of the result in registers. The right-hand matrix is packed in
// panels of as many columns as a tile has, so that it is read from end to end.
#pragma once

#include <cstdint>

#include "scratch.h"
#include "simd.h"

namespace MAMBAIR_SET {

const int TILE_ROWS =
    VECTOR_REGISTERS / 4;  // a quarter of the registers for each vector of columns
const int COLUMNS =
    VECTOR_REGISTERS == 32 ? 2 : 1;  // vectors; the products are written out for two
const int PANEL = COLUMNS * LANES;   // floats
static_assert(MAX_TILE_ROWS % TILE_ROWS == 0, "kept rows are whole tiles of any instruction set");

// Panels of a matrix ([depth][columns], elements `down` and `right` apart), filled up with zeros to
// whole vectors.
INLINE void pack_panels(float *to, const float *from, int depth, int columns, int64_t down,
                        int64_t right) {
  const int wide = (int)vectors(columns);
  for (int first = 0; first < wide; first += PANEL) {
    const int width = wide - first < PANEL ? wide - first : PANEL;
    for (int i = 0; i < depth; ++i, to += width)
      for (int c = 0; c < width; ++c)
        to[c] = first + c < columns ? from[i * down + (first + c) * right] : 0.0f;
  }
}

template <int WIDTH>
static NOINLINE void multiply_tile(float *to, int64_t to_stride, const float *a, int64_t a_stride,
                                   const float *panel, const float *start, int depth) {
  const float *rows[TILE_ROWS];
  unroll<TILE_ROWS>([&](int r) FLAT { rows[r] = a + r * a_stride; });
  vf sums[TILE_ROWS][WIDTH];
  unroll<WIDTH>([&](int c) FLAT {
    const vf first = start ? load(start + c * LANES) : splat(0.0f);
    unroll<TILE_ROWS>([&](int r) FLAT { sums[r][c] = first; });
  });
  for (int i = 0; i < depth; ++i, panel += WIDTH * LANES) {
    const vf left = load(panel), right = load(panel + (WIDTH - 1) * LANES);
    unroll<TILE_ROWS>([&](int r) FLAT {
      const vf value = splat(rows[r][i]);
      sums[r][0] += value * left;
      if (WIDTH > 1) sums[r][WIDTH - 1] += value * right;
    });
  }
  unroll<TILE_ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { store(to + r * to_stride + c * LANES, sums[r][c]); });
  });
}

// to ([row][columns in whole vectors]) = a ([row][depth]) times packed panels, plus `start`, a row,
// or null. Rows up to a multiple of TILE_ROWS are read and written.
INLINE void multiply(float *to, int64_t to_stride, const float *a, int64_t a_stride, int rows,
                     const float *panels, const float *start, int depth, int columns) {
  const int wide = (int)vectors(columns);
  for (int column = 0; column < wide; column += PANEL) {
    const float *panel = panels + (int64_t)column * depth;
    const float *first = start ? start + column : nullptr;
    for (int row = 0; row < rows; row += TILE_ROWS) {
      float *tile = to + row * to_stride + column;
      if (wide - column < PANEL)
        multiply_tile<1>(tile, to_stride, a + row * a_stride, a_stride, panel, first, depth);
      else
        multiply_tile<COLUMNS>(tile, to_stride, a + row * a_stride, a_stride, panel, first, depth);
    }
  }
}

// to ([i][to_stride]) += the sum over rows of a ([row][i]) times b ([row][columns in whole
// vectors]), for `count` columns of a: the gradient of a layer's weights. Rows of `to` up to a
// multiple of TILE_ROWS are written.
template <int WIDTH>
static NOINLINE void accumulate_tile(float *to, int64_t to_stride, const float *a, int64_t a_stride,
                                     const float *b, int64_t b_stride, int rows) {
  vf sums[TILE_ROWS][WIDTH];
  unroll<TILE_ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { sums[r][c] = load(to + r * to_stride + c * LANES); });
  });
  for (int i = 0; i < rows; ++i, a += a_stride, b += b_stride) {
    const vf left = load(b), right = load(b + (WIDTH - 1) * LANES);
    unroll<TILE_ROWS>([&](int r) FLAT {
      const vf value = splat(a[r]);
      sums[r][0] += value * left;
      if (WIDTH > 1) sums[r][WIDTH - 1] += value * right;
    });
  }
  unroll<TILE_ROWS>([&](int r) FLAT {
    unroll<WIDTH>([&](int c) FLAT { store(to + r * to_stride + c * LANES, sums[r][c]); });
  });
}

INLINE void accumulate(float *to, int64_t to_stride, const float *a, int64_t a_stride,
                       const float *b, int64_t b_stride, int rows, int count, int columns) {
  const int wide = (int)vectors(columns);
  for (int first = 0; first < count; first += TILE_ROWS)
    for (int column = 0; column < wide; column += PANEL) {
      float *tile = to + first * to_stride + column;
      if (wide - column < PANEL)
        accumulate_tile<1>(tile, to_stride, a + first, a_stride, b + column, b_stride, rows);
      else
        accumulate_tile<COLUMNS>(tile, to_stride, a + first, a_stride, b + column, b_stride, rows);
    }
}

}  // namespace MAMBAIR_SET
