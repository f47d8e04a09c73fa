#include "text/bpe_merger.h"

#include <algorithm>
#include <bit>

namespace tw::text {
namespace {

constexpr std::uint32_t kEnd = 0xFFFFFFFF;
/// Up to here scanning an array for the best pair beats a heap.
constexpr std::size_t kShortWord = 40;

std::uint64_t key_of(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(std::size_t count) {
  resize(std::bit_ceil(count * 2 + 16));
}

void MergeTable::resize(std::size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  shift_ = 64 - std::countr_zero(slots);
  for (const Slot& slot : old) {
    if (slot.key != kEmpty) slots_[slot_of(slot.key)] = slot;
  }
}

std::size_t MergeTable::slot_of(std::uint64_t key) const {
  std::uint64_t h = key * 0x9E3779B97F4A7C15u;
  std::size_t slot = (h ^ h >> 32) * 0x9E3779B97F4A7C15u >> shift_;
  while (slots_[slot].key != key && slots_[slot].key != kEmpty) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::insert(TokenId left, TokenId right, Merge merge) {
  Slot& slot = slots_[slot_of(key_of(left, right))];
  if (slot.key != kEmpty) return;
  slot = {key_of(left, right), merge};
  if (++used_ * 2 > slots_.size()) resize(slots_.size() * 2);
}

Merge MergeTable::find(TokenId left, TokenId right) const {
  if (left < 0 || right < 0) return {};
  return slots_[slot_of(key_of(left, right))].merge;
}

void MergeScratch::run(const MergeTable& table) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShortWord) {
    run_short(table);
  } else {
    run_long(table);
  }
}

void MergeScratch::run_short(const MergeTable& table) {
  std::size_t n = symbols.size();
  Symbol* s = symbols.data();
  for (std::size_t i = 0; i + 1 < n; ++i) s[i].next = table.find(s[i].id, s[i + 1].id);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) {
      if (s[i].next.rank < s[best].next.rank) best = i;
    }
    if (s[best].next.rank == kNoRank) break;
    s[best].id = s[best].next.result;
    std::copy(s + best + 2, s + n, s + best + 1);
    --n;
    if (best + 1 < n) s[best].next = table.find(s[best].id, s[best + 1].id);
    if (best > 0) s[best - 1].next = table.find(s[best - 1].id, s[best].id);
  }
  symbols.resize(n);
}

void MergeScratch::offer(const MergeTable& table, std::uint32_t left) {
  if (left == kEnd || nodes_[left].next == kEnd) return;
  const TokenId left_id = nodes_[left].id;
  const TokenId right_id = nodes_[nodes_[left].next].id;
  const Merge merge = table.find(left_id, right_id);
  if (merge.rank == kNoRank) return;
  heap_.push_back({static_cast<std::uint64_t>(merge.rank) << 32 | left, left_id, right_id, merge.result});
  std::push_heap(heap_.begin(), heap_.end(),
                 [](const Candidate& a, const Candidate& b) { return a.order > b.order; });
}

void MergeScratch::run_long(const MergeTable& table) {
  constexpr TokenId kDead = -2;
  const auto count = static_cast<std::uint32_t>(symbols.size());
  nodes_.resize(count);
  heap_.clear();
  for (std::uint32_t i = 0; i < count; ++i) {
    nodes_[i] = {symbols[i].id, symbols[i].begin, i == 0 ? kEnd : i - 1, i + 1 == count ? kEnd : i + 1};
  }
  for (std::uint32_t i = 0; i < count; ++i) offer(table, i);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(),
                  [](const Candidate& a, const Candidate& b) { return a.order > b.order; });
    const Candidate best = heap_.back();
    heap_.pop_back();
    const auto at = static_cast<std::uint32_t>(best.order);
    const std::uint32_t right = nodes_[at].next;
    if (nodes_[at].id != best.left || right == kEnd || nodes_[right].id != best.right) continue;
    nodes_[at].id = best.result;
    nodes_[at].next = nodes_[right].next;
    nodes_[right].id = kDead;
    if (nodes_[at].next != kEnd) nodes_[nodes_[at].next].prev = at;
    offer(table, nodes_[at].prev);
    offer(table, at);
  }
  symbols.clear();
  for (std::uint32_t i = 0; i != kEnd; i = nodes_[i].next)
    symbols.push_back({nodes_[i].id, nodes_[i].begin, {}});
}

}  // namespace tw::text
