// BERT's WordPiece: words and punctuation marks, each covered from the left by the longest tokens there are.
// Devlin et al. 2018 and the released tokenizer.
#include <algorithm>

#include "base/utf8.h"
#include "text/bpe_token_table.h"
#include "text/pretokenizer_table.h"
#include "text/tokenizer_model.h"

namespace tw::text {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";

class WordPieceModel : public TokenizerModel {
 public:
  WordPieceModel(const TokenizerSpec& spec, PreTokenizer pre)
      : pre_(std::move(pre)),
        unk_(spec.unk.value_or(kNoToken)),
        max_word_chars_(static_cast<std::size_t>(spec.max_word_chars)),
        starts_(spec.tokens.size()),
        rests_(spec.tokens.size()) {
    for (std::size_t id = 0; id < spec.tokens.size(); ++id) {
      std::string_view token = spec.tokens[id];
      if (!is_text_token(spec, id)) continue;
      const bool start = token.starts_with(kMark);
      if (start) token.remove_prefix(kMark.size());
      (start ? starts_ : rests_).insert(token, static_cast<TokenId>(id));
      longest_ = std::max(longest_, token.size());
    }
  }

  void encode(std::string_view text, bool, EncodeScratch& scratch, std::vector<TokenId>& out) const override {
    scratch.pieces.clear();
    pre_.split(text, scratch.pre, scratch.pieces);
    for (const Span piece : scratch.pieces)
      encode_word(text.substr(piece.begin, piece.end - piece.begin), out);
  }

 private:
  void encode_word(std::string_view word, std::vector<TokenId>& out) const {
    const std::size_t first = out.size();
    bool known = count_chars(word) <= max_word_chars_;
    for (std::size_t begin = 0; known && begin < word.size();) {
      const TokenTable& table = begin == 0 ? starts_ : rests_;
      std::size_t end = std::min(word.size(), begin + longest_);
      TokenId id = kNoToken;
      for (; end > begin; --end) {
        id = table.find(word.substr(begin, end - begin));
        if (id != kNoToken) break;
      }
      known = id != kNoToken;
      if (known) out.push_back(id);
      begin = end;
    }
    if (known) return;
    out.resize(first);
    if (unk_ != kNoToken) out.push_back(unk_);
  }

  static std::size_t count_chars(std::string_view word) {
    return std::count_if(word.begin(), word.end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  }

  PreTokenizer pre_;
  TokenId unk_;
  std::size_t max_word_chars_;
  std::size_t longest_ = 0;
  TokenTable starts_, rests_;  ///< tokens that begin a word, and tokens inside one
};

}  // namespace

base::Result<std::unique_ptr<TokenizerModel>> make_wordpiece_model(const TokenizerSpec& spec,
                                                                   const std::vector<std::string>&) {
  TW_ASSIGN_OR_RETURN(PreTokenizer pre,
                      PreTokenizer::create(spec.pre_steps.empty() ? bert_pre_steps() : spec.pre_steps));
  return std::unique_ptr<TokenizerModel>(std::make_unique<WordPieceModel>(spec, std::move(pre)));
}

}  // namespace tw::text
