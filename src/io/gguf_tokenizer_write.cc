#include "io/gguf_tokenizer_write.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/utf8.h"
#include "text/pretokenizer_table.h"

namespace tw::io {
namespace {

using base::Code;
using text::TokenId;
using text::TokenizerKind;
using text::TokenizerSpec;
using text::TokenType;

/// Of tokens that stand for no text (tools that read GGUF expect a number).
constexpr float kUnusedScore = -1000;

TokenType type_of(const TokenizerSpec& spec, std::size_t id) {
  if (id >= spec.tokens.size()) return TokenType::kUnused;
  const TokenType type = spec.types.empty() ? TokenType::kNormal : spec.types[id];
  const bool unknown = spec.unk == static_cast<TokenId>(id) && spec.kind == TokenizerKind::kSentencePiece;
  return unknown && type == TokenType::kControl ? TokenType::kUnknown : type;
}

/// Readers of SentencePiece vocabularies merge whatever gives a token, the best score first. Merges by rank
/// are the same if each token's are all there: then its score is minus the rank of its first.
base::Result<std::vector<float>> scores_of(const TokenizerSpec& spec) {
  if (spec.merges.empty()) return spec.scores;
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
    if (type_of(spec, id) == TokenType::kNormal) ids.emplace(spec.tokens[id], id);
  }
  std::vector<float> scores(spec.tokens.size(), -static_cast<float>(spec.merges.size()));
  std::vector<bool> ranked(spec.tokens.size(), false);
  const std::unordered_set<std::string_view> merges(spec.merges.begin(), spec.merges.end());
  for (std::size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const std::string& merge = spec.merges[rank];
    const std::size_t space = merge.find(' ');
    const auto whole = ids.find(merge.substr(0, space) + merge.substr(space + 1));
    if (whole == ids.end() || ranked[whole->second]) continue;
    ranked[whole->second] = true;
    scores[whole->second] = -static_cast<float>(rank);
  }
  for (const auto& [token, id] : ids) {
    for (std::size_t cut = 0; base::decode_utf8(token, cut), cut < token.size();) {
      const std::string_view left = token.substr(0, cut), right = token.substr(cut);
      if (!ids.contains(left) || !ids.contains(right)) continue;
      if (!merges.contains(std::string(left) + " " + std::string(right)))
        return base::error(Code::kUnsupported,
                           "GGUF knows scores and no merges, and no scores give this tokenizer: it never "
                           "merges {} and {}",
                           quote_text(left), quote_text(right));
    }
  }
  return scores;
}

base::Status add_vocabulary(const TokenizerSpec& spec, std::int64_t vocab, GgufWriteMetadata& out) {
  const auto size = std::max(spec.tokens.size(), static_cast<std::size_t>(vocab));
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  for (std::size_t id = 0; id < size; ++id) {
    const TokenType type = type_of(spec, id);
    const bool named = id < spec.tokens.size() && !(type == TokenType::kUnused && spec.tokens[id].empty());
    tokens.push_back(named ? spec.tokens[id] : fmt::format("[PAD{}]", id));
    types.push_back(static_cast<std::int32_t>(type));
  }
  out.emplace_back("tokenizer.ggml.tokens", std::move(tokens));
  if (spec.kind == TokenizerKind::kSentencePiece) {
    TW_ASSIGN_OR_RETURN(std::vector<float> scores, scores_of(spec));
    scores.resize(size, kUnusedScore);
    out.emplace_back("tokenizer.ggml.scores", std::move(scores));
  } else {
    out.emplace_back("tokenizer.ggml.merges", spec.merges);
  }
  out.emplace_back("tokenizer.ggml.token_type", std::move(types));
  return base::Ok{};
}

void add_ids(const TokenizerSpec& spec, GgufWriteMetadata& out) {
  const std::pair<const char*, std::optional<TokenId>> named[] = {
      {"bos", spec.bos}, {"eos", spec.eos}, {"unknown", spec.unk}, {"padding", spec.pad}};
  for (const auto& [name, id] : named) {
    if (id)
      out.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", name), static_cast<std::uint32_t>(*id));
  }
  const char* const more[] = {"eot", "eom"};
  std::size_t at = 0;
  std::optional<TokenId> last;
  for (const TokenId id : spec.end_of_generation) {
    if (id == spec.eos || id == last || at == std::size(more)) continue;
    out.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", more[at++]), static_cast<std::uint32_t>(id));
    last = id;
  }
}

/// Whether `around` is `token` alone; fails if it is something else than that or nothing.
base::Result<bool> is_added(const std::optional<std::vector<TokenId>>& around, std::optional<TokenId> token,
                            bool by_flag) {
  if (!around) return by_flag && token.has_value();
  if (around->empty()) return false;
  if (token && *around == std::vector<TokenId>{*token}) return true;
  return base::error(Code::kUnsupported,
                     "the tokenizer puts tokens around each text that are not BOS and EOS, which GGUF cannot "
                     "say");
}

base::Result<std::string> pre_of(const TokenizerSpec& spec) {
  if (spec.kind == TokenizerKind::kSentencePiece) return std::string("default");
  if (spec.add_prefix_space)
    return base::error(Code::kUnsupported,
                       "the tokenizer puts a space before each text, which GGUF cannot say");
  if (spec.pre_steps.empty()) return spec.pre;
  const std::string_view name = text::pre_tokenizer_name(spec);
  if (!name.empty()) return std::string(name);
  return base::error(Code::kUnsupported,
                     "the tokenizer cuts text by a rule that has no name in GGUF (the first pattern is {})",
                     quote_text(spec.pre_steps[0].pattern));
}

}  // namespace

base::Result<GgufWriteMetadata> tokenizer_metadata(const TokenizerSpec& spec, std::int64_t vocab) {
  if (spec.kind == TokenizerKind::kWordPiece)
    return base::error(Code::kUnsupported, "a WordPiece tokenizer is not written to GGUF");
  GgufWriteMetadata out;
  out.emplace_back("tokenizer.ggml.model",
                   std::string(spec.kind == TokenizerKind::kSentencePiece ? "llama" : "gpt2"));
  TW_ASSIGN_OR_RETURN(std::string pre, pre_of(spec));
  out.emplace_back("tokenizer.ggml.pre", std::move(pre));
  TW_RETURN_IF_ERROR(add_vocabulary(spec, vocab, out));
  add_ids(spec, out);
  TW_ASSIGN_OR_RETURN(const bool bos, is_added(spec.prefix, spec.bos, spec.add_bos));
  TW_ASSIGN_OR_RETURN(const bool eos, is_added(spec.suffix, spec.eos, spec.add_eos));
  out.emplace_back("tokenizer.ggml.add_bos_token", bos);
  out.emplace_back("tokenizer.ggml.add_eos_token", eos);
  if (spec.kind == TokenizerKind::kSentencePiece)
    out.emplace_back("tokenizer.ggml.add_space_prefix", spec.add_space_prefix);
  return out;
}

}  // namespace tw::io
