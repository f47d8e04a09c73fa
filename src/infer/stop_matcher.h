// Finds stop strings in an answer that arrives in pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tw::infer {

/// The answer ends before the first occurrence of any stop string; of two that start at the same place, the one that
/// completes first. Not thread-safe; one per answer.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// Takes the next piece of text and returns what can no longer be part of a stop string. After stopped() it
  /// returns nothing more.
  std::string push(std::string_view text);

  /// The answer ended by itself: what was held back.
  std::string finish();

  bool stopped() const { return stopped_ != nullptr; }
  /// The string that ended the answer. REQUIRES: stopped().
  const std::string& stop_text() const { return *stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  const std::string* stopped_ = nullptr;
};

}  // namespace tw::infer
