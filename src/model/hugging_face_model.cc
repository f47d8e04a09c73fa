#include <filesystem>

#include "base/mmap.h"
#include "io/safetensors_folder.h"
#include "model/families.h"
#include "model/generation_config.h"
#include "model/model_files.h"
#include "model/palette.h"
#include "model/tensor_place.h"

namespace tw::model {
namespace {

using base::Json;

/// A JSON file of the folder; null when it is not there.
base::Result<Json> read_json(const std::string& path) {
  auto text = base::read_file(path);
  if (!text.ok()) {
    if (text.error().code == base::Code::kNotFound) return Json();
    return text.error();
  }
  auto json = base::parse_json(*text);
  if (!json.ok()) return base::Error{json.error().code, json.error().message, path};
  return json;
}

/// A file's text; empty when it is not there.
base::Result<std::string> read_optional(const std::string& path) {
  auto text = base::read_file(path);
  if (!text.ok() && text.error().code == base::Code::kNotFound) return std::string();
  return text;
}

/// "chat_template" is a string, or a list of named ones of which "default" is the chat's.
std::string template_of(const Json& json) {
  if (!json.is_object() || !json.contains("chat_template")) return {};
  const Json& value = json["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return {};
  for (const Json& entry : value) {
    if (entry.is_object() && entry.value("name", Json()) == "default" && entry.contains("template") &&
        entry["template"].is_string()) {
      return entry["template"].get<std::string>();
    }
  }
  return {};
}

class HuggingFaceModel : public ModelFiles {
 public:
  HuggingFaceModel(std::string folder, io::SafetensorsFolder tensors, spec::ModelConfig config,
                   GenerationConfig generation)
      : folder_(std::move(folder)),
        tensors_(std::move(tensors)),
        config_(std::move(config)),
        generation_(std::move(generation)) {}

  const char* format() const override { return "Hugging Face folder"; }
  base::Result<spec::ModelConfig> config() const override { return config_; }
  base::Result<const io::TensorEntry*> get(const std::string& parameter) const override {
    // GPT-2 is published without a prefix, and saved by transformers with it.
    constexpr const char* kPrefix = "transformer.";
    const bool prefixed = tensors_.find(std::string(kPrefix) + "wte.weight") != nullptr;
    const TensorPlace place = folder_place(config_.architecture, parameter, prefixed ? kPrefix : "");
    if (const io::TensorEntry* codes = tensors_.find(place.name + kCodes)) {
      TW_ASSIGN_OR_RETURN(const io::TensorEntry* tables, tensors_.get(place.name + kTables));
      return palettes_.get(place.name, *codes, *tables, folder_);
    }
    TW_ASSIGN_OR_RETURN(const io::TensorEntry* whole, tensors_.get(place.name));
    return parts_.get(place, *whole, folder_);
  }
  std::vector<std::int64_t> file_shape(const std::string& parameter,
                                       std::vector<std::int64_t> shape) const override {
    return shape_in_file(folder_place(config_.architecture, parameter, ""), std::move(shape));
  }
  std::vector<const io::TensorEntry*> tensors() const override { return tensors_.tensors(); }

  base::Result<TokenizerFiles> tokenizer_files() const override {
    TokenizerFiles files;
    TW_ASSIGN_OR_RETURN(files.json, base::read_file(folder_ + "/tokenizer.json"));
    TW_ASSIGN_OR_RETURN(files.config, read_optional(folder_ + "/tokenizer_config.json"));
    return files;
  }
  base::Result<text::TokenizerSpec> tokenizer() const override {
    TW_ASSIGN_OR_RETURN(const TokenizerFiles files, tokenizer_files());
    auto spec = text::parse_tokenizer_json(files.json, files.config);
    if (!spec.ok()) return base::Error{spec.error().code, spec.error().text(), folder_ + "/tokenizer.json"};
    return spec;
  }

  base::Result<std::string> chat_template() const override {
    TW_ASSIGN_OR_RETURN(const std::string file, read_optional(folder_ + "/chat_template.jinja"));
    if (!file.empty()) return file;
    TW_ASSIGN_OR_RETURN(const Json config, read_json(folder_ + "/tokenizer_config.json"));
    return template_of(config);
  }

  base::Result<GenerationDefaults> defaults() const override { return generation_.defaults; }
  std::vector<std::int32_t> end_tokens() const override { return generation_.end_tokens; }
  std::string quantization() const override {
    double bits = 0, weights = 0;
    for (const io::TensorEntry* codes : tensors()) {
      if (codes->dtype != base::DType::kI8 || !codes->name.ends_with(kCodes)) continue;
      const std::string name = codes->name.substr(0, codes->name.size() - std::string_view(kCodes).size());
      const io::TensorEntry* tables = tensors_.find(name + kTables);
      const double each = tables != nullptr && tables->shape.size() == 2 && tables->shape[1] == 4 ? 2 : 4;
      bits += 8 * static_cast<double>(codes->bytes);
      weights += 8 * static_cast<double>(codes->bytes) / each;
    }
    return weights == 0 ? "" : fmt::format("palettes of {:.2g} bits", bits / weights);
  }

 private:
  std::string folder_;
  io::SafetensorsFolder tensors_;
  spec::ModelConfig config_;
  GenerationConfig generation_;
  mutable TensorParts parts_;
  mutable PaletteTensors palettes_;
};

/// Why a folder is no model, and what to name instead: people try those of a training run.
base::Error no_model(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto holds = [&](const fs::path& in, const char* name) { return fs::exists(in / name, ignored); };
  fs::path whole = fs::path(folder).lexically_normal();
  if (whole.filename().empty()) whole = whole.parent_path();  // a slash at the end
  if (whole.filename() == "." || whole.filename() == "..") whole = fs::weakly_canonical(whole, ignored);
  const bool checkpoint = holds(whole, "manifest.json") && holds(whole, "state.json");
  // RUN/checkpoints/step-N, RUN/checkpoints, or RUN
  fs::path run = whole;
  if (checkpoint || whole.filename() == "checkpoints") {
    if (!whole.has_parent_path()) whole = fs::absolute(whole, ignored);
    run = checkpoint ? whole.parent_path().parent_path() : whole.parent_path();
    if (run.empty()) run = ".";
  }
  const char* what =
      checkpoint ? "is a training checkpoint and no model" : "is of a training run and no model";
  std::string next = "name a .gguf file or a Hugging Face model folder";
  if (!holds(run, "run.json")) {
    what = checkpoint ? what : "has no config.json";
  } else if (holds(run, "config.json")) {
    next = fmt::format("name {}, which holds the run's model", run.string());
  } else if (holds(run, "adapter_config.json")) {
    next =
        fmt::format("name the model that the run began with, and give `serve` its adapter by --lora NAME={}",
                    run.string());
  } else {
    next =
        fmt::format("end the run, which writes its model, by `tokenworks train --resume {}`", run.string());
  }
  return {base::Code::kNotFound, fmt::format("{}: {}", what, next), folder};
}

}  // namespace

base::Result<std::unique_ptr<ModelFiles>> open_hugging_face_model(const std::string& folder) {
  const std::string config_path = folder + "/config.json";
  TW_ASSIGN_OR_RETURN(const Json config_json, read_json(config_path));
  if (config_json.is_null()) return no_model(folder);
  TW_ASSIGN_OR_RETURN(spec::ModelConfig config, config_from_hugging_face(config_json, config_path));
  TW_ASSIGN_OR_RETURN(io::SafetensorsFolder tensors, io::SafetensorsFolder::open(folder));
  TW_ASSIGN_OR_RETURN(const Json generation_json, read_json(folder + "/generation_config.json"));
  TW_ASSIGN_OR_RETURN(GenerationConfig generation,
                      read_generation_config(generation_json, config_json, folder));
  // Some folders say untied but ship no head.
  if (tensors.find("lm_head.weight") == nullptr) config.tied_embeddings = true;
  return std::unique_ptr<ModelFiles>(std::make_unique<HuggingFaceModel>(
      folder, std::move(tensors), std::move(config), std::move(generation)));
}

}  // namespace tw::model
