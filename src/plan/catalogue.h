// The hardware catalogue: what accelerators can do at best, DENSE peaks only, from
// data/planner/accelerators.csv.
#pragma once

#include <array>
#include <bitset>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/quantity.h"

namespace tw::plan {

/// Fields of an accelerator that are numbers, in the order of the table.
enum class Field {
  kFp64,
  kFp32,
  kTf32,
  kBf16,
  kFp16,
  kFp8,
  kInt8,
  kFp4,
  kMemory,
  kMemoryBandwidth,
  kScaleUpBandwidth,  ///< per direction
  kScaleUpDomain,
  kNic,
  kTdp,
  kPrice,
  kHostMemory,     ///< what plans may offload to, for one accelerator
  kHostBandwidth,  ///< of that memory
  kHostLink,       ///< to it, per direction
};
inline constexpr int kFields = 18;
/// Bytes of a GB of the column of device memory.
inline constexpr double kCatalogueGb = 0x1p30;

struct FieldInfo {
  const char* column;  ///< in accelerators.csv
  const char* unit;
  const char* title;
};
const FieldInfo& field_info(Field field);

class MachineCurves;
using FieldValues = std::array<std::optional<double>, kFields>;

struct Accelerator {
  std::string name, vendor, memory_type, source;
  int year = 0;
  Provenance provenance = Provenance::kDatasheet;
  bool second = false;  ///< of two kinds in a cluster the second: flags that say its numbers begin so
  std::string fp8_why;  ///< why FP8 is not twice bf16; empty: it is
  FieldValues values;
  FieldValues printed;         ///< the catalogue's own, of which measured curves are; the machine's has none
  std::bitset<kFields> given;  ///< those that a cluster says instead
  std::shared_ptr<const MachineCurves> machine;  ///< of a calibrated machine; null: of the catalogue

  const std::optional<double>& operator[](Field field) const { return values[static_cast<int>(field)]; }
  /// Says a number instead of the catalogue's.
  void give(Field field, double value) {
    values[static_cast<int>(field)] = value;
    given.set(static_cast<std::size_t>(field));
  }
  /// The number with range and provenance; what was given is taken as it was stated, and assumed. A blank
  /// fails with kNotFound and says which number the catalogue lacks and which flag and key give it: what is
  /// not known is never guessed.
  base::Result<Quantity> get(Field field) const;
  /// GB/s per direction between accelerators of one domain: of its links, or where these are blank of the
  /// NICs, than which they are not slower. Fails as get() where both are.
  base::Result<Quantity> inside() const;
};

class Catalogue {
 public:
  /// Reads and checks: names are unique, numbers positive, FP8 dense is twice bf16 (or fp16) dense within 2 %
  /// unless the row says why, matrix peaks do not shrink from 16 to 8 bits.
  static base::Result<Catalogue> parse(std::string_view csv, const std::string& where);
  /// The one in the program.
  static const Catalogue& shipped();

  const std::vector<Accelerator>& accelerators() const { return accelerators_; }
  /// By name as people and papers write it: "H100", "a100_80gb", "A100-80GB-SXM", "GB300", "TPUv5p". The
  /// error lists near names.
  base::Result<const Accelerator*> find(std::string_view name) const;

 private:
  std::vector<Accelerator> accelerators_;
};

}  // namespace tw::plan
