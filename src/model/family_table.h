// Inside this folder: the table of families, and what both config readers do with a row of it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "spec/model_config.h"

namespace tw::model {

struct Family {
  const char* gguf;           ///< general.architecture
  const char* hugging_face;   ///< model_type
  spec::RopeStyle gguf_rope;  ///< files of the llama family are permuted by their converter, others are not
  bool qkv_bias = false, qk_norm = false;
  bool experts = false;        ///< of this family are mixtures of experts, and of others none
  bool shared_expert = false;  ///< and one more for every token, which a sigmoid weighs
  bool normed = true;          ///< readers of GGUF files norm the weights of a token's experts
  bool gpt2 = false;  ///< LayerNorm, GELU, learned positions, biases everywhere; keys and names of its own
  // What transformers takes where config.json has no such key.
  std::int64_t kv_heads = 0;     ///< 0: as many as heads
  std::int64_t head_dim = 0;     ///< 0: width / heads
  std::int64_t window = 0;       ///< 0: none
  bool window_if_told = false;   ///< without the key there is none, with it there is
  bool window_by_layer = false;  ///< use_sliding_window, max_window_layers and layer_types choose its layers

  bool has_window() const { return window > 0 || window_if_told; }
};

std::span<const Family> families();

/// Sets what a family always has.
void apply(const Family& family, spec::ModelConfig& config);

base::Error unknown_family(const std::string& where, std::string_view key, std::string_view value);

/// The configuration if it is valid; else an error that names `where`.
base::Result<spec::ModelConfig> validated(spec::ModelConfig config, const std::string& where);

}  // namespace tw::model
