#include "sched/block_pool.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/mix64.h"

namespace tw::sched {
std::uint64_t chain_hash(std::uint64_t previous, std::span<const TokenId> tokens) {
  std::uint64_t hash = previous;
  for (const TokenId token : tokens)
    hash = base::mix64(hash * base::kMixStep + static_cast<std::uint32_t>(token) + 1);
  return hash;
}

std::uint64_t root_hash(std::uint64_t salt) {
  return base::mix64(salt + base::kMixStep);
}

BlockPool::BlockPool(std::int64_t blocks, int block_tokens)
    : block_tokens_(static_cast<std::size_t>(block_tokens)), entries_(static_cast<std::size_t>(blocks)) {
  TW_CHECK(blocks > 0 && block_tokens > 0, "a pool needs blocks, and each of them room for a token");
  TW_CHECK(blocks <= std::numeric_limits<BlockId>::max(), "block ids have 31 bits");
  tokens_.resize(entries_.size() * block_tokens_);
  index_.reserve(entries_.size());
  for (BlockId block = 0; block < blocks; ++block) push_back(block);
}

const BlockPool::Entry& BlockPool::at(BlockId block) const {
  TW_CHECK(block >= 0 && block < total(), "a block id comes from this pool");
  return entries_[static_cast<std::size_t>(block)];
}

BlockPool::Entry& BlockPool::at(BlockId block) {
  return const_cast<Entry&>(std::as_const(*this).at(block));
}

std::span<TokenId> BlockPool::tokens_of(BlockId block) {
  return std::span(tokens_).subspan(static_cast<std::size_t>(block) * block_tokens_, block_tokens_);
}

std::span<const TokenId> BlockPool::tokens_of(BlockId block) const {
  return std::span(tokens_).subspan(static_cast<std::size_t>(block) * block_tokens_, block_tokens_);
}

BlockId BlockPool::allocate() {
  TW_CHECK(available_ > 0, "allocate() needs a free block");
  const BlockId block = first_;
  unlink(block);
  forget(block);
  at(block).references = 1;
  return block;
}

void BlockPool::retain(BlockId block) {
  if (at(block).references == 0) unlink(block);
  ++at(block).references;
}

void BlockPool::release(BlockId block) {
  Entry& entry = at(block);
  TW_CHECK(entry.references > 0, "only a held block can be released");
  if (--entry.references > 0) return;
  if (entry.serial != 0) {
    push_back(block);
  } else {
    push_front(block);
  }
}

bool BlockPool::holds(BlockId block, const BlockContent& content) const {
  const Entry& entry = at(block);
  return entry.parent == content.parent && entry.salt == content.salt &&
         std::ranges::equal(tokens_of(block), content.tokens);
}

BlockId BlockPool::find(const BlockContent& content) const {
  const auto found = index_.find(content.hash);
  return found != index_.end() && holds(found->second, content) ? found->second : kNoBlock;
}

BlockId BlockPool::publish(BlockId block, const BlockContent& content) {
  Entry& entry = at(block);
  TW_CHECK(entry.references > 0 && entry.serial == 0, "a block is published once, by its holder");
  TW_CHECK(content.tokens.size() == block_tokens_, "only full blocks are published");
  const auto [place, is_new] = index_.try_emplace(content.hash, block);
  if (!is_new) return holds(place->second, content) ? place->second : kNoBlock;
  entry.serial = ++last_serial_;
  entry.hash = content.hash;
  entry.parent = content.parent;
  entry.salt = content.salt;
  std::ranges::copy(content.tokens, tokens_of(block).begin());
  return block;
}

void BlockPool::forget(BlockId block) {
  Entry& entry = at(block);
  if (entry.serial == 0) return;
  index_.erase(entry.hash);
  entry.serial = 0;
}

void BlockPool::push_front(BlockId block) {
  Entry& entry = at(block);
  entry.previous = kNoBlock;
  entry.next = first_;
  (first_ == kNoBlock ? last_ : at(first_).previous) = block;
  first_ = block;
  ++available_;
}

void BlockPool::push_back(BlockId block) {
  Entry& entry = at(block);
  entry.next = kNoBlock;
  entry.previous = last_;
  (last_ == kNoBlock ? first_ : at(last_).next) = block;
  last_ = block;
  ++available_;
}

void BlockPool::unlink(BlockId block) {
  const Entry& entry = at(block);
  (entry.previous == kNoBlock ? first_ : at(entry.previous).next) = entry.next;
  (entry.next == kNoBlock ? last_ : at(entry.next).previous) = entry.previous;
  --available_;
}

void BlockPool::verify() const {
  std::int64_t listed = 0;
  bool content_seen = false;
  for (BlockId block = first_, before = kNoBlock; block != kNoBlock; before = block, block = at(block).next) {
    TW_CHECK(at(block).references == 0, "a listed block is free");
    TW_CHECK(at(block).previous == before, "the free list is linked both ways");
    TW_CHECK(!content_seen || at(block).serial != 0, "empty blocks stand first");
    content_seen = at(block).serial != 0;
    TW_CHECK(++listed <= total(), "the free list has an end");
  }
  TW_CHECK(listed == available_, "the free list is counted");
  std::size_t indexed = 0;
  for (BlockId block = 0; block < total(); ++block) {
    if (at(block).references == 0) --listed;
    if (at(block).serial == 0) continue;
    ++indexed;
    const auto found = index_.find(at(block).hash);
    TW_CHECK(found != index_.end() && found->second == block, "content is indexed");
  }
  TW_CHECK(listed == 0, "every free block is listed");
  TW_CHECK(indexed == index_.size(), "the index has no stale block");
}

}  // namespace tw::sched
