#include "io/gguf.h"
#include "io/gguf_tokenizer.h"
#include "model/families.h"
#include "model/model_files.h"

namespace tw::model {
namespace {

class GgufModel : public ModelFiles {
 public:
  explicit GgufModel(io::GgufFile file)
      : file_(std::move(file)), format_("GGUF v" + std::to_string(file_.version())) {}

  const char* format() const override { return format_.c_str(); }
  base::Result<spec::ModelConfig> config() const override { return config_from_gguf(file_); }
  const io::TensorEntry* find(const std::string& parameter) const override {
    return file_.find(gguf_tensor_name(parameter));
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
  std::vector<std::pair<std::string, std::string>> metadata() const override {
    std::vector<std::pair<std::string, std::string>> list;
    for (const io::GgufKeyValue& kv : file_.metadata()) list.emplace_back(kv.key, kv.value.to_text());
    return list;
  }

 private:
  io::GgufFile file_;
  std::string format_;
};

}  // namespace

base::Result<std::unique_ptr<ModelFiles>> open_gguf_model(const std::string& path) {
  TW_ASSIGN_OR_RETURN(io::GgufFile file, io::GgufFile::open(path));
  return std::unique_ptr<ModelFiles>(std::make_unique<GgufModel>(std::move(file)));
}

}  // namespace tw::model
