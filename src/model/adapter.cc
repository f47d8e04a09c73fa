#include "model/adapter.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/hash64.h"
#include "base/mix64.h"
#include "base/mmap.h"
#include "kernels/ref/dequantize.h"
#include "model/loaded_model.h"

namespace tw::model {
namespace {

using base::Code;

constexpr std::string_view kPrefix = "base_model.model.", kWeight = ".weight";
constexpr std::size_t kMostConfigBytes = 1 << 20;

std::string_view module_of(std::string_view parameter) {
  return parameter.substr(0, parameter.size() - kWeight.size());
}

base::Result<AdapterConfig> parse_config(std::string_view text, const std::string& where) {
  const auto json = base::parse_json(text);
  if (!json.ok()) return base::Error{json.error().code, json.error().message, where};
  return read_adapter_config(*json, where);
}

base::Status check_matrix(const io::TensorEntry& entry, std::int64_t rows, std::int64_t columns,
                          const std::string& path) {
  if (entry.shape != std::vector<std::int64_t>{rows, columns}) {
    return base::Error{Code::kCorrupt,
                       fmt::format("tensor {} is {}, but should be {}", io::quote_text(entry.name),
                                   io::shape_text(entry.shape), io::shape_text({rows, columns})),
                       path};
  }
  if (entry.dtype == base::DType::kF32 || entry.dtype == base::DType::kF16 ||
      entry.dtype == base::DType::kBF16)
    return base::Ok{};
  return base::Error{
      Code::kUnsupported,
      fmt::format("tensor {} has type {}", io::quote_text(entry.name), base::dtype_name(entry.dtype)), path};
}

base::Error unknown_tensor(const io::SafetensorsFile& file, std::string_view name) {
  return {Code::kUnsupported,
          fmt::format("tensor {} adapts nothing that can be adapted here: the projections of attention and "
                      "feed-forward layers of this base model can",
                      io::quote_text(name, 120)),
          file.path()};
}

/// Each matrix begins at a multiple of 64 bytes.
constexpr std::int64_t padded(std::int64_t elements) {
  return (elements + 15) / 16 * 16;
}

}  // namespace

std::string adapter_tensor_name(std::string_view parameter, char matrix) {
  return fmt::format("{}{}.lora_{}.weight", kPrefix, module_of(parameter), matrix);
}

std::string adapted_parameter(std::string_view tensor, char matrix) {
  const std::string end = fmt::format(".lora_{}.weight", matrix);
  if (!tensor.starts_with(kPrefix) || !tensor.ends_with(end)) return {};
  tensor.remove_prefix(kPrefix.size());
  tensor.remove_suffix(end.size());
  return std::string(tensor) + std::string(kWeight);
}

void reorder_heads(const spec::ModelConfig& config, std::string_view parameter, std::span<float> b,
                   bool back) {
  const bool query = parameter.ends_with("self_attn.q_proj.weight");
  if (config.rope_style != spec::RopeStyle::kInterleaved ||
      (!query && !parameter.ends_with("self_attn.k_proj.weight")))
    return;
  const std::int64_t heads = query ? config.heads : config.kv_heads, d = config.head_dim;
  const std::int64_t rank = std::ssize(b) / (heads * d);
  std::vector<float> head(d * rank);
  for (std::int64_t first = 0; first < std::ssize(b); first += d * rank) {
    std::copy_n(&b[first], d * rank, head.begin());
    for (std::int64_t i = 0; i < d; ++i) {
      const std::int64_t pair = i / 2 + i % 2 * (d / 2);  // row i of the model is this one of Hugging Face's
      const std::int64_t from = back ? i : pair, to = back ? pair : i;
      std::copy_n(&head[from * rank], rank, &b[first + to * rank]);
    }
  }
}

Adapter::Adapter(AdapterConfig config, const ParamStore& base)
    : config_(std::move(config)), linears_(base.linears()) {}

void Adapter::add_linear(const Param& weight, std::int64_t rank) {
  const std::int64_t n = weight.shape[0], k = weight.shape[1];
  Param& a = params_.declare(adapter_tensor_name(weight.name, 'A'), {rank, k}, Use::kMatrix);
  Param& b = params_.declare(adapter_tensor_name(weight.name, 'B'), {n, rank}, Use::kMatrix);
  // As peft begins: kaiming_uniform_ with a = sqrt(5), and zeros.
  a.uniform = true;
  a.spread = 1 / std::sqrt(static_cast<double>(k));
  b.spread = 0;
  const double scale = config_.scale_of(module_of(weight.name), rank);
  linears_[weight.linear] = {&a.matrix, &b.matrix, static_cast<float>(scale)};
}

base::Status Adapter::declare_found(const io::SafetensorsFile& file, const ParamStore& base) {
  std::size_t used = 0;
  for (const Param& weight : base.params()) {
    if (weight.linear < 0) continue;
    const std::string a_name = adapter_tensor_name(weight.name, 'A'),
                      b_name = adapter_tensor_name(weight.name, 'B');
    const io::TensorEntry *a = file.find(a_name), *b = file.find(b_name);
    if (a == nullptr && b == nullptr) continue;
    if (a == nullptr || b == nullptr) {
      TW_RETURN_IF_ERROR(file.get(a == nullptr ? a_name : b_name));
    }
    const std::int64_t rank = config_.rank_of(module_of(weight.name));
    TW_RETURN_IF_ERROR(check_matrix(*a, rank, weight.shape[1], file.path()));
    TW_RETURN_IF_ERROR(check_matrix(*b, weight.shape[0], rank, file.path()));
    add_linear(weight, rank);
    used += 2;
  }
  if (used < file.tensors().size()) {
    for (const io::TensorEntry& entry : file.tensors()) {
      const auto is_it = [&](const Param& param) { return param.name == entry.name; };
      if (std::ranges::none_of(params_.params(), is_it)) return unknown_tensor(file, entry.name);
    }
  }
  if (!file.unsupported().empty()) return unknown_tensor(file, file.unsupported().begin()->first);
  if (used == 0) return base::Error{Code::kCorrupt, "has no tensors: it adapts nothing", file.path()};
  return base::Ok{};
}

base::Status Adapter::bind(const io::SafetensorsFile& file, const LoadedModel& base) {
  std::int64_t elements = 0;
  for (const Param& param : params_.params()) elements += padded(param.elements());
  TW_ASSIGN_OR_RETURN(storage_, tensor::Buffer::allocate(elements * sizeof(float), "an adapter's weights"));
  auto* at = reinterpret_cast<float*>(storage_.data());
  std::uint64_t hash = 0;
  const auto mix = [&](std::uint64_t more) { hash = base::mix64(hash * 3 + more); };
  const kernels::MatmulKernel& kernel = *base.table().matmul[static_cast<int>(base::DType::kF32)];
  for (Param& param : params_.params()) {
    const io::TensorEntry& entry = *file.find(param.name);
    kernels::dequantize_row(entry.dtype, entry.data, at, param.elements());
    const std::span<float> numbers(at, static_cast<std::size_t>(param.elements()));
    if (!std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); })) {
      return base::Error{Code::kCorrupt,
                         fmt::format("tensor {} has numbers that are not finite", io::quote_text(param.name)),
                         file.path()};
    }
    mix(base::hash64(std::as_bytes(numbers)));
    mix(base::hash64(param.name));
    if (const std::string weight = adapted_parameter(param.name, 'B'); !weight.empty())
      reorder_heads(base.config(), weight, numbers, false);
    param.matrix = tensor::PackedMatrix(kernel, base::DType::kF32, at, param.shape[0], param.shape[1], {});
    param.bound = true;
    at += padded(param.elements());
  }
  for (const ops::LowRank& low : linears_) mix(base::hash64(std::as_bytes(std::span(&low.scale, 1))));
  content_hash_ = hash | 1;
  return base::Ok{};
}

base::Result<std::shared_ptr<const Adapter>> Adapter::parse(std::string_view config, const std::string& where,
                                                            const io::SafetensorsFile& weights,
                                                            const LoadedModel& base) {
  TW_ASSIGN_OR_RETURN(AdapterConfig parsed, parse_config(config, where));
  std::shared_ptr<Adapter> adapter(new Adapter(std::move(parsed), base.params()));
  TW_RETURN_IF_ERROR(adapter->declare_found(weights, base.params()));
  TW_RETURN_IF_ERROR(adapter->bind(weights, base));
  return std::shared_ptr<const Adapter>(std::move(adapter));
}

base::Result<std::shared_ptr<const Adapter>> Adapter::load(const std::string& folder,
                                                           const LoadedModel& base) {
  const std::string config_path = folder + "/adapter_config.json",
                    weights_path = folder + "/adapter_model.safetensors";
  std::error_code none;
  if (std::filesystem::is_directory(folder, none) && !std::filesystem::exists(config_path, none)) {
    return base::Error{Code::kNotFound,
                       "is no adapter, for it has no adapter_config.json: name a folder that peft or "
                       "`tokenworks train --adapter-rank` wrote",
                       folder};
  }
  TW_ASSIGN_OR_RETURN(const std::string config, base::read_file(config_path, kMostConfigBytes));
  TW_RETURN_IF_ERROR(parse_config(config, config_path));  // what is wrong with it is said first
  auto file = io::SafetensorsFile::open(weights_path);
  if (!file.ok()) {
    if (file.error().code != Code::kNotFound || !std::filesystem::exists(folder + "/adapter_model.bin", none))
      return file.error();
    return base::Error{Code::kUnsupported,
                       "adapter_model.bin is a Python pickle, which is not read here: save it anew with "
                       "safe_serialization",
                       folder};
  }
  return parse(config, config_path, *file, base);
}

base::Result<std::unique_ptr<Adapter>> Adapter::make(const AdapterConfig& config, const ParamStore& base) {
  std::unique_ptr<Adapter> adapter(new Adapter(config, base));
  for (const std::string& target : config.targets) {
    const auto meant = [&](const Param& param) {
      return param.linear >= 0 && module_matches(module_of(param.name), target);
    };
    if (std::ranges::none_of(base.params(), meant)) {
      return base::error(Code::kInvalidArgument,
                         "no linear layer of the base model is called {}: q_proj, k_proj, v_proj, o_proj, "
                         "gate_proj, up_proj and down_proj are",
                         io::quote_text(target));
    }
  }
  for (const Param& weight : base.params()) {
    if (weight.linear >= 0 && config.targets_module(module_of(weight.name)))
      adapter->add_linear(weight, config.rank_of(module_of(weight.name)));
  }
  return adapter;
}

base::Status Adapter::take_over(const Adapter& from,
                                const std::function<std::span<float>(std::size_t)>& master) const {
  const auto same = [](const Param& a, const Param& b) { return a.name == b.name && a.shape == b.shape; };
  if (!std::ranges::equal(params_.params(), from.params_.params(), same)) {
    return base::error(Code::kInvalidArgument,
                       "the adapter to go on from has other layers or ranks than the one to learn: take its "
                       "adapter_config.json");
  }
  std::size_t i = 0;
  for (const Param& param : from.params_.params()) {
    const auto* numbers = static_cast<const float*>(param.matrix.source());
    std::copy_n(numbers, param.elements(), master(i++).begin());
  }
  return base::Ok{};
}

std::unique_ptr<Adapter> Adapter::largest(const LoadedModel& base) {
  std::unique_ptr<Adapter> adapter(new Adapter({}, base.params()));
  const kernels::MatmulKernel& kernel = *base.table().matmul[static_cast<int>(base::DType::kF32)];
  for (const Param& weight : base.params().params()) {
    if (weight.linear >= 0) adapter->add_linear(weight, kMostRank);
  }
  for (Param& param : adapter->params_.params())
    param.matrix =
        tensor::PackedMatrix(kernel, base::DType::kF32, nullptr, param.shape[0], param.shape[1], {});
  return adapter;
}

}  // namespace tw::model
