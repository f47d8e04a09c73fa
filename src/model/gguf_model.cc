#include "base/hash64.h"
#include "io/gguf.h"
#include "io/gguf_tokenizer.h"
#include "model/families.h"
#include "model/model_files.h"
#include "model/tensor_place.h"

namespace tw::model {
namespace {

/// One of the keys general.sampling.*, to which converters copy generation_config.json.
template <typename T>
base::Status read_sampling(const io::GgufFile& file, const char* name, double low, double high,
                           std::optional<T>& out) {
  const std::string key = std::string("general.sampling.") + name;
  if (!file.has(key)) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const double value, file.get_float(key));
  if (!(value >= low && value <= high)) {
    return base::Error{base::Code::kCorrupt,
                       fmt::format("key {} is {}, outside {} to {}", key, value, low, high), file.path()};
  }
  out = static_cast<T>(value);
  return base::Ok{};
}

class GgufModel : public ModelFiles {
 public:
  explicit GgufModel(io::GgufFile file)
      : file_(std::move(file)), format_("GGUF v" + std::to_string(file_.version())) {
    // What is wrong with these keys `config` says.
    if (const auto key = file_.get_string("general.architecture", ""); key.ok()) architecture_ = *key;
    if (const auto key = file_.get_int(architecture_ + ".expert_count", 0); key.ok()) experts_ = *key;
  }

  const char* format() const override { return format_.c_str(); }
  base::Result<spec::ModelConfig> config() const override { return config_from_gguf(file_); }
  base::Result<const io::TensorEntry*> get(const std::string& parameter) const override {
    const TensorPlace place = gguf_place(architecture_, experts_, parameter);
    if (const io::TensorEntry* entry = place.alone.empty() ? nullptr : file_.find(place.alone)) return entry;
    if (const io::TensorEntry* entry = file_.find(place.name)) return parts_.get(place, *entry, file_.path());
    return base::Error{base::Code::kNotFound, "has no tensor " + io::quote_text(place.name), file_.path()};
  }
  std::vector<std::int64_t> file_shape(const std::string& parameter,
                                       std::vector<std::int64_t> shape) const override {
    const TensorPlace place = gguf_place(architecture_, experts_, parameter);
    const bool alone = !place.alone.empty() && file_.find(place.alone) != nullptr;
    return alone ? shape : shape_in_file(place, std::move(shape));
  }
  std::vector<const io::TensorEntry*> tensors() const override {
    std::vector<const io::TensorEntry*> list;
    for (const io::TensorEntry& tensor : file_.tensors()) list.push_back(&tensor);
    return list;
  }
  base::Result<text::TokenizerSpec> tokenizer() const override { return io::tokenizer_spec(file_); }
  base::Result<std::string> chat_template() const override {
    TW_ASSIGN_OR_RETURN(const std::string_view source, file_.get_string("tokenizer.chat_template", ""));
    return std::string(source);
  }
  base::Result<GenerationDefaults> defaults() const override {
    GenerationDefaults d;
    TW_RETURN_IF_ERROR(read_sampling(file_, "temp", 0, 1e3, d.temperature));
    TW_RETURN_IF_ERROR(read_sampling(file_, "top_p", 0, 1, d.top_p));
    TW_RETURN_IF_ERROR(read_sampling(file_, "min_p", 0, 1, d.min_p));
    TW_RETURN_IF_ERROR(read_sampling(file_, "top_k", -1, 1e9, d.top_k));
    TW_RETURN_IF_ERROR(read_sampling(file_, "penalty_repeat", 1e-3, 1e3, d.repetition_penalty));
    if (d.top_k && *d.top_k < 0) d.top_k = 0;  // both say "all"
    return d;
  }
  std::optional<SourceFile> source() const override {
    return SourceFile{file_.path(), file_.file_bytes(), file_.info(), base::hash64(file_.header())};
  }
  std::vector<std::pair<std::string, std::string>> metadata() const override {
    std::vector<std::pair<std::string, std::string>> list;
    for (const io::GgufKeyValue& kv : file_.metadata()) list.emplace_back(kv.key, kv.value.to_text());
    return list;
  }

 private:
  io::GgufFile file_;
  std::string format_;
  std::string architecture_;
  std::int64_t experts_ = 0;
  mutable TensorParts parts_;
};

}  // namespace

base::Result<std::unique_ptr<ModelFiles>> open_gguf_model(const std::string& path) {
  TW_ASSIGN_OR_RETURN(io::GgufFile file, io::GgufFile::open(path));
  return std::unique_ptr<ModelFiles>(std::make_unique<GgufModel>(std::move(file)));
}

}  // namespace tw::model
