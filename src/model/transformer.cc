#include "model/transformer.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace tw::model {
namespace {

/// Llama 3.1's blend between kept and stretched frequencies (see spec::RopeScaling).
double llama3_scaled(double frequency, const spec::RopeScaling& s) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double low = s.original_context / s.low_frequency_factor;
  const double high = s.original_context / s.high_frequency_factor;
  if (wavelength < high) return frequency;
  if (wavelength > low) return frequency / s.factor;
  const double smooth = (s.original_context / wavelength - s.low_frequency_factor) /
                        (s.high_frequency_factor - s.low_frequency_factor);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

ops::Tensor vector_of(const Param* param) {
  return param == nullptr ? ops::Tensor{} : param->vector;
}

}  // namespace

std::vector<float> rope_inverse_frequencies(const spec::ModelConfig& c) {
  std::vector<float> result;
  for (std::int64_t i = 0; i < c.head_dim / 2; ++i) {
    double frequency =
        std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
    if (c.rope_scaling.kind == spec::RopeScalingKind::kLinear) frequency /= c.rope_scaling.factor;
    if (c.rope_scaling.kind == spec::RopeScalingKind::kLlama3)
      frequency = llama3_scaled(frequency, c.rope_scaling);
    if (!c.rope_factors.empty()) frequency /= c.rope_factors[i];
    result.push_back(static_cast<float>(frequency));
  }
  return result;
}

Transformer::Transformer(const spec::ModelConfig& config, ParamStore& store)
    : config_(config), inverse_frequencies_(rope_inverse_frequencies(config)) {
  attention_ = {config.heads,
                config.kv_heads,
                config.head_dim,
                config.sliding_window,
                config.rope_style == spec::RopeStyle::kInterleaved,
                config.norm_epsilon};
  const bool tied = config.tied_embeddings;
  embedding_ = &store.declare("model.embed_tokens.weight", {config.vocab, config.width},
                              tied ? Use::kTableAndMatrix : Use::kTable, Shard::kRows);
  for (std::int64_t i = 0; i < config.layers; ++i) layers_.push_back(declare_layer(store, i));
  final_norm_ = &store.declare("model.norm.weight", {config.width}, Use::kVector);
  head_ = tied ? embedding_
               : &store.declare("lm_head.weight", {config.vocab, config.width}, Use::kMatrix, Shard::kRows);
}

Transformer::Layer Transformer::declare_layer(ParamStore& store, std::int64_t index) const {
  const spec::ModelConfig& c = config_;
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const auto vector = [&](const char* name, std::int64_t n, Shard shard = Shard::kNone) {
    return &store.declare(prefix + name, {n}, Use::kVector, shard);
  };
  const auto matrix = [&](const char* name, std::int64_t out, std::int64_t in, Shard shard) {
    return &store.declare(prefix + name, {out, in}, Use::kMatrix, shard);
  };
  /// What is added to the residual stream begins smaller, so that the stream does not grow with the layers
  /// (GPT-2).
  const auto adding = [&](const char* name, std::int64_t in) {
    Param& param = store.declare(prefix + name, {c.width, in}, Use::kMatrix, Shard::kColumns);
    param.spread /= std::sqrt(2.0 * static_cast<double>(c.layers));
    return &param;
  };
  Layer layer{};
  layer.attention_norm = vector("input_layernorm.weight", c.width);
  layer.q = matrix("self_attn.q_proj.weight", c.q_width(), c.width, Shard::kRows);
  layer.k = matrix("self_attn.k_proj.weight", c.kv_width(), c.width, Shard::kRows);
  layer.v = matrix("self_attn.v_proj.weight", c.kv_width(), c.width, Shard::kRows);
  if (c.qkv_bias) {
    layer.q_bias = vector("self_attn.q_proj.bias", c.q_width(), Shard::kRows);
    layer.k_bias = vector("self_attn.k_proj.bias", c.kv_width(), Shard::kRows);
    layer.v_bias = vector("self_attn.v_proj.bias", c.kv_width(), Shard::kRows);
  }
  if (c.qk_norm) {
    layer.q_norm = vector("self_attn.q_norm.weight", c.head_dim);
    layer.k_norm = vector("self_attn.k_norm.weight", c.head_dim);
  }
  layer.o = adding("self_attn.o_proj.weight", c.q_width());
  layer.ffn_norm = vector("post_attention_layernorm.weight", c.width);
  layer.gate = matrix("mlp.gate_proj.weight", c.ffn_width, c.width, Shard::kRows);
  layer.up = matrix("mlp.up_proj.weight", c.ffn_width, c.width, Shard::kRows);
  layer.down = adding("mlp.down_proj.weight", c.ffn_width);
  return layer;
}

ops::Tensor Transformer::forward(ops::Exec& ex, const Batch& batch, const KvView& kv) const {
  ops::Tensor x = ops::embed(ex, batch.tokens(), embedding_->table);
  ops::Tensor next = ex.output(x.shape);
  const ops::RopeTable rope = ops::rope_table(ex, batch.positions(), inverse_frequencies_);
  ops::AttentionPlace place{batch.positions(), batch.row_blocks(),    batch.tiles(), {},
                            kv.longest,        batch.generated_rows()};
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    place.kv = kv.layers[i];
    if (ex.training() && i > 0) next = ex.output(x.shape);  // a layer's input is needed once more
    run_layer(ex, layers_[i], x, next, rope, place);
    std::swap(x, next);
  }
  if (batch.output_rows().empty()) return {};
  const ops::Tensor rows = ops::gather_rows(ex, x, batch.output_rows());
  return ops::rms_norm(ex, rows, final_norm_->vector, config_.norm_epsilon);
}

void Transformer::run_layer(ops::Exec& ex, const Layer& layer, ops::Tensor x, ops::Tensor out,
                            const ops::RopeTable& rope, const ops::AttentionPlace& place) const {
  tensor::Arena::Scope scope(ex.arena(), ex.training());
  const double epsilon = config_.norm_epsilon;
  const ops::QkvWeights qkv{&layer.q->matrix,        &layer.k->matrix,        &layer.v->matrix,
                            vector_of(layer.q_bias), vector_of(layer.k_bias), vector_of(layer.v_bias),
                            vector_of(layer.q_norm), vector_of(layer.k_norm)};
  const ops::Tensor attention_input = ops::rms_norm(ex, x, layer.attention_norm->vector, epsilon);
  const ops::Qkv projected = ops::qkv_rope(ex, attention_input, qkv, rope, attention_, place);
  const ops::Tensor mixed = ops::attention(ex, projected, attention_, place);
  const ops::Tensor middle = ex.output(x.shape);
  ops::linear_residual(ex, mixed, layer.o->matrix, place.generated, x, middle);

  const ops::Tensor ffn_input = ops::rms_norm(ex, middle, layer.ffn_norm->vector, epsilon);
  ops::gated_ffn(ex, ffn_input, layer.gate->matrix, layer.up->matrix, layer.down->matrix, place.generated,
                 middle, out);
}

ops::Tensor Transformer::logits(ops::Exec& ex, ops::Tensor hidden) const {
  // By the decode kernels for any phase: few rows are wanted, and a row has the same bits in any company.
  return ops::linear(ex, hidden, head_->matrix, hidden.rows());
}

ops::Tensor Transformer::loss(ops::Exec& ex, ops::Tensor hidden, const ops::LossRows& rows) const {
  return ops::linear_cross_entropy(ex, hidden, head_->matrix, rows);
}

}  // namespace tw::model
