// The JSON header of a safetensors file, checked.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace tw::io {

/// A tensor as the header lists it; offsets count from the start of the data.
struct SafetensorsItem {
  std::string name;
  std::string type;                  ///< as in the file: "BF16"
  std::optional<base::DType> dtype;  ///< nullopt: valid, but not read by this program
  std::vector<std::int64_t> shape;
  std::size_t begin = 0, end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsItem> items;  ///< sorted by begin; they fill the data without gap or overlap
  std::map<std::string, std::string, std::less<>> metadata;
};

/// `json` is the header's text, `data_bytes` what follows it in the file. Errors are kCorrupt and do not name
/// the file.
base::Result<SafetensorsHeader> parse_safetensors_header(std::string_view json, std::size_t data_bytes);

}  // namespace tw::io
