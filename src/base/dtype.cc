#include "base/dtype.h"

#include <array>

namespace tw::base {

const DTypeInfo& dtype_info(DType type) {
  static constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
      {"F32", 1, 4},
      {"F16", 1, 2},
      {"BF16", 1, 2},
      {"I8", 1, 1},
      {"I32", 1, 4},
      {"I64", 1, 8},
      {"Q4_0", 32, 18},
      {"Q4_1", 32, 20},
      {"Q5_0", 32, 22},
      {"Q5_1", 32, 24},
      {"Q8_0", 32, 34},
      {"Q2_K", 256, 84},
      {"Q3_K", 256, 110},
      {"Q4_K", 256, 144},
      {"Q5_K", 256, 176},
      {"Q6_K", 256, 210},
      {"PALETTE4", 2, 1},
      {"PALETTE2", 4, 1},
  }};
  return kInfo[static_cast<std::size_t>(type)];
}

}  // namespace tw::base
