#include "model/adapter_write.h"

#include <filesystem>
#include <map>

#include "base/mmap.h"
#include "io/safetensors_write.h"

namespace tw::model {
namespace {

base::OrderedJson config_json(const AdapterConfig& c) {
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", c.base_model},
          {"r", c.rank},
          {"lora_alpha", c.alpha},
          {"lora_dropout", c.dropout},
          {"use_rslora", c.rank_stabilised},
          {"target_modules", c.targets},
          {"rank_pattern", c.rank_pattern},
          {"alpha_pattern", c.alpha_pattern},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"inference_mode", true}};
}

}  // namespace

base::Status write_adapter(const std::string& folder, const Adapter& adapter, const spec::ModelConfig& base,
                           const std::function<std::span<const float>(std::size_t)>& numbers) {
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem) return base::Error{base::Code::kIo, "cannot be made: " + problem.message(), folder};
  std::vector<std::vector<float>> reordered;
  reordered.reserve(adapter.params().params().size());  // entries point into it
  std::vector<io::TensorEntry> tensors;
  for (const Param& param : adapter.params().params()) {
    const std::span<const float> own = numbers(tensors.size());
    TW_CHECK(std::ssize(own) == param.elements(), "a parameter has all its numbers");
    std::vector<float>& copy = reordered.emplace_back(own.begin(), own.end());
    if (const std::string weight = adapted_parameter(param.name, 'B'); !weight.empty())
      reorder_heads(base, weight, copy, true);
    tensors.push_back({param.name, base::DType::kF32, param.shape,
                       reinterpret_cast<const std::byte*>(copy.data()), copy.size() * sizeof(float)});
  }
  TW_RETURN_IF_ERROR(
      io::write_safetensors(folder + "/adapter_model.safetensors", {{"format", "pt"}}, tensors));
  return base::write_file_atomically(folder + "/adapter_config.json",
                                     config_json(adapter.config()).dump(2) + "\n");
}

}  // namespace tw::model
