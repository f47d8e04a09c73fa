// The mixes: which types a file's tensors have. The rule is the one that llama.cpp publishes with its tool
// llama-quantize and that files named so follow (compared with that tool's choices: tests/golden/mixes).
#include <algorithm>
#include <cctype>

#include "model/quantize_parts.h"

namespace tw::model {
namespace {

using base::DType;

/// The first and the last eighth of the layers, and every third between.
bool has_more_bits(const Place& p) {
  const std::int64_t eighth = p.layers / 8;
  return p.layer < eighth || p.layer >= 7 * p.layers / 8 || (p.layer - eighth) % 3 == 2;
}

template <DType kType>
DType always(const Place&) {
  return kType;
}
/// kMore where has_more_bits.
template <DType kMore, DType kElse>
DType often(const Place& p) {
  return has_more_bits(p) ? kMore : kElse;
}
template <DType kMore, DType kElse, int kShare>
DType first_share(const Place& p) {
  return p.layer < p.layers / kShare ? kMore : kElse;
}
template <DType kMore, DType kElse, int kLayers>
DType first_layers(const Place& p) {
  return p.layer < kLayers ? kMore : kElse;
}
template <DType kGrouped, DType kElse>
DType by_grouping(const Place& p) {
  return p.grouped ? kGrouped : kElse;
}

constexpr DType k2 = DType::kQ2_K, k3 = DType::kQ3_K, k4 = DType::kQ4_K, k5 = DType::kQ5_K, k6 = DType::kQ6_K;

constexpr Mix kMixes[] = {
    {"f32", DType::kF32, 0, {}, {}, {}},
    {"f16", DType::kF16, 1, {}, {}, {}},
    {"bf16", DType::kBF16, 32, {}, {}, {}},
    {"q8_0", DType::kQ8_0, 7, {}, {}, {}},
    {"q5_1", DType::kQ5_1, 9, {}, {}, {}},
    {"q5_0", DType::kQ5_0, 8, {}, {}, {}},
    {"q4_1", DType::kQ4_1, 3, {}, {}, {}},
    {"q4_0", DType::kQ4_0, 2, {}, {}, {}},
    {"q6_k", k6, 18, {}, {}, {}},
    {"q5_k_m", k5, 17, often<k6, k5>, often<k6, k5>, {}},
    {"q5_k_s", k5, 16, {}, {}, {}},
    {"q4_k_m", k4, 15, often<k6, k4>, often<k6, k4>, {}},
    {"q4_k_s", k4, 14, first_layers<k5, k4, 4>, first_share<k5, k4, 8>, {}},
    {"q3_k_l", k3, 13, always<k5>, always<k5>, always<k5>},
    {"q3_k_m", k3, 12, first_layers<k5, k4, 2>, first_share<k5, k4, 16>, always<k4>},
    {"q3_k_s", k3, 11, {}, {}, {}},
    {"q2_k", k2, 10, by_grouping<k4, k3>, always<k3>, always<k3>},
    {"q2_k_s", k2, 21, by_grouping<k4, k2>, first_share<k4, k2, 8>, {}},
};
constexpr std::pair<const char*, const char*> kOtherNames[] = {
    {"q5_k", "q5_k_m"}, {"q4_k", "q4_k_m"}, {"q3_k", "q3_k_m"}};

/// The type itself, or one of about as many bits whose blocks fit rows of so many values.
DType fitting(DType type, std::int64_t columns) {
  const auto fits = [&](DType t) { return columns % base::dtype_info(t).block_elements == 0; };
  if (fits(type)) return type;
  const DType smaller = type == k2 || type == k3 ? DType::kQ4_0
                        : type == k4             ? DType::kQ5_0
                        : type == k5             ? DType::kQ5_1
                                                 : DType::kQ8_0;
  return fits(smaller) ? smaller : DType::kF16;
}

/// Of queries, keys and values in one tensor.
DType fused_type(const Mix& mix) {
  const std::string_view name = mix.name;
  if (name == "q3_k_m" || name == "q3_k_l") return k4;
  if (name == "q4_k_m") return k5;
  return name == "q5_k_m" ? k6 : mix.type;
}

/// Attention's matrices are a small part of a model with eight experts.
DType of_eight_experts(const std::string& name, const Mix& mix, DType type) {
  if (name.ends_with("self_attn.v_proj.weight") || name.ends_with("self_attn.k_proj.weight"))
    return DType::kQ8_0;
  constexpr std::string_view kMore[] = {"q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m"};
  const bool more = std::find(std::begin(kMore), std::end(kMore), mix.name) != std::end(kMore);
  return more && name.ends_with("self_attn.o_proj.weight") ? k5 : type;
}

DType type_of(const Mix& mix, const io::TensorEntry& tensor, const spec::ModelConfig& c) {
  // Learned positions and routers are few, and stay exact.
  if (tensor.shape.size() != 2 || tensor.name == "model.embed_positions.weight" ||
      tensor.name.ends_with("mlp.gate.weight"))
    return DType::kF32;
  if (!base::is_quantized(mix.type)) return mix.type;
  const bool head =
      tensor.name == "lm_head.weight" || (c.tied_embeddings && tensor.name == "model.embed_tokens.weight");
  if (head) return fitting(mix.type == DType::kQ8_0 ? mix.type : k6, tensor.shape[1]);
  constexpr std::string_view kLayers = "model.layers.";
  DType type = mix.type;
  if (tensor.name.starts_with(kLayers)) {
    const Place place{std::stoll(tensor.name.substr(kLayers.size())), c.layers, c.heads / c.kv_heads >= 4};
    const auto ends = [&](const char* part) { return tensor.name.ends_with(part); };
    const bool value = ends("self_attn.v_proj.weight");
    if (c.architecture == "gpt2" &&
        (value || ends("self_attn.q_proj.weight") || ends("self_attn.k_proj.weight")))
      return fitting(fused_type(mix), tensor.shape[1]);
    const Mix::Rule rule = value                             ? mix.value
                           : ends(".down_proj.weight")       ? mix.down
                           : ends("self_attn.o_proj.weight") ? mix.output
                                                             : Mix::Rule{};
    if (rule != nullptr) type = rule(place);
    if (c.experts.count == 8) type = of_eight_experts(tensor.name, mix, type);
    // Models of 70B: eight heads share their values, which are small.
    if (value && c.layers == 80 && (type == k3 || type == k4)) type = k5;
  }
  return fitting(type, tensor.shape[1]);
}

}  // namespace

std::vector<std::string> quantization_names() {
  std::vector<std::string> names;
  for (const Mix& mix : kMixes) names.emplace_back(mix.name);
  return names;
}

base::Result<const Mix*> find_mix(const std::string& name) {
  std::string lower = name;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const auto& [other, known] : kOtherNames) {
    if (lower == other) lower = known;
  }
  for (const Mix& mix : kMixes) {
    if (lower == mix.name) return &mix;
  }
  return base::error(base::Code::kInvalidArgument, "there is no type {}; there are {}", io::quote_text(name),
                     fmt::join(quantization_names(), ", "));
}

base::Result<std::vector<DType>> quantized_types(const ModelToSave& model, const std::string& name) {
  TW_ASSIGN_OR_RETURN(const Mix* mix, find_mix(name));
  std::vector<DType> types;
  types.reserve(model.tensors.size());
  for (const io::TensorEntry& tensor : model.tensors) types.push_back(type_of(*mix, tensor, model.config));
  return types;
}

}  // namespace tw::model
