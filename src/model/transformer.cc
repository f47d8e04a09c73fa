#include "model/transformer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "ops/recompute.h"

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

/// What a sequence-parallel rank keeps of x. For traces alone: rows are not moved.
ops::Tensor rows_of_rank(ops::Tensor x, std::int64_t ranks) {
  return {x.dtype, {(x.rows() + ranks - 1) / ranks, x.row_stride()}, x.data};
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
  const spec::LatentAttention& latent = config.latent;
  attention_ = {config.heads,
                latent.kv_rank > 0 ? config.heads : config.kv_heads,
                config.head_dim + latent.rope_dim,
                config.sliding_window,
                config.rope_style == spec::RopeStyle::kInterleaved,
                config.norm_epsilon,
                latent.value_dim};
  const bool tied = config.tied_embeddings;
  embedding_ = &store.declare("model.embed_tokens.weight", {config.vocab, config.width},
                              tied ? Use::kTableAndMatrix : Use::kTable, Shard::kRows);
  if (config.learned_positions)
    positions_ = &store.declare("model.embed_positions.weight", {config.context, config.width}, Use::kTable);
  for (std::int64_t i = 0; i < config.layers; ++i) layers_.push_back(declare_layer(store, i));
  final_norm_ = declare_norm(store, "model.norm");
  head_ = tied ? embedding_
               : &store.declare("lm_head.weight", {config.vocab, config.width}, Use::kMatrix, Shard::kRows);
}

Transformer::Norm Transformer::declare_norm(ParamStore& store, const std::string& name) const {
  Norm norm{&store.declare(name + ".weight", {config_.width}, Use::kVector), nullptr};
  if (config_.norm == spec::NormKind::kLayer)
    norm.bias = &store.declare(name + ".bias", {config_.width}, Use::kVector);
  return norm;
}

Transformer::Layer Transformer::declare_layer(ParamStore& store, std::int64_t index) const {
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  Layer layer{};
  layer.attention_norm = declare_norm(store, prefix + "input_layernorm");
  if (config_.latent.kv_rank > 0)
    declare_latent(store, prefix + "self_attn.", layer);
  else
    declare_attention(store, prefix + "self_attn.", layer);
  layer.ffn_norm = declare_norm(store, prefix + "post_attention_layernorm");
  declare_ffn(store, prefix + "mlp.", index, layer);
  return layer;
}

/// What is added to the residual stream begins smaller, so that the stream does not grow with the layers
/// (GPT-2).
double Transformer::adding_spread(const Param& param) const {
  return param.spread / std::sqrt(2.0 * static_cast<double>(config_.layers));
}

const Param* Transformer::declare_adding(ParamStore& store, const std::string& name, std::int64_t in,
                                         bool exact) const {
  Param& param = store.declare_linear(name, {config_.width, in}, Shard::kColumns);
  param.spread = adding_spread(param);
  param.exact = exact;
  return &param;
}

void Transformer::declare_attention(ParamStore& store, const std::string& prefix, Layer& layer) const {
  const spec::ModelConfig& c = config_;
  const auto vector = [&](const char* name, std::int64_t n, Shard shard = Shard::kNone) {
    return &store.declare(prefix + name, {n}, Use::kVector, shard);
  };
  const auto matrix = [&](const char* name, std::int64_t out, std::int64_t in, Shard shard) {
    return &store.declare_linear(prefix + name, {out, in}, shard);
  };
  layer.q = matrix("q_proj.weight", c.q_width(), c.width, Shard::kRows);
  layer.k = matrix("k_proj.weight", c.kv_width(), c.width, Shard::kRows);
  layer.v = matrix("v_proj.weight", c.kv_width(), c.width, Shard::kRows);
  if (c.qkv_bias) {
    layer.q_bias = vector("q_proj.bias", c.q_width(), Shard::kRows);
    layer.k_bias = vector("k_proj.bias", c.kv_width(), Shard::kRows);
    layer.v_bias = vector("v_proj.bias", c.kv_width(), Shard::kRows);
  }
  if (c.qk_norm) {
    layer.q_norm = vector("q_norm.weight", c.head_dim);
    layer.k_norm = vector("k_norm.weight", c.head_dim);
  }
  layer.o = declare_adding(store, prefix + "o_proj.weight", c.q_width());
  if (c.linear_bias) layer.o_bias = vector("o_proj.bias", c.width);
}

void Transformer::declare_latent(ParamStore& store, const std::string& prefix, Layer& layer) const {
  const spec::ModelConfig& c = config_;
  const spec::LatentAttention& l = c.latent;
  const auto matrix = [&](const char* name, std::int64_t out, std::int64_t in, Shard shard = Shard::kNone) {
    return &store.declare(prefix + name, {out, in}, Use::kMatrix, shard);
  };
  if (l.q_rank > 0) {
    layer.q_down = matrix("q_a_proj.weight", l.q_rank, c.width);
    layer.q_down_norm = &store.declare(prefix + "q_a_layernorm.weight", {l.q_rank}, Use::kVector);
  }
  layer.q = matrix("q_b_proj.weight", c.heads * (c.head_dim + l.rope_dim), l.q_rank > 0 ? l.q_rank : c.width,
                   Shard::kRows);
  layer.kv_down = matrix("kv_a_proj_with_mqa.weight", l.kv_rank + l.rope_dim, c.width);
  layer.kv_down_norm = &store.declare(prefix + "kv_a_layernorm.weight", {l.kv_rank}, Use::kVector);
  layer.kv_up = matrix("kv_b_proj.weight", c.heads * (c.head_dim + l.value_dim), l.kv_rank, Shard::kRows);
  layer.o = declare_adding(store, prefix + "o_proj.weight", c.heads * l.value_dim);
}

/// Adapters may not add to experts.
void Transformer::declare_expert(ParamStore& store, const std::string& prefix, Layer& layer) const {
  const std::int64_t width = config_.experts.width;
  const auto declare = [&](const char* name, std::int64_t out, std::int64_t in, Shard shard) -> Param& {
    Param& param = store.declare(prefix + name, {out, in}, Use::kMatrix, shard);
    param.routed = true;
    return param;
  };
  layer.gates.push_back(&declare("gate_proj.weight", width, config_.width, Shard::kRows).matrix);
  layer.ups.push_back(&declare("up_proj.weight", width, config_.width, Shard::kRows).matrix);
  Param& down = declare("down_proj.weight", config_.width, width, Shard::kColumns);
  down.spread = adding_spread(down);
  down.exact = true;
  layer.downs.push_back(&down.matrix);
}

void Transformer::declare_ffn(ParamStore& store, const std::string& prefix, std::int64_t index,
                              Layer& layer) const {
  const spec::ModelConfig& c = config_;
  const spec::Experts& e = c.experts;
  const auto gated = [&](const std::string& name, std::int64_t width, const Param*& gate, const Param*& up,
                         const Param*& down) {
    gate = &store.declare_linear(prefix + name + "gate_proj.weight", {width, c.width}, Shard::kRows);
    up = &store.declare_linear(prefix + name + "up_proj.weight", {width, c.width}, Shard::kRows);
    down = declare_adding(store, prefix + name + "down_proj.weight", width, true);
  };
  if (e.count > 0 && index >= e.dense_layers) {
    layer.router = &store.declare(prefix + "gate.weight", {e.count, c.width}, Use::kMatrix);
    for (std::int64_t i = 0; i < e.count; ++i)
      declare_expert(store, prefix + "experts." + std::to_string(i) + ".", layer);
    if (e.shared > 0)
      gated(e.shared_gated ? "shared_expert." : "shared_experts.", e.shared_ffn(), layer.shared_gate,
            layer.shared_up, layer.shared_down);
    if (e.shared > 0 && e.shared_gated) {
      Param& share = store.declare(prefix + "shared_expert_gate.weight", {c.width}, Use::kVector);
      share.start = 0, share.spread = 0.02, share.decay = true;  // a matrix of one row
      layer.share = &share;
    }
  } else if (c.ffn == spec::FfnKind::kGated) {
    gated("", c.ffn_width, layer.gate, layer.up, layer.down);
  } else {
    layer.up = &store.declare_linear(prefix + "up_proj.weight", {c.ffn_width, c.width}, Shard::kRows);
    layer.down = declare_adding(store, prefix + "down_proj.weight", c.ffn_width, true);
    if (c.linear_bias) {
      layer.up_bias = &store.declare(prefix + "up_proj.bias", {c.ffn_width}, Use::kVector, Shard::kRows);
      layer.down_bias = &store.declare(prefix + "down_proj.bias", {c.width}, Use::kVector);
    }
  }
}

ops::Tensor Transformer::embed(ops::Exec& ex, const Batch& batch) const {
  const ops::LearnedPositions learned{batch.positions(),
                                      positions_ == nullptr ? ops::EmbeddingTable{} : positions_->table};
  ops::Tensor x =
      ops::embed(ex, batch.tokens(), embedding_->table, positions_ == nullptr ? nullptr : &learned);
  x = ops::dropout(ex, x, ops::kEmbeddingSite);
  if (ex.sharding().sequence) x = rows_of_rank(x, ex.sharding().tensor);
  return ops::sum_over_ranks(ex, x);
}

ops::Tensor Transformer::forward(ops::Exec& ex, const Batch& batch, const KvView& kv,
                                 const LayerRange& range) const {
  ex.enter_layer(-1);
  ops::Tensor x = range.begin == 0 ? embed(ex, batch) : range.rows;
  ops::Tensor next = ex.output(x.shape);
  const ops::RopeTable rope =
      positions_ != nullptr ? ops::RopeTable{} : ops::rope_table(ex, batch.positions(), inverse_frequencies_);
  ops::AttentionPlace place{batch.positions(), batch.row_blocks(),     batch.tiles(), {},
                            kv.longest,        batch.generated_rows(), batch.groups()};
  const auto adapters = batch.adapters();
  const auto last = std::min(static_cast<std::size_t>(range.end), layers_.size());
  for (auto i = static_cast<std::size_t>(range.begin); i < last; ++i) {
    ex.enter_layer(static_cast<int>(i));
    place.kv = kv.layers[i];
    if (ex.training() && i > 0) next = ex.output(x.shape);  // a layer's input is needed once more
    if (ex.recomputes())
      ops::recomputed<run_again>(ex, LayerRun{this, &layers_[i], rope, place, adapters}, x, next);
    else
      run_layer(ex, layers_[i], x, next, rope, place, adapters);
    std::swap(x, next);
  }
  if (last < layers_.size()) {
    ops::copy(ex, x, range.rows);
    return {};
  }
  ex.enter_layer(static_cast<int>(layers_.size()));
  if (batch.output_rows().empty()) return {};
  const ops::Tensor rows = ops::gather_rows(ex, x, batch.output_rows());
  return norm(ex, final_norm_, rows);
}

ops::Tensor Transformer::norm(ops::Exec& ex, const Norm& norm, ops::Tensor x) const {
  if (norm.bias != nullptr)
    return ops::layer_norm(ex, x, norm.weight->vector, norm.bias->vector, config_.norm_epsilon);
  return ops::rms_norm(ex, x, norm.weight->vector, config_.norm_epsilon);
}

ops::Input Transformer::norm_for(ops::Exec& ex, const Norm& norm, ops::Tensor x,
                                 std::initializer_list<const Param*> weights, std::int64_t generated,
                                 Runs adapters) const {
  // The worst step is traced, with adapters; another one has none.
  const bool plain = norm.bias != nullptr || (!adapters.empty() && !ex.tracing()) ||
                     std::any_of(weights.begin(), weights.end(), [](const Param* p) { return p == nullptr; });
  if (plain) return ops::gather_rows_of_ranks(ex, this->norm(ex, norm, x));
  std::array<const ops::PackedMatrix*, 3> matrices{};
  std::transform(weights.begin(), weights.end(), matrices.begin(), [](const Param* p) { return &p->matrix; });
  ops::Input normed = ops::rms_norm_for(ex, x, norm.weight->vector, config_.norm_epsilon,
                                        std::span(matrices).first(weights.size()), generated);
  normed.x = ops::gather_rows_of_ranks(ex, normed.x);
  return normed;
}

ops::Qkv Transformer::queries(ops::Exec& ex, const Layer& layer, const ops::Input& x,
                              const ops::RopeTable& rope, const ops::AttentionPlace& place,
                              Runs adapters) const {
  if (layer.kv_down != nullptr) {
    const ops::LatentWeights latent{layer.q_down == nullptr ? nullptr : &layer.q_down->matrix,
                                    &layer.q->matrix, &layer.kv_down->matrix, &layer.kv_up->matrix};
    return {ops::latent_qkv(ex, x.x, latent, attention_, place), {}, {}};
  }
  const ops::QkvWeights qkv{&layer.q->matrix,        &layer.k->matrix,        &layer.v->matrix,
                            vector_of(layer.q_bias), vector_of(layer.k_bias), vector_of(layer.v_bias),
                            vector_of(layer.q_norm), vector_of(layer.k_norm), {adapters, layer.q->linear}};
  return ops::qkv_rope(ex, x, qkv, rope, attention_, place);
}

void Transformer::run_layer(ops::Exec& ex, const Layer& layer, ops::Tensor x, ops::Tensor out,
                            const ops::RopeTable& rope, const ops::AttentionPlace& place,
                            Runs adapters) const {
  const std::int64_t number = &layer - layers_.data();
  tensor::Arena::Scope scope(ex.arena(), ex.training());
  const ops::Input attention_input =
      norm_for(ex, layer.attention_norm, x, {layer.q, layer.k, layer.v}, place.generated, adapters);
  const ops::Qkv projected = queries(ex, layer, attention_input, rope, place, adapters);
  const ops::Tensor mixed =
      ops::attention(ex, projected, attention_, place, ops::weights_site(number, attention_.heads));
  ops::Branch attended(ex, x, ex.output(x.shape), ops::layer_site(number, ops::LayerSite::kAttention));
  ops::linear_residual(ex, mixed, layer.o->matrix, place.generated, attended.residual(), attended.out(),
                       {adapters, layer.o->linear}, vector_of(layer.o_bias));
  const ops::Tensor middle = ops::sum_over_ranks(ex, attended.end());

  const ops::Input ffn_input =
      norm_for(ex, layer.ffn_norm, middle, {layer.gate, layer.up}, place.generated, adapters);
  ops::Branch fed(ex, middle, out, ops::layer_site(number, ops::LayerSite::kFfn));
  run_ffn(ex, layer, ffn_input, fed.residual(), fed.out(), place.generated, adapters);
  ops::sum_over_ranks(ex, fed.end());
}

void Transformer::run_ffn(ops::Exec& ex, const Layer& layer, const ops::Input& x, ops::Tensor residual,
                          ops::Tensor out, std::int64_t generated, Runs adapters) const {
  if (layer.router != nullptr) {
    run_experts(ex, layer, x.x, residual, out, generated, adapters);
  } else if (layer.gate == nullptr) {
    const ops::GeluWeights weights{&layer.up->matrix, &layer.down->matrix, vector_of(layer.up_bias),
                                   vector_of(layer.down_bias)};
    ops::gelu_ffn(ex, x.x, weights, generated, residual, out, {adapters, layer.up->linear});
  } else {
    ops::gated_ffn(ex, x, layer.gate->matrix, layer.up->matrix, layer.down->matrix, generated, residual, out,
                   {adapters, layer.gate->linear});
  }
}

void Transformer::run_experts(ops::Exec& ex, const Layer& layer, ops::Tensor x, ops::Tensor residual,
                              ops::Tensor out, std::int64_t generated, Runs adapters) const {
  ops::ExpertWeights w{&layer.router->matrix, layer.gates, layer.ups, layer.downs};
  w.local = config_.experts.count;
  w.experts = w.local * ex.sharding().expert;
  w.chosen = config_.experts.chosen;
  w.normed = config_.experts.normed;
  w.capacity = config_.experts.capacity;
  if (layer.shared_gate == nullptr) return ops::moe_ffn(ex, x, w, generated, residual, out);
  const ops::Tensor routed = ex.output(out.shape);
  ops::moe_ffn(ex, x, w, generated, residual, routed);
  const ops::SharedExpert shared{&layer.shared_gate->matrix, &layer.shared_up->matrix,
                                 &layer.shared_down->matrix, vector_of(layer.share)};
  ops::shared_ffn(ex, x, shared, generated, routed, out, {adapters, layer.shared_gate->linear});
}

ops::Tensor Transformer::logits(ops::Exec& ex, ops::Tensor hidden) const {
  // By the decode kernels for any phase: few rows are wanted, and a row has the same bits in any company.
  const ops::Tensor all = ops::gather_rows_of_ranks(ex, hidden);
  return ops::linear(ex, all, head_->matrix, all.rows());
}

ops::Tensor Transformer::loss(ops::Exec& ex, ops::Tensor hidden, const ops::LossRows& rows) const {
  return ops::linear_cross_entropy(ex, hidden, head_->matrix, rows);
}

ops::Tensor Transformer::preference(ops::Exec& ex, ops::Tensor hidden,
                                    const ops::PreferenceRows& rows) const {
  return ops::linear_preference(ex, hidden, head_->matrix, rows);
}

void Transformer::top(ops::Exec& ex, ops::Tensor hidden, const ops::TopRows& rows) const {
  ops::linear_top(ex, hidden, head_->matrix, rows);
}

}  // namespace tw::model
