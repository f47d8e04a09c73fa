#include "spec/model_config.h"

#include <cmath>
#include <utility>

namespace tw::spec {
namespace {

constexpr std::int64_t kMaxQueryWidth = std::int64_t{1} << 22;
constexpr std::int64_t kMaxExperts = std::int64_t{1} << 16;  ///< of all layers

struct Bound {
  const char* field;
  std::int64_t value, low, high;
};

base::Status check_bounds(const ModelConfig& c) {
  // High ends are far above any published model and low enough that parameter_count fits 64 bits.
  const Bound bounds[] = {
      {"layers", c.layers, 1, 4096},
      {"width", c.width, 1, 1 << 20},
      {"heads", c.heads, 1, 1 << 16},
      {"kv_heads", c.kv_heads, 1, 1 << 16},
      {"head_dim", c.head_dim, 2, 1 << 14},
      {"ffn_width", c.ffn_width, 1, 1 << 22},
      {"vocab", c.vocab, 2, 1 << 24},
      {"context", c.context, 1, std::int64_t{1} << 30},
      {"sliding_window", c.sliding_window, 0, std::int64_t{1} << 30},
  };
  for (const Bound& b : bounds) {
    if (b.value < b.low || b.value > b.high) {
      return base::error(base::Code::kInvalidArgument, "{} is {}, outside {} to {}", b.field, b.value, b.low,
                         b.high);
    }
  }
  return base::Ok{};
}

bool is_positive(double x) {
  return std::isfinite(x) && x > 0;
}

}  // namespace

base::Status ModelConfig::validate() const {
  using base::Code;
  TW_RETURN_IF_ERROR(check_bounds(*this));
  if (heads % kv_heads != 0) {
    return base::error(Code::kInvalidArgument, "heads ({}) is not a multiple of kv_heads ({})", heads,
                       kv_heads);
  }
  if (heads * head_dim > kMaxQueryWidth) {
    return base::error(Code::kInvalidArgument, "{} heads of {} are wider than {}", heads, head_dim,
                       kMaxQueryWidth);
  }
  if (head_dim % 2 != 0) return base::error(Code::kInvalidArgument, "head_dim ({}) is odd", head_dim);
  if (!is_positive(norm_epsilon))
    return base::error(Code::kInvalidArgument, "norm_epsilon ({}) is not positive", norm_epsilon);
  if (!is_positive(rope_theta))
    return base::error(Code::kInvalidArgument, "rope_theta ({}) is not positive", rope_theta);
  if (!rope_factors.empty() && static_cast<std::int64_t>(rope_factors.size()) != head_dim / 2) {
    return base::error(Code::kInvalidArgument, "{} rope factors for heads of {}", rope_factors.size(),
                       head_dim);
  }
  const RopeScaling& s = rope_scaling;
  if (s.kind != RopeScalingKind::kNone && !is_positive(s.factor)) {
    return base::error(Code::kInvalidArgument, "rope scaling factor ({}) is not positive", s.factor);
  }
  if (s.kind == RopeScalingKind::kLlama3 &&
      !(is_positive(s.low_frequency_factor) && s.high_frequency_factor > s.low_frequency_factor &&
        is_positive(s.original_context))) {
    return base::error(Code::kInvalidArgument,
                       "llama3 rope scaling needs 0 < low ({}) < high ({}) and a context ({})",
                       s.low_frequency_factor, s.high_frequency_factor, s.original_context);
  }
  const Experts& e = experts;
  if (e.count < 0 || e.chosen < 0 || e.shared < 0 || e.width < 0 || e.dense_layers < 0 || e.count > 1 << 16 ||
      e.width > 1 << 22 || e.shared > 1 << 10 || e.chosen > e.count || e.dense_layers > layers ||
      !(e.capacity >= 0 && e.capacity <= 1e6) || e.shared_width < 0 || e.shared_width > 1 << 22 ||
      (e.shared > 0 && e.shared_ffn() == 0) || (e.count > 0 && (e.chosen == 0 || e.width == 0))) {
    return base::error(Code::kInvalidArgument, "{} experts of {} with {} chosen cannot be", e.count, e.width,
                       e.chosen);
  }
  if ((e.count + e.shared) * layers > kMaxExperts) {
    return base::error(Code::kInvalidArgument, "{} layers of {} experts are more than {} in all", layers,
                       e.count + e.shared, kMaxExperts);
  }
  return base::Ok{};
}

namespace {

std::int64_t attention_parameters(const ModelConfig& c) {
  const LatentAttention& l = c.latent;
  if (l.kv_rank == 0) return c.width * (2 * c.q_width() + 2 * c.kv_width());
  const std::int64_t q = c.heads * (c.head_dim + l.rope_dim);
  return (l.q_rank > 0 ? l.q_rank * (c.width + q + 1) : c.width * q) + c.width * (l.kv_rank + l.rope_dim) +
         l.kv_rank + l.kv_rank * c.heads * (c.head_dim + l.value_dim) + c.heads * l.value_dim * c.width;
}

/// Of the whole model when each expert layer has `taken` of its experts.
std::int64_t parameters_with(const ModelConfig& c, std::int64_t taken) {
  const std::int64_t norm = c.width * (c.norm == NormKind::kLayer ? 2 : 1);
  const std::int64_t biases = c.qkv_bias ? c.q_width() + 2 * c.kv_width() : 0;
  const std::int64_t added = c.linear_bias ? 2 * c.width + c.ffn_width : 0;
  const std::int64_t common =
      added + attention_parameters(c) + biases + 2 * norm + (c.qk_norm ? 2 * c.head_dim : 0);
  const std::int64_t matrices = c.ffn == FfnKind::kGated ? 3 : 2, dense = matrices * c.width * c.ffn_width;
  const Experts& e = c.experts;
  const std::int64_t routed =
      c.width * (e.count + (e.shared_gated ? 1 : 0)) + 3 * c.width * (e.width * taken + e.shared_ffn());
  const std::int64_t dense_layers = e.count > 0 ? e.dense_layers : c.layers;
  return c.layers * common + dense_layers * dense + (c.layers - dense_layers) * routed +
         c.vocab * c.width * (c.tied_embeddings ? 1 : 2) + norm +
         (c.learned_positions ? c.context * c.width : 0);
}

}  // namespace

std::int64_t ModelConfig::parameter_count() const {
  return parameters_with(*this, experts.count);
}

std::int64_t ModelConfig::active_parameter_count() const {
  return parameters_with(*this, experts.chosen);
}

base::Status ModelConfig::runnable() const {
  const std::pair<bool, const char*> missing[] = {
      {latent.kv_rank > 0, "latent_qkv"},
  };
  for (const auto& [needed, op] : missing) {
    if (needed)
      return base::error(base::Code::kUnsupported,
                         "this model needs the op {}, which can be planned but not run yet", op);
  }
  return base::Ok{};
}

base::Result<ModelConfig> ModelConfig::part(int tensor, int expert) const {
  ModelConfig p = *this;
  const auto divide = [](std::int64_t& what, int by, const char* name) -> base::Status {
    if (what % by != 0)
      return base::error(base::Code::kInvalidArgument, "{} ({}) does not divide by {}", name, what, by);
    what /= by;
    return base::Ok{};
  };
  TW_RETURN_IF_ERROR(divide(p.heads, tensor, "heads"));
  TW_RETURN_IF_ERROR(divide(p.ffn_width, tensor, "ffn_width"));
  TW_RETURN_IF_ERROR(divide(p.experts.count, expert, "experts"));
  // With fewer key heads than ranks, ranks share one. Experts are cut only where they are not dealt out.
  p.kv_heads = kv_heads % tensor == 0 ? kv_heads / tensor : 1;
  if (expert == 1) {
    TW_RETURN_IF_ERROR(divide(p.experts.width, tensor, "expert width"));
    TW_RETURN_IF_ERROR(divide(p.experts.shared_width, tensor, "width of the shared expert"));
  }
  if (p.heads % p.kv_heads != 0)
    return base::error(base::Code::kInvalidArgument, "kv_heads ({}) does not divide by {}", kv_heads, tensor);
  p.vocab = (vocab + tensor - 1) / tensor;  // tables are padded
  return p;
}

}  // namespace tw::spec
