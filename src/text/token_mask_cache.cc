#include "text/token_mask_cache.h"

#include <algorithm>

namespace tw::text {

void StateMask::add_to(std::span<std::uint32_t> out) const {
  for (std::size_t i = 0; i < bits.size(); ++i) out[i] |= bits[i];
  for (const std::int32_t t : tokens) out[static_cast<std::size_t>(t) >> 5] |= 1U << (t & 31);
}

std::shared_ptr<const StateMask> MaskCache::find(std::int32_t state) const {
  const std::lock_guard lock(mutex_);
  const auto it = masks_.find(state);
  return it == masks_.end() ? nullptr : it->second;
}

void MaskCache::insert(std::int32_t state, const std::shared_ptr<const StateMask>& mask) {
  const std::lock_guard lock(mutex_);
  const std::size_t size = mask->size_in_bytes();
  if (!masks_.try_emplace(state, mask).second) return;
  bytes_ += size;
  order_.push_back(state);
  while (bytes_ > max_bytes_ && first_ + 1 < order_.size()) {
    const auto oldest = masks_.find(order_[first_++]);
    bytes_ -= oldest->second->size_in_bytes();
    masks_.erase(oldest);
  }
  if (first_ > 1024 && 2 * first_ > order_.size()) {
    order_.erase(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

std::size_t MaskCache::size() const {
  const std::lock_guard lock(mutex_);
  return masks_.size();
}

}  // namespace tw::text
