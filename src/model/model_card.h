// What people and the HTTP layer need to know of a loaded model: everything but its tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "spec/model_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tw::model {

/// Sampling defaults of generation_config.json or general.sampling.*; unset fields leave the API's own
/// defaults.
struct GenerationDefaults {
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty;
  std::optional<std::int32_t> top_k;
  std::optional<std::int64_t> max_new_tokens;
};

/// Immutable after load, thread-safe, shared by the engine and the server.
struct ModelCard {
  std::string name;          ///< as clients may call it
  std::string path;          ///< file or folder it came from
  std::string quantization;  ///< the type most weights have, "Q4_1"
  std::uint64_t bytes = 0;   ///< of all tensors in the file
  spec::ModelConfig config;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  ///< null: the model has none
  std::string chat_template_source;
  GenerationDefaults defaults;
};

}  // namespace tw::model
