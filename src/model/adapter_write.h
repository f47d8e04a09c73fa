// Writes LoRA adapters as Hugging Face's peft does.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "model/adapter.h"

namespace tw::model {

/// Writes adapter_config.json and adapter_model.safetensors (fp32) into the folder, which is made if it is
/// missing; a crash leaves each file old or new, and the weights are written first. `numbers(i)`: of
/// parameter i of adapter.params(). Errors: kIo, kResourceExhausted.
base::Status write_adapter(const std::string& folder, const Adapter& adapter, const spec::ModelConfig& base,
                           const std::function<std::span<const float>(std::size_t)>& numbers);

}  // namespace tw::model
