// generation_config.json: how a model's makers want answers drawn and ended.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "model/model_card.h"

namespace tw::model {

struct GenerationConfig {
  GenerationDefaults defaults;
  std::vector<std::int32_t> end_tokens;
};

/// `generation` is the file's content, or null where there is none; then, as in transformers, config.json
/// names the end tokens. Errors name the file in `folder` and the key.
base::Result<GenerationConfig> read_generation_config(const base::Json& generation, const base::Json& config,
                                                      const std::string& folder);

}  // namespace tw::model
