#include "text/tokenizer_check.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;

constexpr std::size_t kMaxTokens = std::size_t{1} << 24;
constexpr std::size_t kMaxTokenBytes = std::size_t{1} << 16;

base::Status check_sizes(const TokenizerSpec& spec) {
  const std::size_t count = spec.tokens.size();
  if (count == 0) return error(Code::kCorrupt, "the vocabulary has no tokens");
  if (count > kMaxTokens) return error(Code::kCorrupt, "{} tokens; the limit is {}", count, kMaxTokens);
  if (spec.merges.size() > 4 * kMaxTokens) {
    return error(Code::kCorrupt, "{} merges; the limit is {}", spec.merges.size(), 4 * kMaxTokens);
  }
  if (!spec.scores.empty() && spec.scores.size() != count) {
    return error(Code::kCorrupt, "{} scores for {} tokens", spec.scores.size(), count);
  }
  if (!spec.types.empty() && spec.types.size() != count) {
    return error(Code::kCorrupt, "{} token types for {} tokens", spec.types.size(), count);
  }
  for (std::size_t id = 0; id < count; ++id) {
    if (spec.tokens[id].size() > kMaxTokenBytes) {
      return error(Code::kCorrupt, "token {} has {} bytes; the limit is {}", id, spec.tokens[id].size(),
                   kMaxTokenBytes);
    }
  }
  for (std::size_t id = 0; id < spec.types.size(); ++id) {
    if (spec.types[id] < TokenType::kNormal || spec.types[id] > TokenType::kByte) {
      return error(Code::kCorrupt, "token {} has the unknown type {}", id, static_cast<int>(spec.types[id]));
    }
  }
  return base::Ok{};
}

base::Status check_id(const TokenizerSpec& spec, TokenId id, std::string_view what) {
  if (id >= 0 && static_cast<std::size_t>(id) < spec.tokens.size()) return base::Ok{};
  return error(Code::kCorrupt, "{} is token {}, but the vocabulary has {} tokens", what, id,
               spec.tokens.size());
}

base::Status check_ids(const TokenizerSpec& spec) {
  const std::pair<std::string_view, const std::optional<TokenId>*> named[] = {
      {"bos", &spec.bos}, {"eos", &spec.eos}, {"unk", &spec.unk},  {"sep", &spec.sep},
      {"cls", &spec.cls}, {"pad", &spec.pad}, {"mask", &spec.mask}};
  for (const auto& [name, id] : named) {
    if (*id) TW_RETURN_IF_ERROR(check_id(spec, **id, name));
  }
  for (const auto* list : {&spec.prefix, &spec.suffix}) {
    if (!*list) continue;
    for (const TokenId id : **list) TW_RETURN_IF_ERROR(check_id(spec, id, "a token put around the text"));
  }
  for (const TokenId id : spec.end_of_generation) TW_RETURN_IF_ERROR(check_id(spec, id, "end of generation"));
  for (const AddedToken& token : spec.added) TW_RETURN_IF_ERROR(check_id(spec, token.id, "an added token"));
  return base::Ok{};
}

}  // namespace

base::Status check_spec(const TokenizerSpec& spec) {
  TW_RETURN_IF_ERROR(check_sizes(spec));
  TW_RETURN_IF_ERROR(check_ids(spec));
  if (spec.max_word_chars < 1)
    return error(Code::kCorrupt, "max_word_chars is {}; at least 1", spec.max_word_chars);
  return base::Ok{};
}

}  // namespace tw::text
