// Rows of GGUF's weight types to fp32 and back: the meaning of each format, and the oracle of the fast
// kernels. Layouts of the blocks: docs/formats/gguf.md.
#pragma once

#include <cstdint>

#include "base/dtype_enum.h"

namespace tw::kernels {

/// Decodes n values. `row` need not be aligned; it holds row_bytes(type, n) bytes.
/// Every product and sum is rounded to fp32 in the order the format's public reference has them, so that
/// results are equal to it bit for bit. REQUIRES: n is a multiple of the type's block; the type is F32, F16,
/// BF16 or quantized (others give zeros: the loader refuses integer weights).
void dequantize_row(base::DType type, const void* row, float* out, std::int64_t n);

/// Encodes n finite values as F32, F16, BF16, Q8_0, Q4_0 or Q4_1 by the format's simple public rule (scale by
/// the largest magnitude or the range; no search), deterministically. Returns false, writing nothing, for
/// other types. REQUIRES: n is a multiple of the type's block; `row` has room for row_bytes(type, n) bytes.
bool quantize_row(base::DType type, const float* in, void* row, std::int64_t n);

}  // namespace tw::kernels
