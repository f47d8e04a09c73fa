// Cuts text into the pieces inside which byte-pair encoding merges.
#pragma once

#include <string_view>
#include <vector>

#include "text/pretokenizer_ascii.h"
#include "text/pretokenizer_filter.h"
#include "text/pretokenizer_regex.h"
#include "text/tokenizer.h"

namespace tw::text {

/// Immutable, thread-safe. Takes time linear in the text for the published patterns; a pattern that exceeds
/// the match limit leaves the rest of its text as one piece.
class PreTokenizer {
 public:
  static base::Result<PreTokenizer> create(const std::vector<PreTokenizerStep>& steps);

  /// Without the hand-written scanner: the oracle that the scanner is tested against.
  void disable_scanner() { scanner_ = Scanner::kNone; }
  Scanner scanner() const { return scanner_; }

  struct Scratch {
    RegexScratch regex;
    std::vector<Span> now, next;
  };
  /// Appends the pieces in order. Bytes that are no UTF-8 make pieces of their own.
  void split(std::string_view text, Scratch& scratch, std::vector<Span>& pieces) const;

 private:
  struct Step {
    PreTokenizerStep::Behavior behavior;
    bool invert;
    std::string literal;  ///< used if there is no regex
    std::optional<Regex> regex;
    std::optional<AsciiSet> required;
  };
  static void cut(const Step& step, std::string_view text, Span piece, Scratch& scratch);
  PreTokenizer() = default;
  void split_generic(std::string_view text, std::size_t base, Scratch& scratch,
                     std::vector<Span>& pieces) const;
  void split_valid(std::string_view text, std::size_t base, Scratch& scratch,
                   std::vector<Span>& pieces) const;

  std::vector<Step> steps_;
  Scanner scanner_ = Scanner::kNone;
};

}  // namespace tw::text
