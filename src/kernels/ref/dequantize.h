// Rows of all weight types to fp32, and of GGUF's back: the meaning of each format, and the oracle of the
// fast kernels. Layouts of the blocks: docs/formats/gguf.md.
#pragma once

#include <cstdint>

#include "base/dtype_enum.h"

namespace tw::kernels {

/// Decodes n values. `row` need not be aligned; it holds row_bytes(type, n) bytes.
/// Every product and sum is rounded to fp32 in the order the format's public reference has them, so that
/// results are equal to it bit for bit. REQUIRES: n is a multiple of the type's block; the type is F32, F16,
/// BF16 or quantized (others give zeros: the loader refuses integer weights). `palette`: for palettized types
/// the row's table (palette_of_row), whose entries the values then are.
void dequantize_row(base::DType type, const void* row, float* out, std::int64_t n,
                    const void* palette = nullptr);

/// The table of a palettized matrix's row, of all its tables, F16 [ceil(N / 16), 2^bits]; null for other
/// types.
const void* palette_of_row(base::DType type, const void* palettes, std::int64_t row);

/// Encodes n finite values as F32, F16, BF16, Q8_0, Q4_0 or Q4_1 by the format's simple public rule (scale by
/// the largest magnitude or the range; no search), deterministically. Returns false, writing nothing, for
/// other types. REQUIRES: n is a multiple of the type's block; `row` has room for row_bytes(type, n) bytes.
bool quantize_row(base::DType type, const float* in, void* row, std::int64_t n);

}  // namespace tw::kernels
