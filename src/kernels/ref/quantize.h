// Rows of fp32 to GGUF's quantized types, close to what they were: scales are searched for and not taken from
// the largest value. Layouts of the blocks: docs/formats/gguf.md.
#pragma once

#include <cstdint>

#include "base/dtype_enum.h"

namespace tw::kernels {

/// Encodes n finite values as any type that dequantize_row decodes, deterministically, so that the sum of
/// importance[i] * (error of value i)^2 is small; null: all are equally important. Of two encodings of a
/// block that are tried the one with the smaller sum is taken; the smallest of all is not promised. Returns
/// false, writing nothing, for other types. REQUIRES: n is a multiple of the type's block; `row` has room for
/// row_bytes(type, n) bytes; importances are finite, and none is negative.
bool quantize_row_closely(base::DType type, const float* in, const float* importance, void* row,
                          std::int64_t n);

}  // namespace tw::kernels
