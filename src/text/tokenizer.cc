#include "text/tokenizer.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/bpe_byte_level.h"
#include "text/bpe_token_table.h"
#include "text/pretokenizer_table.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_check.h"
#include "text/tokenizer_model.h"
#include "text/tokenizer_normalizer.h"

namespace tw::text {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

/// Control tokens that end a turn or a text in published models.
constexpr std::string_view kEndTokens[] = {"<|endoftext|>",
                                           "<|im_end|>",
                                           "<|eot_id|>",
                                           "<|eom_id|>",
                                           "<|end|>",
                                           "<|end_of_text|>",
                                           "<end_of_turn>",
                                           "<|endofturn|>",
                                           "<|EOT|>",
                                           "<|return|>",
                                           "<|call|>",
                                           "<|eot|>",
                                           "<|eom|>",
                                           "<|END_OF_TURN_TOKEN|>",
                                           "<|user_end|>",
                                           "<|end_of_turn|>",
                                           "[EOS]",
                                           "[EOT]",
                                           "<EOT>",
                                           "<_EOT>",
                                           "<turn|>",
                                           "<|end▁of▁sentence|>",
                                           "<｜end▁of▁sentence｜>",
                                           "<|end_of_sentence|>"};

std::string replace_marks(std::string_view text) {
  std::string out;
  for (std::size_t pos = 0; pos < text.size();) {
    const bool mark = text.substr(pos).starts_with(kSpaceMark);
    out += mark ? ' ' : text[pos];
    pos += mark ? kSpaceMark.size() : 1;
  }
  return out;
}

/// The byte of a token spelled "<0x0A>", if it is one.
std::optional<std::string> byte_piece(std::string_view spelled) {
  if (spelled.size() != 6 || !spelled.starts_with("<0x") || spelled[5] != '>') return std::nullopt;
  int value = 0;
  for (const char c : spelled.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + digit;
  }
  return std::string(1, static_cast<char>(value));
}

/// WordPiece puts a space before each word; punctuation takes it back when shown, as BERT's decoder does.
std::string word_piece(std::string_view spelled, bool join_punctuation) {
  if (!spelled.starts_with(kSpaceMark)) return std::string(spelled);
  const std::string_view word = spelled.substr(kSpaceMark.size());
  if (!join_punctuation) return " " + std::string(word);
  if (word == "." || word == "," || word == "!" || word == "?") return std::string(word);
  return " " + std::string(word);
}

std::string piece_of(const TokenizerSpec& spec, std::size_t id) {
  const std::string& spelled = spec.tokens[id];
  const TokenType type = spec.types.empty() ? TokenType::kNormal : spec.types[id];
  if (type == TokenType::kControl) return spelled;
  switch (spec.kind) {
    case TokenizerKind::kBpe:
      if (type == TokenType::kUserDefined) return spelled;
      return byte_level_decode(spelled).value_or(spelled);
    case TokenizerKind::kSentencePiece:
      if (type == TokenType::kByte) {
        if (auto byte = byte_piece(spelled)) return *byte;
      }
      return replace_marks(spelled);
    case TokenizerKind::kWordPiece:
      return word_piece(spelled, spec.join_punctuation);
  }
  return spelled;
}

}  // namespace

Tokenizer::Tokenizer(TokenizerSpec spec) : spec_(std::move(spec)) {}
Tokenizer::~Tokenizer() = default;

base::Result<std::unique_ptr<Tokenizer>> Tokenizer::create(TokenizerSpec spec) {
  TW_RETURN_IF_ERROR(check_spec(spec));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(spec)));
  TW_RETURN_IF_ERROR(tokenizer->build());
  return tokenizer;
}

base::Status Tokenizer::build() {
  strip_leading_space_ = spec_.strip_leading_space.value_or(
      spec_.kind == TokenizerKind::kWordPiece ||
      (spec_.kind == TokenizerKind::kSentencePiece && spec_.add_space_prefix));
  if (spec_.kind == TokenizerKind::kBpe && spec_.pre_steps.empty()) {
    const PreTokenizerRecipe recipe = pre_tokenizer_recipe(spec_.pre);
    if (!recipe.known) {
      warnings_.push_back("unknown pre-tokenizer \"" + base::sanitize_utf8(spec_.pre) +
                          "\": \"default\" is used, and tokens may differ from the model's own");
    }
    if (recipe.nfc && spec_.normalizers.empty()) spec_.normalizers.push_back({NormalizerStep::Kind::kNfc});
  }
  if (spec_.kind == TokenizerKind::kWordPiece && spec_.pre_steps.empty() && spec_.normalizers.empty()) {
    spec_.normalizers = bert_normalizers();
  }
  build_pieces();
  build_affixes();
  build_end_of_generation();
  TW_RETURN_IF_ERROR(build_added_tokens());
  const auto make = spec_.kind == TokenizerKind::kBpe             ? make_bpe_model
                    : spec_.kind == TokenizerKind::kSentencePiece ? make_sentencepiece_model
                                                                  : make_wordpiece_model;
  TW_ASSIGN_OR_RETURN(model_, make(spec_, pieces_));
  return base::Ok{};
}

void Tokenizer::build_pieces() {
  pieces_.reserve(spec_.tokens.size());
  by_spelling_ = std::make_unique<TokenTable>(spec_.tokens.size());
  for (std::size_t id = 0; id < spec_.tokens.size(); ++id) {
    pieces_.push_back(piece_of(spec_, id));
    by_spelling_->insert(spec_.tokens[id], static_cast<TokenId>(id));
  }
}

void Tokenizer::build_affixes() {
  const bool words = spec_.kind == TokenizerKind::kWordPiece;
  const std::optional<TokenId> first = words ? (spec_.cls ? spec_.cls : spec_.bos) : spec_.bos;
  const std::optional<TokenId> last = words ? (spec_.sep ? spec_.sep : spec_.eos) : spec_.eos;
  if (spec_.prefix) {
    prefix_ = *spec_.prefix;
  } else if (first && (words || spec_.add_bos)) {
    prefix_ = {*first};
  }
  if (spec_.suffix) {
    suffix_ = *spec_.suffix;
  } else if (last && (words || spec_.add_eos)) {
    suffix_ = {*last};
  }
}

void Tokenizer::build_end_of_generation() {
  std::vector<TokenId>& ids = end_of_generation_;
  ids = spec_.end_of_generation;
  if (spec_.eos) ids.push_back(*spec_.eos);
  // In the harmony format "<|end|>" ends a message, after which the model goes on.
  const bool harmony = find("<|return|>") && find("<|call|>");
  for (const std::string_view name : kEndTokens) {
    if (harmony && name == "<|end|>") continue;
    const std::optional<TokenId> id = find(name);
    // User-defined counts too: some converters give that type to every added token.
    if (id && (is_control(*id) || type(*id) == TokenType::kUserDefined)) ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

base::Status Tokenizer::build_added_tokens() {
  std::vector<AddedToken> raw, normalized;
  if (spec_.added.empty()) {
    for (std::size_t id = 0; id < spec_.types.size(); ++id) {
      const TokenType type = spec_.types[id];
      if (type != TokenType::kControl && type != TokenType::kUserDefined && type != TokenType::kUnknown)
        continue;
      raw.push_back({static_cast<TokenId>(id), pieces_[id], type != TokenType::kUserDefined});
    }
  }
  TW_ASSIGN_OR_RETURN(Normalizer normalizer, Normalizer::create(spec_.normalizers));
  normalizer_ = std::make_unique<Normalizer>(std::move(normalizer));
  for (AddedToken token : spec_.added) {
    if (token.normalized && !normalizer_->empty()) {
      token.text = normalizer_->apply(token.text);
      normalized.push_back(std::move(token));
    } else {
      raw.push_back(std::move(token));
    }
  }
  added_raw_ = std::make_unique<AddedTokens>(raw);
  added_normalized_ = std::make_unique<AddedTokens>(normalized);
  return base::Ok{};
}

namespace {

/// Calls text(part) and token(id) in the order of the text.
template <typename OnText, typename OnToken>
void for_each_part(const AddedTokens& added, std::string_view text, bool parse_special, OnText on_text,
                   OnToken on_token) {
  std::size_t pos = 0;
  while (!added.empty()) {
    const AddedMatch match = added.find(text, pos, parse_special);
    if (match.end == 0) break;
    if (match.begin > pos) on_text(text.substr(pos, match.begin - pos));
    on_token(match.id);
    pos = match.end;
  }
  if (pos < text.size()) on_text(text.substr(pos));
}

}  // namespace

void Tokenizer::encode_text(std::string_view text, bool parse_special, std::vector<TokenId>& out) const {
  EncodeScratch scratch;
  bool at_start = true;
  std::string normalized;
  const auto on_token = [&](TokenId id) {
    out.push_back(id);
    at_start = false;
  };
  const auto on_plain = [&](std::string_view part) {
    model_->encode(part, at_start, scratch, out);
    at_start = false;
  };
  const auto on_part = [&](std::string_view part) {
    if (!normalizer_->empty()) part = normalized = normalizer_->apply(part);
    for_each_part(*added_normalized_, part, parse_special, on_plain, on_token);
  };
  for_each_part(*added_raw_, text, parse_special, on_part, on_token);
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  if (options.add_special) out = prefix_;
  encode_text(text, options.parse_special, out);
  if (options.add_special) out.insert(out.end(), suffix_.begin(), suffix_.end());
  return out;
}

const std::string& Tokenizer::piece(TokenId id) const {
  TW_CHECK(valid(id), "a token id within the vocabulary");
  return pieces_[id];
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::string out;
  bool strip = strip_leading_space_;
  for (const TokenId id : ids) {
    if (!valid(id) || (skip_special && is_special(id))) continue;
    std::string_view piece = pieces_[id];
    if (strip && !is_special(id) && piece.starts_with(' ')) piece.remove_prefix(1);
    strip = false;
    out += piece;
  }
  return out;
}

TokenType Tokenizer::type(TokenId id) const {
  if (!valid(id) || spec_.types.empty()) return TokenType::kNormal;
  return spec_.types[id];
}

bool Tokenizer::is_control(TokenId id) const {
  return type(id) == TokenType::kControl;
}

bool Tokenizer::is_special(TokenId id) const {
  return is_control(id) || type(id) == TokenType::kUnknown;
}

std::optional<TokenId> Tokenizer::find(std::string_view token) const {
  const TokenId id = by_spelling_->find(token);
  if (id == kNoToken) return std::nullopt;
  return id;
}

bool Tokenizer::is_end_of_generation(TokenId id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

}  // namespace tw::text
