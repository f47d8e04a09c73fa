#include "model/model_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>

namespace tw::model {

base::Result<std::unique_ptr<ModelFiles>> ModelFiles::open(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return open_hugging_face_model(path);
  return open_gguf_model(path);
}

namespace {

/// The type that holds most of the bytes.
std::string main_type(const ModelFiles& files) {
  std::map<base::DType, std::size_t> bytes;
  for (const io::TensorEntry* tensor : files.tensors()) bytes[tensor->dtype] += tensor->bytes;
  const auto largest =
      std::max_element(bytes.begin(), bytes.end(), [](auto& a, auto& b) { return a.second < b.second; });
  return largest == bytes.end() ? "none" : std::string(base::dtype_name(largest->first));
}

base::Status read_text_parts(const ModelFiles& files, ModelCard& card) {
  TW_ASSIGN_OR_RETURN(text::TokenizerSpec spec, files.tokenizer());
  const std::vector<std::int32_t> end_tokens = files.end_tokens();
  spec.end_of_generation.insert(spec.end_of_generation.end(), end_tokens.begin(), end_tokens.end());
  auto created = text::Tokenizer::create(std::move(spec));
  if (!created.ok())
    return base::Error{created.error().code, "tokenizer: " + created.error().text(), card.path};
  std::unique_ptr<text::Tokenizer> tokenizer = *std::move(created);
  if (static_cast<std::int64_t>(tokenizer->size()) > card.config.vocab) {
    return base::Error{base::Code::kCorrupt,
                       fmt::format("the tokenizer has {} tokens, but the embedding only {}",
                                   tokenizer->size(), card.config.vocab),
                       card.path};
  }
  card.tokenizer = std::move(tokenizer);
  TW_ASSIGN_OR_RETURN(card.chat_template_source, files.chat_template());
  if (card.chat_template_source.empty()) return base::Ok{};
  auto parsed = text::ChatTemplate::parse(card.chat_template_source);
  if (!parsed.ok()) {
    return base::Error{parsed.error().code, "chat template: " + parsed.error().text(), card.path};
  }
  card.chat_template = std::make_shared<const text::ChatTemplate>(std::move(parsed).value());
  return base::Ok{};
}

/// "a/b.Q8_0.gguf" is b.Q8_0; what follows a dot in a folder's name is no extension ("Qwen2.5-0.5B").
std::string name_of(const std::string& path) {
  std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  if (whole.filename().empty()) whole = whole.parent_path();  // a slash at the end
  std::error_code ignored;
  return (std::filesystem::is_directory(whole, ignored) ? whole.filename() : whole.stem()).string();
}

base::Result<ModelCard> read_parts(const ModelFiles& files, const std::string& path) {
  ModelCard card;
  card.path = path;
  TW_ASSIGN_OR_RETURN(card.config, files.config());
  card.quantization = files.quantization();
  if (card.quantization.empty()) card.quantization = main_type(files);
  for (const io::TensorEntry* tensor : files.tensors()) card.bytes += tensor->bytes;
  TW_RETURN_IF_ERROR(read_text_parts(files, card));
  TW_ASSIGN_OR_RETURN(card.defaults, files.defaults());
  card.name = name_of(path);
  return card;
}

}  // namespace

base::Result<ModelCard> read_card(const ModelFiles& files, const std::string& path) {
  base::Result<ModelCard> card = read_parts(files, path);
  if (card.ok() || !card.error().where.empty()) return card;
  return base::Error{card.error().code, card.error().message, path};
}

}  // namespace tw::model
