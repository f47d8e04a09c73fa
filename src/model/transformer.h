// THE definition of a decoder: served, traced and checked by the same forward.
#pragma once

#include <vector>

#include "model/batch.h"
#include "model/param_store.h"
#include "spec/model_config.h"

namespace tw::model {

/// Immutable after construction; forward may run on all workers of a team at once.
class Transformer {
 public:
  /// Declares every parameter in `store`, which must outlive this. REQUIRES: config.validate() is ok.
  Transformer(const spec::ModelConfig& config, ParamStore& store);

  /// Runs the batch and returns the final, normalised hidden states of its output rows: [R, D], R >= 1 or an
  /// empty tensor. Keys and values of all its tokens are in the cache afterwards.
  ops::Tensor forward(ops::Exec& ex, const Batch& batch, const KvView& kv) const;

  /// The vocabulary's logits for hidden states [R, D]: [R, V].
  ops::Tensor logits(ops::Exec& ex, ops::Tensor hidden) const;

  /// Each row's cross-entropy, for hidden states [R, D]: ops::linear_cross_entropy.
  ops::Tensor loss(ops::Exec& ex, ops::Tensor hidden, const ops::LossRows& rows) const;

  const spec::ModelConfig& config() const { return config_; }

 private:
  struct Layer {
    const Param *attention_norm, *q, *k, *v, *o;
    const Param *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    const Param *ffn_norm, *gate, *up, *down;
  };
  Layer declare_layer(ParamStore& store, std::int64_t index) const;
  void run_layer(ops::Exec& ex, const Layer& layer, ops::Tensor x, ops::Tensor out,
                 const ops::RopeTable& rope, const ops::AttentionPlace& place) const;

  spec::ModelConfig config_;
  ops::AttentionShape attention_;
  std::vector<float> inverse_frequencies_;  ///< [d/2]
  const Param *embedding_, *final_norm_, *head_;
  std::vector<Layer> layers_;
};

/// Angle per position of each rotary pair, Llama 3.1's and linear scaling and GGUF's factors applied: [d/2].
std::vector<float> rope_inverse_frequencies(const spec::ModelConfig& config);

}  // namespace tw::model
