// The table of kernels a process runs on, and how it is chosen.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/args.h"

namespace tw::kernels {

/// All that belongs to products with one weight type. Immutable.
struct MatmulKernel {
  const char* name;                  ///< "avx2 q4x8", for info and bench
  std::int64_t panel_rows;           ///< slices of N are multiples of it
  std::int64_t (*packed_bytes)(DType, std::int64_t n, std::int64_t k);  ///< null: the file's layout is used as it is
  void (*pack)(const PackArgs&);     ///< null with packed_bytes
  std::int64_t (*prepared_bytes)(std::int64_t k);  ///< of one row, a multiple of 64; null: fp32 rows are used
  void (*prepare)(const PrepareArgs&);
  std::int64_t (*scratch_bytes)(std::int64_t k);   ///< null: none needed
  void (*run)(const MatmulArgs&);
};

/// A null entry is filled from the next lower set.
struct Table {
  std::string name;
  std::array<const MatmulKernel*, base::kDTypeCount> matmul{};  ///< by weight type
  void (*rms_norm)(const RmsNormArgs&) = nullptr;
  void (*rope)(const RopeArgs&) = nullptr;
  void (*store_kv)(const StoreKvArgs&) = nullptr;
  void (*attention)(const AttentionArgs&) = nullptr;
  void (*silu_mul)(const SiluMulArgs&) = nullptr;
};

/// What this processor and its operating system support (cpuid and xgetbv).
CpuFeatures detect_features();

/// The sets this processor can run, best first; "ref" is always the last.
std::vector<std::string> available_sets(const CpuFeatures& features);

/// The complete table of the named set, or of the best one when `isa` is empty. Fails with kInvalidArgument when the
/// set is unknown, or kUnsupported when this processor lacks it, naming the sets it has.
base::Result<Table> make_table(std::string_view isa, const CpuFeatures& features);

}  // namespace tw::kernels
