// Guesses what comes next by looking up how the text went on after the same words earlier: speculation
// without a draft model (known as prompt lookup). It pays where answers copy from their prompt: edits,
// quotations, code.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace tw::infer {

/// Follows one sequence. Guesses become longer while they prove right and stop while they prove wrong. Not
/// thread-safe.
class PromptLookup {
 public:
  static constexpr std::int64_t kLongest = 15;  ///< tokens of a guess

  void add(std::int32_t token);
  /// At most `limit` tokens that may follow; empty when nothing like the last tokens came before, or when
  /// guesses were wrong lately. Valid until the next call.
  std::span<const std::int32_t> guess(std::int64_t limit);
  /// How the last guess went: its first `accepted` tokens came true.
  void learn(std::int64_t guessed, std::int64_t accepted);

 private:
  static constexpr std::size_t kGram = 3;  ///< tokens that must agree
  std::uint64_t last_gram() const;

  std::vector<std::int32_t> tokens_;
  std::unordered_map<std::uint64_t, std::int32_t>
      next_;            ///< after which gram (its hash) what position came last
  double trust_ = 0.5;  ///< share of guessed tokens that came true, lately
  std::int64_t length_ = 4, since_guess_ = 0;
};

}  // namespace tw::infer
