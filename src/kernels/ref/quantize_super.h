// Inside ref: super-blocks of 256 values.
#pragma once

#include "base/dtype_enum.h"
#include "kernels/ref/quantize_fit.h"

namespace tw::kernels {

/// Null for types without super-blocks.
void (*super_block_encoder(base::DType type))(const Group& block, std::uint8_t* out);

}  // namespace tw::kernels
