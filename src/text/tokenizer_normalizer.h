// The changes some tokenizers make to a text before they cut it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/pretokenizer_regex.h"
#include "text/tokenizer.h"

namespace tw::text {

/// Immutable, thread-safe.
class Normalizer {
 public:
  /// Fails with kUnsupported for more than 16 steps or contents over 64 bytes, and for patterns as Regex
  /// does.
  static base::Result<Normalizer> create(const std::vector<NormalizerStep>& steps);
  /// The text after all steps. Time linear in the text, for literal replacements and published patterns.
  /// Replacements stop where they would grow the text beyond 64 times its size and 1 KiB.
  std::string apply(std::string_view text) const;
  bool empty() const { return steps_.empty(); }

 private:
  struct Step {
    NormalizerStep spec;
    std::optional<Regex> regex;
  };
  Normalizer() = default;
  std::vector<Step> steps_;
};

}  // namespace tw::text
