#include "text/bpe_merge_search.h"

namespace tw::text {

void BpeMergeSearch::add_word(const std::vector<Id>& ids, std::uint64_t count) {
  begin_.push_back(ids_.size());
  length_.push_back(static_cast<std::uint32_t>(ids.size()));
  count_.push_back(static_cast<std::int64_t>(count));
  ids_.insert(ids_.end(), ids.begin(), ids.end());
}

void BpeMergeSearch::start() {
  for (std::uint32_t word = 0; word < begin_.size(); ++word) {
    const Id* ids = ids_.data() + begin_[word];
    for (std::uint32_t i = 0; i + 1 < length_[word]; ++i) change(ids[i], ids[i + 1], count_[word], word);
  }
  queue_opened();
}

/// A pair that becomes more frequent has to be queued anew, with the words where it did.
void BpeMergeSearch::change(Id left, Id right, std::int64_t count, std::uint32_t word) {
  PairState& state = pairs_[key_of(left, right)];
  state.count += count;
  if (count < 0) return;
  if (state.open < 0) {
    if (free_places_.empty()) {
      free_places_.push_back(static_cast<std::uint32_t>(places_.size()));
      places_.emplace_back();
    }
    state.open = static_cast<std::int32_t>(free_places_.back());
    free_places_.pop_back();
    opened_.push_back(key_of(left, right));
  }
  std::vector<std::uint32_t>& places = places_[static_cast<std::size_t>(state.open)];
  if (places.empty() || places.back() != word) places.push_back(word);
}

void BpeMergeSearch::queue_opened() {
  for (const Key key : opened_) {
    PairState& state = pairs_[key];
    const auto places = static_cast<std::uint32_t>(state.open);
    state.open = -1;
    if (state.count > 0) {
      queue_.push({state.count, key, places});
    } else {
      places_[places].clear();
      free_places_.push_back(places);
    }
  }
  opened_.clear();
}

bool BpeMergeSearch::next(std::uint64_t min_count, Pair& pair) {
  while (!queue_.empty()) {
    current_ = queue_.top();
    queue_.pop();
    const std::int64_t count = pairs_[current_.key].count;
    if (count != current_.count) {
      if (count > 0) {
        queue_.push({count, current_.key, current_.places});
        continue;
      }
      std::vector<std::uint32_t>().swap(places_[current_.places]);
      free_places_.push_back(current_.places);
      continue;
    }
    if (static_cast<std::uint64_t>(count) < min_count) return false;
    pair = {static_cast<Id>(current_.key >> 32), static_cast<Id>(current_.key)};
    return true;
  }
  return false;
}

void BpeMergeSearch::merge(Id merged) {
  // Moved out: places_ may grow while words change.
  const std::vector<std::uint32_t> places = std::move(places_[current_.places]);
  places_[current_.places].clear();
  free_places_.push_back(current_.places);
  for (const std::uint32_t word : places) merge_word(word, merged);
  queue_opened();
}

/// From left to right, so that of "aaa" the first two are merged. The merged pair's own count stays what it
/// was: it is not queued any more.
void BpeMergeSearch::merge_word(std::uint32_t word, Id merged) {
  Id* ids = ids_.data() + begin_[word];
  const auto left = static_cast<Id>(current_.key >> 32), right = static_cast<Id>(current_.key);
  const std::uint32_t length = length_[word];
  const std::int64_t count = count_[word];
  std::uint32_t out = 0;
  for (std::uint32_t in = 0; in < length; ++out) {
    if (ids[in] != left || in + 1 == length || ids[in + 1] != right) {
      ids[out] = ids[in++];
      continue;
    }
    if (out > 0) {
      change(ids[out - 1], left, -count, word);
      change(ids[out - 1], merged, count, word);
    }
    in += 2;
    if (in < length) {
      change(right, ids[in], -count, word);
      change(merged, ids[in], count, word);
    }
    ids[out] = merged;
  }
  length_[word] = out;
}

}  // namespace tw::text
