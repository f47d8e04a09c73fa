// Text to token ids and back, for the three kinds of vocabulary that open models use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tw::text {

using TokenId = std::int32_t;

enum class TokenizerKind {
  kBpe,            ///< byte-level byte-pair encoding (GPT-2 and its heirs)
  kSentencePiece,  ///< character-level byte-pair encoding with "▁" for a space and byte fallback (Llama 2)
  kWordPiece,      ///< greedy longest match inside words (BERT)
};

/// The numbers are those of GGUF's tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

/// One change of the text before it is cut into pieces.
struct NormalizerStep {
  enum class Kind {
    kPrepend,       ///< puts `content` in front of a text that is not empty
    kReplace,       ///< replaces every match of `pattern` (literal, or a regular expression) by `content`
    kNfc,           ///< Unicode canonical composition
    kNfd,           ///< Unicode canonical decomposition
    kLowercase,     ///< character by character (no final-sigma rule)
    kStripAccents,  ///< drops nonspacing marks; wants kNfd before it
    kStripMarks,    ///< drops marks of every kind
    kStrip,         ///< drops white space at the ends
    kBertClean,     ///< drops control characters, makes every white space a plain space
    kBertCjk,       ///< puts spaces around Chinese characters
  };
  Kind kind = Kind::kNfc;
  std::string pattern = {};
  std::string content = {};
  bool is_regex = false;  ///< kReplace: `pattern` is a regular expression
  bool left = true;       ///< kStrip: at the start
  bool right = true;      ///< kStrip: at the end
};

/// Cuts every piece found so far at the matches of a regular expression; steps run one after the other.
struct PreTokenizerStep {
  /// What becomes of a match; the names are those of Hugging Face's "Split".
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  std::string pattern = {};
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;      ///< the text between the matches plays the part of the matches
  bool is_literal = false;  ///< `pattern` is plain text
};

/// A token that is looked for in the text itself, before anything else is done to the text.
struct AddedToken {
  TokenId id = 0;
  std::string text;
  bool special = true;       ///< found only with EncodeOptions::parse_special
  bool single_word = false;  ///< not found inside a word
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< takes the white space after it along
  bool normalized = false;   ///< looked for after normalization
};

/// A tokenizer in neutral form, made from GGUF metadata or from tokenizer.json. Tokens are spelled as in
/// GGUF: byte-level BPE in GPT-2's alphabet of printable characters, "▁" for the space before a word in
/// SentencePiece and WordPiece (whose tokens inside a word carry no mark).
struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kBpe;
  std::vector<std::string> tokens;  ///< by id
  std::vector<float> scores;        ///< by id; SentencePiece without `merges`
  std::vector<TokenType> types;     ///< by id; empty means that all are normal
  std::vector<std::string> merges;  ///< "a b" in order of rank
  std::string pre;                  ///< name of the pre-tokenizer as in GGUF; see pretokenizer_table.h
  std::optional<TokenId> bos, eos, unk, sep, cls, pad, mask;
  bool add_bos = false;
  bool add_eos = false;
  /// What add_special puts around a text; if absent: bos and eos as add_bos and add_eos say, or cls and sep
  /// for WordPiece.
  std::optional<std::vector<TokenId>> prefix, suffix;
  std::vector<TokenId> end_of_generation;  ///< beyond eos and the well-known names

  std::vector<AddedToken> added;  ///< if empty: the control and user-defined tokens
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> pre_steps;  ///< if not empty, used in place of `pre`

  // Byte-level BPE
  bool ignore_merges = false;     ///< a piece that is a token is that token, whatever the merges say
  bool add_prefix_space = false;  ///< a text that does not start with a space gets one (RoBERTa)
  // SentencePiece
  bool add_space_prefix = true;          ///< each text between special tokens gets a space in front
  bool space_prefix_first_only = false;  ///< ... but only at the very start
  bool space_prefix_if_missing = false;  ///< ... but not where there is one
  bool split_at_spaces = false;          ///< no token may hold a space but at its start
  bool byte_fallback = true;             ///< characters that are no token become byte tokens
  bool fuse_unk = false;                 ///< neighbouring unknown characters give one unk
  std::optional<bool>
      strip_leading_space;  ///< decode() drops the first space; if absent: as add_space_prefix
  // WordPiece
  bool join_punctuation = true;  ///< decode() puts no space before . , ! ?
  int max_word_chars = 100;      ///< longer words are unk
};

struct EncodeOptions {
  bool add_special = true;     ///< adds BOS, EOS, CLS, SEP as the model wants them
  bool parse_special = false;  ///< control tokens written in the text become those tokens
};

class AddedTokens;
class Normalizer;
class TokenizerModel;
class TokenTable;

/// Immutable after creation: every method may be called from any thread.
class Tokenizer {
 public:
  /// Checks everything: sizes, ids in range, known merges, patterns that compile. Fails with kCorrupt (or
  /// kUnsupported), naming the token, merge or field.
  static base::Result<std::unique_ptr<Tokenizer>> create(TokenizerSpec spec);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Never fails: bytes that are not UTF-8 become byte tokens where the vocabulary has them, else unk or
  /// nothing. Without parse_special no control token but unk comes out of the text; user-defined tokens do.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;

  /// The bytes a token stands for when decoded (byte level undone, "▁" a space); control tokens give their
  /// text. REQUIRES: 0 <= id < size().
  const std::string& piece(TokenId id) const;

  /// The text of the tokens; ids out of range are left out, control tokens too with skip_special. May hold
  /// invalid UTF-8 if the tokens do. As in transformers, only the first token that is shown loses the space
  /// that some vocabularies put in front of a text, so a control token shown there keeps the space after it.
  std::string decode(std::span<const TokenId> ids, bool skip_special = true) const;

  std::size_t size() const { return pieces_.size(); }
  TokenizerKind kind() const { return spec_.kind; }
  /// False for ids out of range.
  bool is_control(TokenId id) const;
  /// What skip_special leaves out: control tokens and unk.
  bool is_special(TokenId id) const;
  TokenType type(TokenId id) const;
  /// The token spelled exactly so, in the spec's spelling.
  std::optional<TokenId> find(std::string_view token) const;
  std::optional<TokenId> bos() const { return spec_.bos; }
  std::optional<TokenId> eos() const { return spec_.eos; }
  std::optional<TokenId> unk() const { return spec_.unk; }
  std::optional<TokenId> pad() const { return spec_.pad; }
  std::optional<TokenId> sep() const { return spec_.sep; }
  std::optional<TokenId> cls() const { return spec_.cls; }
  std::optional<TokenId> mask() const { return spec_.mask; }
  /// Whether add_special puts BOS in front.
  bool adds_bos() const { return spec_.bos && !prefix_.empty() && prefix_.front() == *spec_.bos; }
  /// Whether the first space of a text is dropped when it is decoded.
  bool strips_leading_space() const { return strip_leading_space_; }
  /// Whether a model that emits this token has finished: eos, and the control tokens known to end a turn or a
  /// text.
  bool is_end_of_generation(TokenId id) const;
  /// All of them, in ascending order.
  std::span<const TokenId> end_of_generation() const { return end_of_generation_; }
  /// What is doubtful about this tokenizer (such as an unknown pre-tokenizer), for the log.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  explicit Tokenizer(TokenizerSpec spec);
  base::Status build();
  base::Status build_added_tokens();
  void build_pieces();
  void build_affixes();
  void build_end_of_generation();
  void encode_text(std::string_view text, bool parse_special, std::vector<TokenId>& out) const;
  bool valid(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < pieces_.size(); }

  TokenizerSpec spec_;
  std::vector<std::string> pieces_;
  std::vector<TokenId> prefix_, suffix_, end_of_generation_;
  bool strip_leading_space_ = false;
  std::vector<std::string> warnings_;
  std::unique_ptr<TokenTable> by_spelling_;
  std::unique_ptr<AddedTokens> added_raw_, added_normalized_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<TokenizerModel> model_;
};

struct DetokenizerOptions {
  bool skip_special = true;
  /// Nothing stands before the first token pushed, so the leading space of SentencePiece and WordPiece is
  /// dropped. False when the tokens continue a prompt.
  bool text_start = true;
};

/// Turns tokens into text as they come; never emits half a UTF-8 character: bytes wait until the character is
/// whole or cannot become so any more. Not thread-safe; the tokenizer must outlive it.
class StreamingDetokenizer {
 public:
  explicit StreamingDetokenizer(const Tokenizer& tokenizer, DetokenizerOptions options = {});
  /// The text that is certain now; may be empty. Invalid bytes pass as U+FFFD.
  std::string push(TokenId id);
  /// What still waits: an unfinished character as U+FFFD. The stream can then start anew.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  DetokenizerOptions options_;
  std::string waiting_;
  bool strip_space_;
};

/// Reads Hugging Face's fast-tokenizer files. tokenizer_config_json may be empty. Fails with kCorrupt for
/// broken files and with kUnsupported, naming the component, for what cannot be reproduced exactly.
base::Result<TokenizerSpec> parse_tokenizer_json(std::string_view tokenizer_json,
                                                 std::string_view tokenizer_config_json);

}  // namespace tw::text
