// The merging loop of byte-pair encoding: neighbours merge, best rank first, leftmost first among equals.
// Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", section 3.2.
#pragma once

#include <cstdint>
#include <vector>

#include "text/tokenizer.h"

namespace tw::text {

inline constexpr std::uint32_t kNoRank = 0xFFFFFFFF;

struct Merge {
  std::uint32_t rank = kNoRank;  ///< lower merges first
  TokenId result = -1;
};

/// From a pair of neighbouring symbols to the symbol they merge into.
class MergeTable {
 public:
  explicit MergeTable(std::size_t count);
  /// The first rank given to a pair stays. Grows as needed.
  void insert(TokenId left, TokenId right, Merge merge);
  /// A Merge of kNoRank if the pair does not merge.
  Merge find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  std::size_t slot_of(std::uint64_t key) const;
  void resize(std::size_t slots);

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
  int shift_ = 0;
};

/// A symbol of the word being merged; `begin` is its first byte in the word.
struct Symbol {
  TokenId id;
  std::uint32_t begin;
  Merge next;  ///< the merge with the right neighbour
};

/// The memory that merging needs, kept from word to word.
class MergeScratch {
 public:
  /// In: the characters or bytes of the word. Out: what is left after all merges.
  std::vector<Symbol> symbols;

  /// Time O(n log n) in the number of symbols.
  void run(const MergeTable& table);

 private:
  struct Node {
    TokenId id;
    std::uint32_t begin, prev, next;
  };
  struct Candidate {
    std::uint64_t order;  ///< rank, then position
    TokenId left, right, result;
  };
  void run_short(const MergeTable& table);
  void run_long(const MergeTable& table);
  void offer(const MergeTable& table, std::uint32_t left);

  std::vector<Node> nodes_;
  std::vector<Candidate> heap_;
};

}  // namespace tw::text
