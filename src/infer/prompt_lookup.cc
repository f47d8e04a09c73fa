#include "infer/prompt_lookup.h"

#include <algorithm>

namespace tw::infer {
namespace {

// A row more in a step costs a few percent of it, a right guess saves all of one.
constexpr double kLeastTrust = 0.2, kSmooth = 0.25;
constexpr std::int64_t kShortest = 2;
constexpr std::int64_t kRetry = 32;  ///< tokens after which it is tried again in spite of wrong guesses

}  // namespace

std::uint64_t PromptLookup::last_gram() const {
  std::uint64_t hash = 0;
  for (std::size_t i = tokens_.size() - kGram; i < tokens_.size(); ++i)
    hash = (hash ^ static_cast<std::uint32_t>(tokens_[i])) * 0x9E3779B97F4A7C15ULL;
  return hash;
}

void PromptLookup::add(std::int32_t token) {
  if (tokens_.size() >= kGram) next_[last_gram()] = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
  ++since_guess_;
}

std::span<const std::int32_t> PromptLookup::guess(std::int64_t limit) {
  if (tokens_.size() < kGram || (trust_ < kLeastTrust && since_guess_ < kRetry)) return {};
  const auto found = next_.find(last_gram());
  if (found == next_.end()) return {};
  const auto from = static_cast<std::size_t>(found->second);
  // Equal hashes are not equal tokens.
  for (std::size_t i = 1; i <= kGram; ++i) {
    if (tokens_[from - i] != tokens_[tokens_.size() - i]) return {};
  }
  const auto left = static_cast<std::int64_t>(tokens_.size() - from);
  return std::span(tokens_).subspan(
      from, static_cast<std::size_t>(std::max<std::int64_t>(0, std::min({left, length_, limit}))));
}

void PromptLookup::learn(std::int64_t guessed, std::int64_t accepted) {
  if (guessed == 0) return;
  since_guess_ = 0;
  trust_ += kSmooth * (static_cast<double>(accepted) / static_cast<double>(guessed) - trust_);
  length_ = accepted == guessed ? std::min(length_ * 2, kLongest) : std::max(accepted + 1, kShortest);
}

}  // namespace tw::infer
