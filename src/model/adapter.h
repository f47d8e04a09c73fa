// A LoRA adapter (arXiv 2106.09685) in peft's format: a folder with adapter_config.json and
// adapter_model.safetensors, kept beside the base model it was learnt for.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"
#include "model/adapter_config.h"
#include "model/param_store.h"
#include "spec/model_config.h"

namespace tw::model {

class LoadedModel;

/// The largest rank that can be run: it bounds the memory of a step.
inline constexpr std::int64_t kMostRank = 256;

/// Matrices A [r, K] and B [N, r] of some linear layers. Immutable once it is loaded, and then thread-safe.
class Adapter {
 public:
  /// Reads the folder for this base model; the adapter keeps nothing of either. Errors name the file, and the
  /// tensor or key: kNotFound, kCorrupt, kUnsupported.
  static base::Result<std::shared_ptr<const Adapter>> load(const std::string& folder,
                                                           const LoadedModel& base);
  /// The same of the files' contents; `where` names that of `config`.
  static base::Result<std::shared_ptr<const Adapter>> parse(std::string_view config, const std::string& where,
                                                            const io::SafetensorsFile& weights,
                                                            const LoadedModel& base);
  /// One that is to be learnt: parameters by the config's targets and ranks, not bound yet, to begin as
  /// peft's do. Fails with kInvalidArgument when a target is no linear layer of the base.
  static base::Result<std::unique_ptr<Adapter>> make(const AdapterConfig& config, const ParamStore& base);
  /// Copies the weights of an adapter of the same base with the same layers and ranks to where `master(i)`
  /// says, by the number in params(): learning goes on from there. Fails with kInvalidArgument.
  base::Status take_over(const Adapter& from,
                         const std::function<std::span<float>(std::size_t)>& master) const;
  /// The largest there can be, as shapes alone: for tracing the worst step.
  static std::unique_ptr<Adapter> largest(const LoadedModel& base);

  /// What is added to each linear layer, by Param::linear: what a Batch takes.
  const ops::LowRank* linears() const { return linears_.data(); }
  const AdapterConfig& config() const { return config_; }
  /// peft's names, in the order of the base model's layers: each layer's A, then its B.
  ParamStore& params() { return params_; }
  const ParamStore& params() const { return params_; }
  /// The same for equal weights and scales: what keys and values made with it are known by. Never 0.
  std::uint64_t content_hash() const { return content_hash_; }

 private:
  Adapter(AdapterConfig config, const ParamStore& base);
  void add_linear(const Param& weight, std::int64_t rank);
  base::Status declare_found(const io::SafetensorsFile& file, const ParamStore& base);
  base::Status bind(const io::SafetensorsFile& file, const LoadedModel& base);

  AdapterConfig config_;
  ParamStore params_;
  std::vector<ops::LowRank> linears_;
  tensor::Buffer storage_;
  std::uint64_t content_hash_ = 0;
};

/// "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" for A of a base model's parameter.
std::string adapter_tensor_name(std::string_view parameter, char matrix);

/// The other way round: the base model's parameter, or "" for what is not matrix A ('A') or B of one.
std::string adapted_parameter(std::string_view tensor, char matrix);

/// GGUF files of some families have the rows of each query and key head in another order than Hugging Face's,
/// and so has B. In place, B [N, r] of such a parameter into the model's order, or with `back` out of it;
/// others are left alone.
void reorder_heads(const spec::ModelConfig& config, std::string_view parameter, std::span<float> b,
                   bool back);

}  // namespace tw::model
