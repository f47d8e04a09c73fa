// The loop of BPE training: which pair of neighbouring tokens to merge next, over all words at once.
#pragma once

#include <cstdint>
#include <queue>
#include <unordered_map>
#include <vector>

namespace tw::text {

/// The words of a corpus as ids, and the pairs in them by frequency. A merge touches only the words in which
/// its pair was found.
class BpeMergeSearch {
 public:
  using Id = std::uint32_t;
  struct Pair {
    Id left = 0, right = 0;
  };

  /// Adds a word that occurs `count` times. REQUIRES: before start().
  void add_word(const std::vector<Id>& ids, std::uint64_t count);
  void start();

  /// The next pair to merge; false if none occurs at least `min_count` times (or once).
  bool next(std::uint64_t min_count, Pair& pair);
  /// Merges the pair that next() gave into `merged`, in all words it was queued for.
  void merge(Id merged);

 private:
  using Key = std::uint64_t;  ///< left << 32 | right: in order of the pair
  /// A pair in the queue, with the count it had then and the words it was found in then. The same pair may be
  /// queued again when a token that existed before is made a second time, by another merge.
  struct Queued {
    std::int64_t count;
    Key key;
    std::uint32_t places;  ///< index into places_
    bool operator<(const Queued& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };
  struct PairState {
    std::int64_t count = 0;
    std::int32_t open = -1;  ///< index into places_ of the list that is being made; -1: none
  };
  static Key key_of(Id left, Id right) { return Key{left} << 32 | right; }
  void change(Id left, Id right, std::int64_t count, std::uint32_t word);
  void merge_word(std::uint32_t word, Id merged);
  void queue_opened();

  std::vector<Id> ids_;                ///< of all words
  std::vector<std::uint64_t> begin_;   ///< by word: into ids_
  std::vector<std::uint32_t> length_;  ///< by word
  std::vector<std::int64_t> count_;    ///< by word
  std::unordered_map<Key, PairState> pairs_;
  std::vector<std::vector<std::uint32_t>> places_;
  std::vector<std::uint32_t> free_places_;
  std::vector<Key> opened_;
  std::priority_queue<Queued> queue_;
  Queued current_{};
};

}  // namespace tw::text
