// Writes a model that others read: a Hugging Face folder for transformers, or a GGUF file for llama.cpp. Both
// are there whole or not at all, whenever the program or the machine dies.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/tensor_file.h"
#include "model/generation_config.h"
#include "model/model_files.h"

namespace tw::model {

/// Everything that is written, wherever it came from.
struct ModelToSave {
  spec::ModelConfig config;
  /// All that a Transformer of `config` declares, under its names, in any type the reference kernels decode.
  /// The bytes are read while saving. Heads' rows lie in the order of config.rope_style.
  std::vector<io::TensorEntry> tensors;
  text::TokenizerSpec tokenizer;
  TokenizerFiles tokenizer_files;  ///< empty texts are written anew from `tokenizer`
  std::string chat_template;
  GenerationConfig generation;
};

/// An opened model as it is, for writing it in the other format or type. `files` must outlive the result.
base::Result<ModelToSave> model_to_save(const ModelFiles& files);

/// Writes config.json, generation_config.json, the tokenizer's files and the weights, all as `type` (F32, F16
/// or BF16), with an index when they are more than `shard_bytes`. A folder that is there is replaced if it
/// holds nothing but such files. Fails with kUnsupported, naming it, for what the format cannot say; with
/// kInvalidArgument for a tensor that is missing, of another shape, or holds numbers `type` cannot hold.
base::Status save_folder(const std::string& folder, const ModelToSave& model, base::DType type,
                         std::uint64_t shard_bytes = 5'000'000'000);

/// The same as one GGUF file: matrices as `type`, vectors as F32.
base::Status save_gguf(const std::string& file, const ModelToSave& model, base::DType type);

}  // namespace tw::model
