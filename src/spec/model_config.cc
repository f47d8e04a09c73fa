#include "spec/model_config.h"

#include <cmath>

namespace tw::spec {
namespace {

constexpr std::int64_t kMaxQueryWidth = std::int64_t{1} << 22;

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
  return base::Ok{};
}

std::int64_t ModelConfig::parameter_count() const {
  const std::int64_t attention = width * (2 * q_width() + 2 * kv_width());
  const std::int64_t biases = qkv_bias ? q_width() + 2 * kv_width() : 0;
  const std::int64_t norms = 2 * width + (qk_norm ? 2 * head_dim : 0);
  const std::int64_t layer = attention + biases + 3 * width * ffn_width + norms;
  return layers * layer + vocab * width * (tied_embeddings ? 1 : 2) + width;
}

}  // namespace tw::spec
