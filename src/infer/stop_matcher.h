// Finds stop strings in an answer that arrives in pieces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tw::infer {

/// The answer ends before the stop string that is complete first; of two that end at the same place, the
/// longer one. So the result does not depend on how the text is cut into pieces, and nothing needs to be
/// generated after a stop string is complete. Empty stop strings are ignored. If text and stop strings are
/// whole UTF-8 characters, so is all that comes out. O(1) for each byte and stop string (Knuth, Morris, Pratt
/// 1977). Not thread-safe; one per answer.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  /// Takes the next piece of text and returns what can no longer be part of a stop string. After stopped() it
  /// returns nothing more.
  std::string push(std::string_view text);

  /// The answer ended by itself: what was held back.
  std::string finish();

  bool stopped() const { return stopped_ != kNone; }
  /// The string that ended the answer. REQUIRES: stopped().
  const std::string& stop_text() const { return patterns_[stopped_].text; }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};

  struct Pattern {
    std::string text;
    std::vector<std::size_t> border;  ///< [i]: longest proper prefix of text that also ends text[0, i]
    std::size_t matched = 0;          ///< longest prefix that ends the answer so far
  };

  static void advance(Pattern& pattern, char c);
  void step(char c);

  std::vector<Pattern> patterns_;
  std::string held_;
  std::size_t stopped_ = kNone;
};

}  // namespace tw::infer
