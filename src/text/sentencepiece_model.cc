// SentencePiece's byte-pair encoding: characters merge by the score (or rank) of what they make; a space is
// "▁", which here is written as a plain space throughout. Kudo and Richardson 2018, "SentencePiece".
#include <algorithm>
#include <array>
#include <bitset>
#include <cmath>

#include "base/utf8.h"
#include "text/bpe_token_table.h"
#include "text/tokenizer_model.h"

namespace tw::text {
namespace {

using base::Code;
using base::error;

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
/// Every split of every token is looked up: longer tokens would make that slow, and no published vocabulary
/// has any.
constexpr std::size_t kMaxToken = 512;
constexpr std::size_t kMaxPiece = std::size_t{1} << 30;

std::size_t char_length(std::string_view text, std::size_t pos) {
  std::size_t end = pos;
  base::decode_utf8(text, end);
  return end - pos;
}

class SentencePieceModel : public TokenizerModel {
 public:
  explicit SentencePieceModel(const TokenizerSpec& spec)
      : options_(spec),
        symbols_(spec.tokens.size() * 2),
        merges_(spec.tokens.size() * 4),
        whole_(spec.tokens.size()) {}

  base::Status build(const TokenizerSpec& spec, const std::vector<std::string>& pieces);

  void encode(std::string_view text, bool at_start, EncodeScratch& scratch,
              std::vector<TokenId>& out) const override {
    if (text.empty()) return;
    const bool has_space = text.front() == ' ' || text.starts_with(kSpaceMark);
    const bool prefix = options_.prefix && (at_start || !options_.prefix_first_only) &&
                        !(options_.prefix_if_missing && has_space);
    text = with_plain_spaces(text, prefix, scratch.text);
    bool unknown_before = false;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = word_end(text, begin);
      encode_word(text.substr(begin, end - begin), scratch.merges, unknown_before, out);
      begin = end;
    }
  }

 private:
  struct Options {
    explicit Options(const TokenizerSpec& spec)
        : prefix(spec.add_space_prefix),
          prefix_first_only(spec.space_prefix_first_only),
          prefix_if_missing(spec.space_prefix_if_missing),
          split_at_spaces(spec.split_at_spaces),
          fuse_unk(spec.fuse_unk),
          ignore_merges(spec.ignore_merges),
          unk(spec.unk.value_or(kNoToken)) {}
    bool prefix, prefix_first_only, prefix_if_missing, split_at_spaces, fuse_unk, ignore_merges;
    TokenId unk;
  };

  static std::string_view with_plain_spaces(std::string_view text, bool prefix, std::string& buffer);
  std::size_t word_end(std::string_view text, std::size_t begin) const;
  void encode_word(std::string_view word, MergeScratch& scratch, bool& unknown_before,
                   std::vector<TokenId>& out) const;
  void emit_unknown(std::string_view character, bool& unknown_before, std::vector<TokenId>& out) const;
  base::Status add_symbols(const TokenizerSpec& spec, const std::vector<std::string>& pieces);
  void add_single_characters(const std::vector<std::string>& pieces);
  void add_scored_merges(const TokenizerSpec& spec, const std::vector<std::string>& pieces);
  base::Status add_ranked_merges(const TokenizerSpec& spec);
  void add_whole_words(const std::vector<std::string>& pieces);
  bool is_symbol(std::size_t id) const { return is_symbol_[id]; }

  Options options_;
  std::size_t vocabulary_ = 0;
  std::array<TokenId, 256> bytes_{};
  bool has_all_bytes_ = false;
  std::vector<bool> is_symbol_;  ///< tokens that text can become
  /// Tokens by their bytes, and ids beyond the vocabulary for characters that are no tokens but are inside of
  /// some.
  TokenTable symbols_;
  MergeTable merges_;
  TokenTable whole_;
  /// Bytes that end a character which stands before a space inside some token: no word ends after these.
  std::bitset<256> joins_space_;
};

/// A leading space if asked for, and U+2581 as a space, which is what it means to the vocabulary.
std::string_view SentencePieceModel::with_plain_spaces(std::string_view text, bool prefix,
                                                       std::string& buffer) {
  const bool has_mark = text.find(kSpaceMark) != std::string_view::npos;
  if (!prefix && !has_mark) return text;
  buffer.clear();
  if (prefix) buffer.push_back(' ');
  if (!has_mark) return buffer.append(text);
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t mark = std::min(text.find(kSpaceMark, pos), text.size());
    buffer.append(text.substr(pos, mark - pos));
    if (mark < text.size()) buffer += ' ';
    pos = mark + kSpaceMark.size();
  }
  return buffer;
}

/// Words can be merged apart from each other wherever no token reaches across.
std::size_t SentencePieceModel::word_end(std::string_view text, std::size_t begin) const {
  const std::size_t limit = text.size() - begin > kMaxPiece ? begin + kMaxPiece : text.size();
  for (std::size_t pos = text.find(' ', begin + 1); pos < limit; pos = text.find(' ', pos + 1)) {
    if (options_.split_at_spaces || !joins_space_[static_cast<unsigned char>(text[pos - 1])]) return pos;
  }
  return limit;
}

void SentencePieceModel::encode_word(std::string_view word, MergeScratch& scratch, bool& unknown_before,
                                     std::vector<TokenId>& out) const {
  const TokenId whole = whole_.find(word);
  if (whole != kNoToken) {
    unknown_before = false;
    out.push_back(whole);
    return;
  }
  scratch.symbols.clear();
  for (std::size_t pos = 0; pos < word.size();) {
    const std::size_t length = char_length(word, pos);
    scratch.symbols.push_back({symbols_.find(word.substr(pos, length)), static_cast<std::uint32_t>(pos), {}});
    pos += length;
  }
  scratch.run(merges_);
  for (std::size_t i = 0; i < scratch.symbols.size(); ++i) {
    const Symbol& symbol = scratch.symbols[i];
    if (symbol.id != kNoToken && static_cast<std::size_t>(symbol.id) < vocabulary_) {
      unknown_before = false;
      out.push_back(symbol.id);
    } else {
      const std::size_t end = i + 1 < scratch.symbols.size() ? scratch.symbols[i + 1].begin : word.size();
      emit_unknown(word.substr(symbol.begin, end - symbol.begin), unknown_before, out);
    }
  }
}

void SentencePieceModel::emit_unknown(std::string_view character, bool& unknown_before,
                                      std::vector<TokenId>& out) const {
  if (has_all_bytes_) {
    unknown_before = false;
    for (const char byte : character) out.push_back(bytes_[static_cast<unsigned char>(byte)]);
    return;
  }
  if (options_.unk == kNoToken || (options_.fuse_unk && unknown_before)) return;
  unknown_before = true;
  out.push_back(options_.unk);
}

base::Status SentencePieceModel::build(const TokenizerSpec& spec, const std::vector<std::string>& pieces) {
  vocabulary_ = pieces.size();
  bytes_.fill(kNoToken);
  TW_RETURN_IF_ERROR(add_symbols(spec, pieces));
  has_all_bytes_ = spec.byte_fallback && std::find(bytes_.begin(), bytes_.end(), kNoToken) == bytes_.end();
  add_single_characters(pieces);
  if (spec.merges.empty()) {
    add_scored_merges(spec, pieces);
  } else {
    TW_RETURN_IF_ERROR(add_ranked_merges(spec));
  }
  add_whole_words(pieces);
  return base::Ok{};
}

base::Status SentencePieceModel::add_symbols(const TokenizerSpec& spec,
                                             const std::vector<std::string>& pieces) {
  is_symbol_.assign(pieces.size(), false);
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const bool is_byte = !spec.types.empty() && spec.types[id] == TokenType::kByte;
    if (is_byte && pieces[id].size() == 1)
      bytes_[static_cast<unsigned char>(pieces[id][0])] = static_cast<TokenId>(id);
    // A plain space in a token's spelling never occurs in the text, where spaces are "▁".
    const bool reachable = spec.tokens[id].find(' ') == std::string::npos;
    if (is_byte || !is_text_token(spec, id) || pieces[id].empty() || !reachable) continue;
    if (pieces[id].size() > kMaxToken) {
      return error(Code::kUnsupported, "token {} has {} bytes; the limit for SentencePiece is {}", id,
                   pieces[id].size(), kMaxToken);
    }
    is_symbol_[id] = symbols_.insert(pieces[id], static_cast<TokenId>(id));
    for (std::size_t pos = 1; pos < pieces[id].size(); ++pos) {
      if (pieces[id][pos] == ' ') joins_space_.set(static_cast<unsigned char>(pieces[id][pos - 1]));
    }
  }
  return base::Ok{};
}

void SentencePieceModel::add_single_characters(const std::vector<std::string>& pieces) {
  std::vector<std::string_view> missing;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces[id];
    for (std::size_t pos = 0; is_symbol(id) && pos < piece.size();) {
      const std::string_view character = piece.substr(pos, char_length(piece, pos));
      if (symbols_.find(character) == kNoToken) missing.push_back(character);
      pos += character.size();
    }
  }
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  TokenTable grown(vocabulary_ + missing.size());
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (is_symbol(id)) grown.insert(pieces[id], static_cast<TokenId>(id));
  }
  for (std::size_t i = 0; i < missing.size(); ++i)
    grown.insert(missing[i], static_cast<TokenId>(vocabulary_ + i));
  symbols_ = std::move(grown);
}

/// Any two neighbours that spell a token may merge; the token with the highest score goes first.
void SentencePieceModel::add_scored_merges(const TokenizerSpec& spec,
                                           const std::vector<std::string>& pieces) {
  std::vector<float> ranks(spec.scores);
  std::sort(ranks.begin(), ranks.end(), std::greater<>());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (!is_symbol(id)) continue;
    const std::string_view piece = pieces[id];
    const float score = spec.scores[id];
    const auto rank = std::lower_bound(ranks.begin(), ranks.end(), score, std::greater<>()) - ranks.begin();
    for (std::size_t cut = char_length(piece, 0); cut < piece.size(); cut += char_length(piece, cut)) {
      const TokenId left = symbols_.find(piece.substr(0, cut));
      const TokenId right = left == kNoToken ? kNoToken : symbols_.find(piece.substr(cut));
      if (right == kNoToken) continue;
      merges_.insert(left, right, {static_cast<std::uint32_t>(rank), static_cast<TokenId>(id)});
    }
  }
}

base::Status SentencePieceModel::add_ranked_merges(const TokenizerSpec& spec) {
  TokenTable spellings(spec.tokens.size());
  for (std::size_t id = 0; id < spec.tokens.size(); ++id)
    spellings.insert(spec.tokens[id], static_cast<TokenId>(id));
  return add_merges(spec, spellings, merges_);
}

void SentencePieceModel::add_whole_words(const std::vector<std::string>& pieces) {
  MergeScratch scratch;
  std::vector<TokenId> ids;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (!is_symbol(id)) continue;
    ids.clear();
    bool unknown_before = false;
    if (!options_.ignore_merges) encode_word(pieces[id], scratch, unknown_before, ids);
    const bool one = ids.size() == 1 && ids[0] == static_cast<TokenId>(id);
    if (one || options_.ignore_merges) whole_.insert(pieces[id], static_cast<TokenId>(id));
  }
}

}  // namespace

base::Result<std::unique_ptr<TokenizerModel>> make_sentencepiece_model(
    const TokenizerSpec& spec, const std::vector<std::string>& pieces) {
  if (spec.merges.empty() && spec.scores.size() != spec.tokens.size()) {
    return error(Code::kCorrupt, "SentencePiece wants a score for each of its {} tokens; there are {}",
                 spec.tokens.size(), spec.scores.size());
  }
  const auto bad =
      std::find_if(spec.scores.begin(), spec.scores.end(), [](float s) { return std::isnan(s); });
  if (bad != spec.scores.end()) {
    return error(Code::kCorrupt,
                 "the score of token {} is not a number: the file is damaged, download it again",
                 bad - spec.scores.begin());
  }
  auto model = std::make_unique<SentencePieceModel>(spec);
  TW_RETURN_IF_ERROR(model->build(spec, pieces));
  return std::unique_ptr<TokenizerModel>(std::move(model));
}

}  // namespace tw::text
