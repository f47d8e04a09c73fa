#include "infer/stop_matcher.h"

#include <algorithm>

namespace tw::infer {
namespace {

/// Length of the longest suffix of `text` that is a proper prefix of `stop`.
std::size_t partial_match(std::string_view text, std::string_view stop) {
  for (std::size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

std::string StopMatcher::push(std::string_view text) {
  if (stopped()) return {};
  held_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t at = stop.empty() ? std::string::npos : held_.find(stop);
    const bool earlier = at < first || (at == first && stopped() && stop.size() < stopped_->size());
    if (at == std::string::npos || !earlier) continue;
    first = at;
    stopped_ = &stop;
  }
  std::size_t hold = 0;
  if (!stopped()) {
    for (const std::string& stop : stops_) hold = stop.empty() ? hold : std::max(hold, partial_match(held_, stop));
    first = held_.size() - hold;
  }
  std::string out = held_.substr(0, first);
  held_.erase(0, first);
  return out;
}

std::string StopMatcher::finish() {
  std::string out;
  if (!stopped()) out.swap(held_);
  return out;
}

}  // namespace tw::infer
