// LoRA adapters beside the served model. Internal to src/serve.
#pragma once

#include <string>
#include <vector>

#include "serve/context.h"

namespace tw::serve {

/// The adapter in a folder as a model that requests can name. Errors as Engine::load_adapter's.
base::Result<ModelPtr> load_adapter(const ServedModel& base, const std::string& name,
                                    const std::string& path);

/// Those of --lora: NAME=PATH each. Errors name the adapter.
base::Result<std::vector<ModelPtr>> load_adapters(const ServedModel& base,
                                                  const std::vector<std::string>& flags);

}  // namespace tw::serve
