// adapter_config.json of Hugging Face's peft: how a LoRA adapter (arXiv 2106.09685) was made.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tw::model {

/// By peft's keys.
struct AdapterConfig {
  std::string base_model;            ///< base_model_name_or_path
  std::int64_t rank = 8;             ///< r
  double alpha = 8;                  ///< lora_alpha
  double dropout = 0;                ///< lora_dropout: how it was learnt; nothing that is served hangs on it
  bool rank_stabilised = false;      ///< use_rslora: scale by the root of the rank (arXiv 2312.03732)
  std::vector<std::string> targets;  ///< target_modules: names that modules end with
  std::map<std::string, std::int64_t> rank_pattern;  ///< of some modules, by the end of their names
  std::map<std::string, double> alpha_pattern;

  /// Of a module ("model.layers.3.self_attn.q_proj"), its own or all modules'.
  std::int64_t rank_of(std::string_view module) const;
  double alpha_of(std::string_view module) const;
  /// What x · Aᵀ · Bᵀ is multiplied with.
  double scale_of(std::string_view module, std::int64_t rank) const;
  bool targets_module(std::string_view module) const;
};

/// Whether a module's name is `name` or ends with `.name`, as peft matches its lists and patterns.
bool module_matches(std::string_view module, std::string_view name);

/// Errors name the file and the key: kCorrupt, or kUnsupported for kinds of adapters other than plain LoRA
/// and for patterns that are regular expressions.
base::Result<AdapterConfig> read_adapter_config(const base::Json& json, const std::string& where);

}  // namespace tw::model
