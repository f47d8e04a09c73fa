// How often each token occurred in a prompt and in its answer, for the penalties.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace tw::infer {

/// Sparse: holds the tokens that occurred. Each addition takes O(1). Not thread-safe; one per answer.
class TokenCounts {
 public:
  struct Entry {
    std::int32_t token = 0;
    std::int32_t in_answer = 0;
    bool in_prompt = false;
  };

  void add_prompt(std::int32_t token) { entry(token).in_prompt = true; }
  void add_answer(std::int32_t token) { ++entry(token).in_answer; }

  /// One entry for each distinct token, in order of first occurrence.
  std::span<const Entry> entries() const { return entries_; }

 private:
  Entry& entry(std::int32_t token) {
    const auto [place, is_new] = places_.try_emplace(token, entries_.size());
    if (is_new) entries_.push_back({.token = token});
    return entries_[place->second];
  }

  std::vector<Entry> entries_;
  std::unordered_map<std::int32_t, std::size_t> places_;
};

}  // namespace tw::infer
