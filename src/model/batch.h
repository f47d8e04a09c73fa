// A step's input: a flat list of tokens. The serving scheduler and the training loader both make it: mixed
// prefill and decode, packed documents and padding-free training are the same thing to the model.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops.h"

namespace tw::model {

/// The paged keys and values of all layers.
struct KvView {
  std::vector<kernels::KvLayer> layers;
  std::int64_t longest = 0;  ///< largest position + 1 that can occur
};

class Batch {
 public:
  /// Appends `tokens` of one sequence that has `past` tokens in the cache already. `blocks` is its block
  /// table and must outlive the batch. `generated` says that decode's bits are wanted (DESIGN, Same bits).
  /// `adapter`: what is added to the linear layers, by their numbers (Param::linear); null: nothing. It must
  /// outlive the batch. REQUIRES: generated tokens come before those of prompts.
  void add(std::span<const std::int32_t> tokens, std::int64_t past, const std::int32_t* blocks,
           bool generated, const ops::LowRank* adapter = nullptr);

  /// For tracing: `count` sequences of `fresh` tokens each, after `past` that are in the cache.
  void add_group(std::int64_t count, std::int64_t fresh, std::int64_t past);

  /// Asks for the output of a row (an index into tokens()).
  void want(std::int64_t row) { output_rows_.push_back(static_cast<std::int32_t>(row)); }
  void clear();

  /// The first so many rows are generated tokens.
  std::int64_t generated_rows() const { return generated_rows_; }
  std::int64_t rows() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::span<const std::int32_t> tokens() const { return tokens_; }
  std::span<const std::int32_t> positions() const { return positions_; }
  std::span<const std::int32_t* const> row_blocks() const { return row_blocks_; }
  std::span<const ops::AttentionPlace::Tile> tiles() const { return tiles_; }
  std::span<const std::int32_t> output_rows() const { return output_rows_; }
  std::span<const ops::AttentionPlace::Group> groups() const { return groups_; }
  std::span<const ops::AdapterRun> adapters() const { return adapters_; }

 private:
  void add_adapter(std::int64_t begin, bool generated, const ops::LowRank& adapter);

  std::vector<std::int32_t> tokens_, positions_, output_rows_;
  std::vector<const std::int32_t*> row_blocks_;
  std::vector<ops::AttentionPlace::Tile> tiles_;
  std::vector<ops::AttentionPlace::Group> groups_;
  std::vector<ops::AdapterRun> adapters_;
  std::int64_t generated_rows_ = 0;
};

}  // namespace tw::model
