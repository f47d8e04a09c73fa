// The bodies of /v1/load_lora_adapter and /v1/unload_lora_adapter. Internal to src/serve.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "serve/fields.h"

namespace tw::serve {

struct AdapterRequest {
  std::string name, path;
  bool in_place = false;
  std::vector<std::string> ignored;
};

std::span<const Field<AdapterRequest>> adapter_fields();

/// A name, and a path when it is to be loaded, are there.
base::Result<AdapterRequest> parse_adapter_request(std::string_view body, bool load);

}  // namespace tw::serve
