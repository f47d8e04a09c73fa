#include "io/gguf_tokenizer.h"

#include <limits>

#include "text/pretokenizer_table.h"

namespace tw::io {
namespace {

using base::Code;
using base::error;
using text::TokenId;
using text::TokenizerKind;
using text::TokenizerSpec;
using text::TokenType;

base::Result<TokenizerKind> read_kind(const GgufFile& file) {
  TW_ASSIGN_OR_RETURN(const std::string_view model, file.get_string("tokenizer.ggml.model"));
  if (model == "gpt2") return TokenizerKind::kBpe;
  if (model == "llama") return TokenizerKind::kSentencePiece;
  if (model == "bert") return TokenizerKind::kWordPiece;
  return error(Code::kUnsupported, "tokenizer.ggml.model is \"{}\"; gpt2, llama and bert can be read", model);
}

base::Status read_strings(const GgufFile& file, std::string_view key, std::vector<std::string>& out) {
  TW_ASSIGN_OR_RETURN(const std::vector<std::string_view> strings, file.get_strings(key));
  out.assign(strings.begin(), strings.end());
  return base::Ok{};
}

base::Status read_vocabulary(const GgufFile& file, TokenizerSpec& spec) {
  TW_RETURN_IF_ERROR(read_strings(file, "tokenizer.ggml.tokens", spec.tokens));
  if (file.has("tokenizer.ggml.merges")) {
    TW_RETURN_IF_ERROR(read_strings(file, "tokenizer.ggml.merges", spec.merges));
  } else if (spec.kind == TokenizerKind::kBpe) {
    return error(Code::kNotFound, "tokenizer.ggml.merges is missing, and byte-pair encoding needs it");
  }
  if (file.has("tokenizer.ggml.scores")) {
    TW_ASSIGN_OR_RETURN(spec.scores, file.get_floats("tokenizer.ggml.scores"));
  }
  if (!file.has("tokenizer.ggml.token_type")) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const std::vector<std::int64_t> types, file.get_ints("tokenizer.ggml.token_type"));
  for (const std::int64_t type : types) {
    // Some converters write 0 ("undefined") for tokens that are plain.
    if (type < 0 || type > 6)
      return error(Code::kCorrupt, "tokenizer.ggml.token_type holds {}; 1 to 6 exist", type);
    spec.types.push_back(type == 0 ? TokenType::kNormal : static_cast<TokenType>(type));
  }
  return base::Ok{};
}

base::Status read_id(const GgufFile& file, std::string_view key, std::optional<TokenId>& out) {
  if (!file.has(key)) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const std::int64_t id, file.get_int(key));
  if (id == -1 || id == std::numeric_limits<std::uint32_t>::max()) return base::Ok{};  // "none"
  if (id < 0 || id > std::numeric_limits<TokenId>::max()) return error(Code::kCorrupt, "{} is {}", key, id);
  out = static_cast<TokenId>(id);
  return base::Ok{};
}

base::Status read_ids(const GgufFile& file, TokenizerSpec& spec) {
  const std::pair<std::string_view, std::optional<TokenId>*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &spec.bos},       {"tokenizer.ggml.eos_token_id", &spec.eos},
      {"tokenizer.ggml.unknown_token_id", &spec.unk},   {"tokenizer.ggml.padding_token_id", &spec.pad},
      {"tokenizer.ggml.cls_token_id", &spec.cls},       {"tokenizer.ggml.mask_token_id", &spec.mask},
      {"tokenizer.ggml.seperator_token_id", &spec.sep}, {"tokenizer.ggml.separator_token_id", &spec.sep}};
  for (const auto& [key, id] : ids) TW_RETURN_IF_ERROR(read_id(file, key, *id));
  for (const std::string_view key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    std::optional<TokenId> id;
    TW_RETURN_IF_ERROR(read_id(file, key, id));
    if (id) spec.end_of_generation.push_back(*id);
  }
  if (spec.kind == TokenizerKind::kSentencePiece) {  // Llama's numbers, which early files took for granted
    if (!spec.unk) spec.unk = 0;
    if (!spec.bos && spec.tokens.size() > 1) spec.bos = 1;
    if (!spec.eos && spec.tokens.size() > 2) spec.eos = 2;
  }
  return base::Ok{};
}

base::Status read_options(const GgufFile& file, TokenizerSpec& spec) {
  const bool sentence_piece = spec.kind == TokenizerKind::kSentencePiece;
  TW_ASSIGN_OR_RETURN(const std::string_view pre, file.get_string("tokenizer.ggml.pre", "default"));
  spec.pre = pre;
  const bool adds_bos =
      sentence_piece || (spec.kind == TokenizerKind::kBpe && text::pre_tokenizer_adds_bos(pre));
  TW_ASSIGN_OR_RETURN(spec.add_bos, file.get_bool("tokenizer.ggml.add_bos_token", adds_bos));
  TW_ASSIGN_OR_RETURN(spec.add_eos, file.get_bool("tokenizer.ggml.add_eos_token", false));
  TW_ASSIGN_OR_RETURN(spec.add_space_prefix,
                      file.get_bool("tokenizer.ggml.add_space_prefix", sentence_piece));
  return base::Ok{};
}

}  // namespace

base::Result<TokenizerSpec> tokenizer_spec(const GgufFile& file) {
  TokenizerSpec spec;
  const auto fill = [&]() -> base::Status {
    TW_ASSIGN_OR_RETURN(spec.kind, read_kind(file));
    TW_RETURN_IF_ERROR(read_vocabulary(file, spec));
    TW_RETURN_IF_ERROR(read_ids(file, spec));
    return read_options(file, spec);
  };
  if (base::Status status = fill(); !status.ok()) {
    base::Error problem = std::move(status).error();
    if (problem.where.empty()) problem.where = file.path();
    return problem;
  }
  return spec;
}

}  // namespace tw::io
