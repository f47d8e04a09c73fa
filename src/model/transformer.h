// THE definition of a decoder: served, traced and checked by the same forward.
#pragma once

#include <vector>

#include "model/batch.h"
#include "model/param_store.h"
#include "spec/model_config.h"

namespace tw::model {

/// Layers [begin, end) of the model, those that there are. Where it does not begin with the first or end
/// with the last, the batch's rows, [T, D], are taken from `rows` and left there.
struct LayerRange {
  std::int64_t begin = 0, end = INT64_MAX;
  ops::Tensor rows;
};

/// Immutable after construction; forward may run on all workers of a team at once.
class Transformer {
 public:
  /// Declares every parameter in `store`, which must outlive this. REQUIRES: config.validate() is ok.
  Transformer(const spec::ModelConfig& config, ParamStore& store);

  /// Runs the batch and returns the final, normalised hidden states of its output rows: [R, D], R >= 1 or an
  /// empty tensor. Keys and values of all its tokens are in the cache afterwards. With a range of layers that
  /// lacks the last one those of these layers alone are, and the tensor is empty.
  ops::Tensor forward(ops::Exec& ex, const Batch& batch, const KvView& kv,
                      const LayerRange& range = {}) const;

  /// The vocabulary's logits for hidden states [R, D]: [R, V].
  ops::Tensor logits(ops::Exec& ex, ops::Tensor hidden) const;

  /// Each row's cross-entropy, for hidden states [R, D]: ops::linear_cross_entropy.
  ops::Tensor loss(ops::Exec& ex, ops::Tensor hidden, const ops::LossRows& rows) const;
  /// Each pair's loss: ops::linear_preference.
  ops::Tensor preference(ops::Exec& ex, ops::Tensor hidden, const ops::PreferenceRows& rows) const;
  /// Each row's likeliest tokens: ops::linear_top.
  void top(ops::Exec& ex, ops::Tensor hidden, const ops::TopRows& rows) const;

  const spec::ModelConfig& config() const { return config_; }

 private:
  struct Norm {
    const Param *weight = nullptr, *bias = nullptr;  ///< bias: LayerNorm's
  };
  struct Layer {
    Norm attention_norm, ffn_norm;
    const Param *q = nullptr, *k = nullptr, *v = nullptr, *o = nullptr;
    const Param *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr;
    const Param *o_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
    const Param *q_down = nullptr, *kv_down = nullptr, *kv_up = nullptr;  ///< latent attention; q is its q_up
    const Param *q_down_norm = nullptr, *kv_down_norm = nullptr;
    const Param *gate = nullptr, *up = nullptr, *down = nullptr;
    // Instead of the three, each expert's:
    std::vector<const ops::PackedMatrix*> gates, ups, downs;
    const Param *router = nullptr, *shared_gate = nullptr, *shared_up = nullptr, *shared_down = nullptr;
    const Param* share = nullptr;  ///< how much the shared ones count
  };
  ops::Tensor embed(ops::Exec& ex, const Batch& batch) const;
  using Runs = std::span<const ops::AdapterRun>;
  Layer declare_layer(ParamStore& store, std::int64_t index) const;
  void declare_attention(ParamStore& store, const std::string& prefix, Layer& layer) const;
  void declare_latent(ParamStore& store, const std::string& prefix, Layer& layer) const;
  void declare_ffn(ParamStore& store, const std::string& prefix, std::int64_t index, Layer& layer) const;
  void declare_expert(ParamStore& store, const std::string& prefix, Layer& layer) const;
  Norm declare_norm(ParamStore& store, const std::string& name) const;
  ops::Tensor norm(ops::Exec& ex, const Norm& norm, ops::Tensor x) const;
  /// For products with these weights, three at most, alone; where one is null or rows have adapters as
  /// `norm`.
  ops::Input norm_for(ops::Exec& ex, const Norm& norm, ops::Tensor x,
                      std::initializer_list<const Param*> weights, std::int64_t generated,
                      Runs adapters) const;
  double adding_spread(const Param& param) const;
  const Param* declare_adding(ParamStore& store, const std::string& name, std::int64_t in,
                              bool exact = false) const;
  ops::Qkv queries(ops::Exec& ex, const Layer& layer, const ops::Input& x, const ops::RopeTable& rope,
                   const ops::AttentionPlace& place, Runs adapters) const;
  void run_ffn(ops::Exec& ex, const Layer& layer, const ops::Input& x, ops::Tensor residual, ops::Tensor out,
               std::int64_t generated, Runs adapters) const;
  void run_experts(ops::Exec& ex, const Layer& layer, ops::Tensor x, ops::Tensor residual, ops::Tensor out,
                   std::int64_t generated, Runs adapters) const;
  /// What a layer is run with, for running it again.
  struct LayerRun {
    const Transformer* model;
    const Layer* layer;
    ops::RopeTable rope;
    ops::AttentionPlace place;
    Runs adapters;
  };
  static void run_again(ops::Exec& ex, const LayerRun& run, ops::Tensor x, ops::Tensor out) {
    run.model->run_layer(ex, *run.layer, x, out, run.rope, run.place, run.adapters);
  }
  void run_layer(ops::Exec& ex, const Layer& layer, ops::Tensor x, ops::Tensor out,
                 const ops::RopeTable& rope, const ops::AttentionPlace& place, Runs adapters) const;

  spec::ModelConfig config_;
  ops::AttentionShape attention_;
  std::vector<float> inverse_frequencies_;  ///< [d/2]
  const Param *embedding_, *head_, *positions_ = nullptr;
  Norm final_norm_;
  std::vector<Layer> layers_;
};

/// Angle per position of each rotary pair, Llama 3.1's and linear scaling and GGUF's factors applied: [d/2].
std::vector<float> rope_inverse_frequencies(const spec::ModelConfig& config);

}  // namespace tw::model
