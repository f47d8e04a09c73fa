// The families this program knows: how a file's own names and keys become a ModelConfig and our parameter
// names. A new family is a row in the table of families.cc, and at most a flag in ModelConfig and an op.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "io/gguf.h"
#include "spec/model_config.h"

namespace tw::model {

/// Reads and validates the configuration of a GGUF file. Errors name the file and the key.
base::Result<spec::ModelConfig> config_from_gguf(const io::GgufFile& file);

/// The same from a Hugging Face config.json. `where` names the file in errors.
base::Result<spec::ModelConfig> config_from_hugging_face(const base::Json& config, const std::string& where);

/// Sets what a family always has, by its `model_type`. REQUIRES: it is known.
void set_family(spec::ModelConfig& config, std::string_view name);

/// The GGUF name of one of our parameters: "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight".
std::string gguf_tensor_name(const std::string& parameter);

}  // namespace tw::model
