// Hand-written scanners for the most common pre-tokenizer patterns. They know ASCII only and stop where a
// character beyond it could matter; the regular expression then does the part up to the next safe boundary.
#pragma once

#include <string_view>
#include <vector>

#include "text/pretokenizer_regex.h"
#include "text/tokenizer.h"

namespace tw::text {

enum class Scanner {
  kNone,
  kGpt2,        ///< GPT-2's pattern
  kGpt2Digits,  ///< every digit apart, then GPT-2's pattern (SmolLM, StarCoder)
  kCl100k1,     ///< the pattern of GPT-4 with single digits (Qwen 2)
  kCl100k3,     ///< the same with groups of up to three digits (Llama 3)
};

/// The scanner that does exactly what these steps do, or kNone.
Scanner scanner_for(const std::vector<PreTokenizerStep>& steps);

/// Appends pieces from pos on; returns where it had to stop, which is a piece's start or the end of the text.
std::size_t scan_ascii(Scanner scanner, std::string_view text, std::size_t pos, std::vector<Span>& pieces);

/// The first place after pos where every scanner's pattern begins a new piece whatever stands around it:
/// between an ASCII letter and a space before another letter. The end of the text if there is none.
std::size_t next_safe_boundary(std::string_view text, std::size_t pos);

}  // namespace tw::text
