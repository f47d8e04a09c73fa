// What a decoder-only transformer looks like: read from a GGUF file's metadata or from config.json, checked
// once, and from then on trusted by every folder above.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace tw::spec {

/// How the pairs of a rotary embedding lie in a head. GGUF files of the llama family are stored interleaved
/// (x0,x1),(x2,x3)...; Hugging Face files and Qwen use half-split (x0,x[d/2]),(x1,x[d/2+1])...
enum class RopeStyle { kInterleaved, kHalfSplit };

enum class RopeScalingKind { kNone, kLinear, kLlama3 };

/// Llama 3.1's frequency scaling (Hugging Face `rope_type: llama3`): wavelengths beyond
/// original_context / low_frequency_factor are stretched by `factor`, those below
/// original_context / high_frequency_factor stay, those between are blended. Linear divides all by `factor`.
struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  double original_context = 8192;
};

enum class NormKind { kRms, kLayer };
enum class FfnKind { kGated, kGelu };

/// Experts instead of one feed-forward layer; experts 0: none.
struct Experts {
  std::int64_t count = 0, chosen = 0;  ///< of all layers' experts, each token takes `chosen`
  std::int64_t shared = 0;             ///< experts that every token takes besides
  std::int64_t width = 0;              ///< F of one expert
  std::int64_t dense_layers = 0;       ///< the first so many layers have an ordinary feed-forward layer
  double capacity = 0;                 ///< while learning: ops::ExpertWeights'; 0: no token is dropped
  bool normed = true;                  ///< the weights of the chosen add up to 1
  std::int64_t shared_width = 0;       ///< F of all shared ones together; 0: that of so many experts
  bool shared_gated = false;           ///< a sigmoid of each row says how much they count (Qwen2-MoE)

  std::int64_t shared_ffn() const { return shared_width > 0 ? shared_width : shared * width; }
};

/// Multi-head latent attention (DeepSeek V2, arXiv 2405.04434); kv_rank 0: none. head_dim is then a head's
/// width without rotation.
struct LatentAttention {
  std::int64_t q_rank = 0;  ///< 0: queries are not squeezed
  std::int64_t kv_rank = 0, rope_dim = 0, value_dim = 0;
};

struct ModelConfig {
  std::string architecture;  ///< "llama", "qwen2", "mixtral", ...: by Hugging Face
  std::string name;          ///< for people; may be empty
  std::string license;       ///< SPDX name if the file tells it

  std::int64_t layers = 0;
  std::int64_t width = 0;      ///< D: residual stream
  std::int64_t heads = 0;      ///< query heads
  std::int64_t kv_heads = 0;   ///< divides heads
  std::int64_t head_dim = 0;   ///< even
  std::int64_t ffn_width = 0;  ///< F
  std::int64_t vocab = 0;      ///< V
  std::int64_t context = 0;    ///< longest sequence the model was made for

  double norm_epsilon = 1e-5;
  double rope_theta = 10000;
  RopeStyle rope_style = RopeStyle::kHalfSplit;
  RopeScaling rope_scaling;
  std::int64_t sliding_window = 0;  ///< tokens a query sees back, itself included; 0 = all

  bool qkv_bias = false;            ///< Qwen 2, GPT-2
  bool linear_bias = false;         ///< o, and up and down of an ffn without a gate, have biases too (GPT-2)
  bool qk_norm = false;             ///< Qwen 3: RMSNorm over each head's query and key before the rotation
  std::vector<float> rope_factors;  ///< divide each pair's frequency (GGUF rope_freqs.weight); empty: none
  bool tied_embeddings = false;     ///< the output head is the embedding table

  NormKind norm = NormKind::kRms;
  FfnKind ffn = FfnKind::kGated;
  bool learned_positions = false;  ///< a table of `context` rows instead of rotation (GPT-2, GPT-3)
  Experts experts;
  LatentAttention latent;

  std::int64_t q_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }

  /// Checks every field against the others and against hard limits, so that no product of them overflows.
  /// The error names the field, its value and the rule.
  base::Status validate() const;

  /// Parameters by this configuration, embeddings and norms included (tied tables counted once).
  std::int64_t parameter_count() const;
  /// Those that a token meets: of the experts only what it takes.
  std::int64_t active_parameter_count() const;

  /// Whether every op of this model runs today; the error names the one that does not. What does not run can
  /// still be planned.
  base::Status runnable() const;

  /// One rank's part under tensor and expert parallelism: heads, feed-forward width, vocabulary and experts
  /// are divided, the residual stream is not. Fails when something does not divide, naming it and what would.
  base::Result<ModelConfig> part(int tensor, int expert) const;
};

}  // namespace tw::spec
