// The table of kernels a process runs on, and how it is chosen.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/args.h"

namespace tw::kernels {

/// The kernels that a process runs on: every entry is set.
struct Table : KernelSlots {
  std::string name;
  bool int8_prompts = false;  ///< prompts go by int8_prefill where there is one

  /// Whether prompts are multiplied in bf16, unless by F32 weights.
  bool bf16_prompts() const {
    const MatmulPath* path = prefill[static_cast<int>(base::DType::kBF16)];
    return path != nullptr && path->bf16;
  }
  /// Whether prompts can be multiplied in 8 bits: by all quantized types but the palettized, or by none.
  bool has_int8_prompts() const { return int8_prefill[static_cast<int>(base::DType::kQ8_0)] != nullptr; }
};

/// What this processor and its operating system support (cpuid and xgetbv).
CpuFeatures detect_features();

/// The sets this processor can run, best first; "ref" is always the last.
std::vector<std::string> available_sets(const CpuFeatures& features);

/// The complete table of the named set, or of the best one when `isa` is empty. Fails with kInvalidArgument
/// when the set is unknown, or kUnsupported when this processor lacks it, naming the sets it has.
base::Result<Table> make_table(std::string_view isa, const CpuFeatures& features);

}  // namespace tw::kernels
