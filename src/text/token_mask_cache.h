// Masks already worked out: what one grammar state allows of one vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

namespace tw::text {

/// What a state allows, as far as that does not depend on the stack below it.
struct StateMask {
  std::vector<std::uint32_t> bits;   ///< one bit per token, or empty when `tokens` says it shorter
  std::vector<std::int32_t> tokens;  ///< the allowed tokens, if they are few
  /// Trie nodes (with children) at whose end the state's rule may be left: below them the stack decides.
  std::vector<std::uint32_t> exits;

  /// REQUIRES: out has the vocabulary's mask words.
  void add_to(std::span<std::uint32_t> out) const;
  std::size_t size_in_bytes() const {
    return 4 * (bits.size() + tokens.size() + exits.size()) + sizeof(*this);
  }
};

/// Keeps at most about `max_bytes` of masks, the oldest leave first. All methods may be called from any
/// thread.
class MaskCache {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
  explicit MaskCache(std::size_t max_bytes = kMaxBytes) : max_bytes_(max_bytes) {}

  /// The mask of a state, or null.
  std::shared_ptr<const StateMask> find(std::int32_t state) const;
  void insert(std::int32_t state, const std::shared_ptr<const StateMask>& mask);
  std::size_t size() const;

 private:
  const std::size_t max_bytes_;
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::unordered_map<std::int32_t, std::shared_ptr<const StateMask>> masks_;
  std::vector<std::int32_t> order_;  ///< states by age, from first_ on
  std::size_t first_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace tw::text
