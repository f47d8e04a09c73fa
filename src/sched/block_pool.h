// The blocks of the KV cache: who holds which, which are free, and which still carry a known prefix.
// A free block keeps its content until somebody needs the room, so that a later prompt can take it back.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "sched/scheduler.h"

namespace tw::sched {

inline constexpr BlockId kNoBlock = -1;

/// The hash of a block's tokens and of all before it: chain_hash(hash of the block before, tokens). The first
/// block of a sequence starts from root_hash(salt).
std::uint64_t chain_hash(std::uint64_t previous, std::span<const TokenId> tokens);
std::uint64_t root_hash(std::uint64_t salt);

/// What a full block holds: its tokens, and where it stands. Two blocks are interchangeable when tokens,
/// parent and salt are equal; the hash only finds candidates, so a collision costs a hit and never gives
/// wrong keys.
struct BlockContent {
  std::uint64_t hash = 0;           ///< chain_hash
  std::uint64_t parent = 0;         ///< serial() of the block before it in the sequence; 0 for the first
  std::uint64_t salt = 0;           ///< Request::cache_salt
  std::span<const TokenId> tokens;  ///< block_tokens of them
};

/// Reference counts, the free list and the prefix index. Each call takes O(1) (find and publish:
/// O(block_tokens)). Not thread-safe. Invariants:
///  1. a block is in the free list exactly when its reference count is 0;
///  2. free blocks without content stand before those with content, and these stand in order of their
///  release, so
///     that allocate() forgets the content that was used least recently;
///  3. a block in the index has a serial number that was never given before and never will be again.
class BlockPool {
 public:
  BlockPool(std::int64_t blocks, int block_tokens);

  /// Blocks that nobody holds; allocate() works as long as there is one.
  std::int64_t available() const { return available_; }
  std::int64_t total() const { return static_cast<std::int64_t>(entries_.size()); }
  int references(BlockId block) const { return at(block).references; }

  /// Names the content that the block is indexed with; 0 when it has none.
  std::uint64_t serial(BlockId block) const { return at(block).serial; }

  /// A block for new tokens, held once. REQUIRES: available() > 0.
  BlockId allocate();

  /// One holder more; a free block leaves the free list.
  void retain(BlockId block);

  /// One holder less. Release a sequence's last block first: the ends of prefixes are then forgotten before
  /// their beginnings, without which they could not be reached. REQUIRES: the block is held.
  void release(BlockId block);

  /// The block with this content, or kNoBlock. Does not retain it.
  BlockId find(const BlockContent& content) const;

  /// Makes a full, computed block findable. Returns the block itself; or another one that holds the same
  /// content already; or kNoBlock when the hash belongs to different content. REQUIRES: held, without content
  /// so far.
  BlockId publish(BlockId block, const BlockContent& content);

  /// Checks the invariants by TW_CHECK; O(blocks), for tests.
  void verify() const;

 private:
  struct Entry {
    int references = 0;
    BlockId previous = kNoBlock, next = kNoBlock;  ///< in the free list, while references == 0
    std::uint64_t serial = 0;                      ///< 0: no content
    std::uint64_t hash = 0, parent = 0, salt = 0;
  };

  const Entry& at(BlockId block) const;
  Entry& at(BlockId block);
  std::span<TokenId> tokens_of(BlockId block);
  std::span<const TokenId> tokens_of(BlockId block) const;
  bool holds(BlockId block, const BlockContent& content) const;
  void push_front(BlockId block);
  void push_back(BlockId block);
  void unlink(BlockId block);
  void forget(BlockId block);

  std::size_t block_tokens_;
  std::vector<Entry> entries_;
  std::vector<TokenId> tokens_;  ///< [blocks, block_tokens]: the content of indexed blocks
  std::unordered_map<std::uint64_t, BlockId> index_;
  BlockId first_ = kNoBlock, last_ = kNoBlock;
  std::int64_t available_ = 0;
  std::uint64_t last_serial_ = 0;
};

}  // namespace tw::sched
