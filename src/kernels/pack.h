// Packing of quantized weights into panels (panels.h), for sets with panels of 8 and of 16 rows. Plain C++.
#pragma once

#include "kernels/args.h"

namespace tw::kernels {

std::int64_t packed_bytes_8(DType type, std::int64_t n, std::int64_t k);
std::int64_t packed_bytes_16(DType type, std::int64_t n, std::int64_t k);
void pack_8(const PackArgs& args);
void pack_16(const PackArgs& args);
std::int64_t prepared_rows_bytes(std::int64_t rows, std::int64_t k);

}  // namespace tw::kernels
