// Inside this folder: the table of mixes.
#pragma once

#include <cstdint>
#include <string>

#include "model/quantize.h"

namespace tw::model {

/// Where a tensor stands.
struct Place {
  std::int64_t layer, layers;
  bool grouped;  ///< four or more query heads share a key head
};

struct Mix {
  using Rule = base::DType (*)(const Place&);
  const char* name;
  base::DType type;         ///< most matrices have it
  std::uint32_t file_type;  ///< GGUF's general.file_type
  Rule value, down,
      output;  ///< of v_proj, down_proj and o_proj, where they have another; null: they have not
};

/// By its name in any case. Fails with kInvalidArgument, telling the names there are.
base::Result<const Mix*> find_mix(const std::string& name);

}  // namespace tw::model
