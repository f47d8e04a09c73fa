// For tests: packed documents, and the cache that attention over them goes through.
#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "ops/ops.h"
#include "ops/test_definitions.h"
#include "ops/test_gradient_check.h"

namespace tw::ops {
namespace {

/// Documents of 1, 19 and 17 rows, or one of `rows`.
std::vector<std::int32_t> positions_of(std::int64_t rows) {
  std::vector<std::int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  if (rows == kRows) {
    for (std::int64_t t = 1; t < rows; ++t) positions[t] = static_cast<std::int32_t>(t < 20 ? t - 1 : t - 20);
  }
  return positions;
}

/// A step over packed documents, with a cache of its own.
struct Documents {
  std::vector<std::int32_t> positions, blocks;
  std::vector<const std::int32_t*> row_blocks;
  std::vector<AttentionPlace::Tile> tiles;
  std::vector<float> keys, values;

  Documents(std::int64_t rows, const Heads& h)
      : positions(positions_of(rows)), blocks(rows), row_blocks(rows) {
    std::iota(blocks.begin(), blocks.end(), 0);
    keys.resize(rows * kernels::kKvBlock * h.kv_heads * h.d);
    values.resize(keys.size());
    std::int32_t first = 0;
    for (std::int32_t t = 0; t < rows; ++t) {
      if (t > 0 && (positions[t] == 0 || positions[t] % kernels::kAttentionRows == 0)) {
        tiles.push_back({first, t});
        first = t;
      }
      // A document's blocks begin at its first row's number: more than it needs.
      row_blocks[t] = blocks.data() + (t - positions[t]);
    }
    tiles.push_back({first, static_cast<std::int32_t>(rows)});
  }
  AttentionPlace place(const Heads& h) {
    AttentionPlace p{positions, row_blocks, tiles, {}, std::ssize(positions), 0};
    p.kv = {keys.data(), values.data(), DType::kF32, kernels::kKvBlock, h.kv_heads, h.d};
    return p;
  }
};

/// Of rotary positions, for heads of size d.
std::vector<float> frequencies(std::int64_t d) {
  std::vector<float> result;
  for (std::int64_t i = 0; i < d / 2; ++i)
    result.push_back(std::pow(100.0F, -2.0F * static_cast<float>(i) / static_cast<float>(d)));
  return result;
}

}  // namespace
}  // namespace tw::ops
