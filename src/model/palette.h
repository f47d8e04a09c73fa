// Palettized weights: 16 rows of a matrix share a table of 16 or 4 numbers, and a weight is the number of an
// entry (arXiv 2407.21075, where Apple's on-device models have 3.7 bits a weight so). Files of them:
// docs/formats/palette.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "io/tensor_file.h"

namespace tw::model {

using base::kPaletteRows;
/// What a folder of them has for config.json's quantization_config.quant_method, and what the names of its
/// tensors end in.
inline constexpr const char* kPaletteMethod = "tokenworks_palette";
inline constexpr const char* kCodes = ".codes";
inline constexpr const char* kTables = ".palette";

/// `count` numbers, ascending, so that the sum of weight * (value - nearest number)^2 is small: k-means on a
/// line. The least there is for up to 1,024 different values, by dynamic programming (Wang and Song 2011, The
/// R Journal 3/2); of more, values that stand together are taken as one, and the numbers then move to a local
/// optimum (Lloyd 1982). `weights`: one a value, all positive; none: all alike. REQUIRES: values are finite
/// and at least one.
std::vector<float> best_palette(std::span<const float> values, std::span<const float> weights,
                                std::size_t count);

/// A matrix [N, K] in palettes.
struct Palettized {
  int bits = 4;                        ///< 2 or 4
  std::int64_t rows = 0, columns = 0;  ///< K * bits is a multiple of 8
  std::vector<std::byte> codes;        ///< [N, K * bits / 8]; the first weight of a byte in its low bits
  std::vector<std::uint16_t> tables;   ///< F16 [ceil(N / 16), 2^bits]

  Palettized() = default;
  Palettized(int bits, std::int64_t rows, std::int64_t columns);
  std::int64_t groups() const { return (rows + kPaletteRows - 1) / kPaletteRows; }
  std::size_t row_bytes() const { return static_cast<std::size_t>(columns * bits / 8); }
};

/// What palettes change: sums of weight * value^2, of the differences and of the values.
struct PaletteError {
  double lost = 0, whole = 0;
};

/// Encodes one group of rows: `values` [its rows, K], `importance` [K] or empty. Groups are independent, so
/// several threads may each do some. Adds to `error`.
void palettize(Palettized& to, std::int64_t group, std::span<const float> values,
               std::span<const float> importance, PaletteError& error);

/// Palettized tensors of a file as one each, with codes and tables where they lie. Thread-safe; what it hands
/// out lives as long as it does.
class PaletteTensors {
 public:
  /// Tensor `name`, of which the file has codes and tables. Fails with kCorrupt, naming `where`, when their
  /// types and shapes do not fit each other or a table has a number that is not finite.
  base::Result<const io::TensorEntry*> get(const std::string& name, const io::TensorEntry& codes,
                                           const io::TensorEntry& tables, const std::string& where);

 private:
  std::mutex mutex_;
  std::map<std::string, io::TensorEntry> joined_;
};

}  // namespace tw::model
