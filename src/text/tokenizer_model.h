// What the three kinds of tokenizers have in common inside: text without added tokens in, ids out.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe_merger.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

namespace tw::text {

/// The memory one call of encode() works in.
struct EncodeScratch {
  PreTokenizer::Scratch pre;
  MergeScratch merges;
  std::vector<Span> pieces;
  std::string text;
};

/// Immutable, thread-safe.
class TokenizerModel {
 public:
  virtual ~TokenizerModel() = default;
  /// Appends the tokens of a text. `at_start`: nothing stands before it, not even a token from the text.
  virtual void encode(std::string_view text, bool at_start, EncodeScratch& scratch,
                      std::vector<TokenId>& out) const = 0;
};

/// `pieces` are the tokens' bytes by id; both must outlive the model. Each fails naming the token or merge at
/// fault.
base::Result<std::unique_ptr<TokenizerModel>> make_bpe_model(const TokenizerSpec& spec,
                                                             const std::vector<std::string>& pieces);
base::Result<std::unique_ptr<TokenizerModel>> make_sentencepiece_model(
    const TokenizerSpec& spec, const std::vector<std::string>& pieces);
base::Result<std::unique_ptr<TokenizerModel>> make_wordpiece_model(const TokenizerSpec& spec,
                                                                   const std::vector<std::string>& pieces);

/// Adds spec.merges to the table, `find` giving the id of a token's spelling.
base::Status add_merges(const TokenizerSpec& spec, const TokenTable& spellings, MergeTable& table);

/// Whether ordinary text may become this token.
inline bool is_text_token(const TokenizerSpec& spec, std::size_t id) {
  if (spec.types.empty()) return true;
  return spec.types[id] == TokenType::kNormal || spec.types[id] == TokenType::kUserDefined;
}

inline bool is_control_token(const TokenizerSpec& spec, TokenId id) {
  return !spec.types.empty() && spec.types[static_cast<std::size_t>(id)] == TokenType::kControl;
}

}  // namespace tw::text
