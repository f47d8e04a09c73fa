#include "model/batch.h"

#include <algorithm>

namespace tw::model {

void Batch::add(std::span<const std::int32_t> tokens, std::int64_t past, const std::int32_t* blocks,
                bool generated, const ops::LowRank* adapter) {
  if (generated) {
    TW_CHECK(generated_rows_ == rows(), "generated tokens come before those of prompts");
    generated_rows_ += static_cast<std::int64_t>(tokens.size());
  }
  const auto first = static_cast<std::int32_t>(tokens_.size());
  const auto count = static_cast<std::int32_t>(tokens.size());
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  for (std::int32_t i = 0; i < count; ++i) positions_.push_back(static_cast<std::int32_t>(past) + i);
  row_blocks_.insert(row_blocks_.end(), tokens.size(), blocks);
  constexpr auto kTile = static_cast<std::int32_t>(kernels::kAttentionRows);
  for (std::int32_t i = 0; i < count; i += kTile)
    tiles_.push_back({first + i, first + std::min(i + kTile, count)});
  if (adapter != nullptr && count > 0) add_adapter(first, generated, *adapter);
}

/// Sequences beside each other with one adapter and of one phase are one run.
void Batch::add_adapter(std::int64_t begin, bool generated, const ops::LowRank& adapter) {
  if (!adapters_.empty()) {
    ops::AdapterRun& last = adapters_.back();
    const bool same_phase = generated || last.begin >= generated_rows_;
    if (last.end == begin && last.linears == &adapter && same_phase) {
      last.end = rows();
      return;
    }
  }
  adapters_.push_back({begin, rows(), &adapter});
}

void Batch::add_group(std::int64_t count, std::int64_t fresh, std::int64_t past) {
  groups_.push_back({count, fresh, past});
  const auto rows = static_cast<std::size_t>(count * fresh);
  tokens_.resize(tokens_.size() + rows);
  positions_.resize(tokens_.size());
  row_blocks_.resize(tokens_.size());
}

void Batch::clear() {
  groups_.clear();
  adapters_.clear();
  tokens_.clear();
  positions_.clear();
  output_rows_.clear();
  row_blocks_.clear();
  tiles_.clear();
  generated_rows_ = 0;
}

}  // namespace tw::model
