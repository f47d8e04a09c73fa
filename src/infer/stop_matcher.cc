#include "infer/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace tw::infer {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    if (stop.empty()) continue;
    Pattern pattern{.text = std::move(stop), .border = {0}};
    // The borders of a string are found by matching it against itself, one place behind.
    for (const char c : std::string_view(pattern.text).substr(1)) {
      advance(pattern, c);
      pattern.border.push_back(pattern.matched);
    }
    pattern.matched = 0;
    patterns_.push_back(std::move(pattern));
  }
}

/// REQUIRES: the pattern is not complete, and the borders of the prefix that matches so far are known.
void StopMatcher::advance(Pattern& pattern, char c) {
  while (pattern.matched > 0 && pattern.text[pattern.matched] != c)
    pattern.matched = pattern.border[pattern.matched - 1];
  if (pattern.text[pattern.matched] == c) ++pattern.matched;
}

void StopMatcher::step(char c) {
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    Pattern& pattern = patterns_[i];
    advance(pattern, c);
    if (pattern.matched < pattern.text.size()) continue;
    if (!stopped() || pattern.text.size() > patterns_[stopped_].text.size()) stopped_ = i;
  }
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped()) return {};
  std::size_t used = 0;
  while (used < text.size() && !stopped()) step(text[used++]);
  held_ += text.substr(0, used);
  std::size_t hold = 0;
  for (const Pattern& pattern : patterns_) hold = std::max(hold, pattern.matched);
  if (stopped()) hold = stop_text().size();
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::finish() {
  std::string out;
  if (!stopped()) out.swap(held_);
  return out;
}

}  // namespace tw::infer
