// What a training step learns from: documents packed one after the other into a flat list of tokens. The
// loader makes it, the trainer consumes it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace tw::train {

/// T tokens of one or more documents; a token sees those before it of its own document alone. Memory is meant
/// to be reused: clear the vectors and fill them again.
struct TrainBatch {
  std::vector<std::int32_t> tokens;   ///< [T]
  std::vector<std::int32_t> offsets;  ///< [documents + 1]: where each begins in `tokens`; the last is T
  std::vector<std::int32_t>
      targets;                 ///< [T]: what should follow; any id in the vocabulary where the weight is 0
  std::vector<float> weights;  ///< [T]: of the row's loss, >= 0; 0: the row is not learnt from

  std::int64_t rows() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t documents() const {
    return offsets.empty() ? 0 : static_cast<std::int64_t>(offsets.size()) - 1;
  }

  /// Appends a document: `ids` but the last are tokens, `ids` but the first their targets, all of weight 1.
  /// REQUIRES: at least two ids.
  void add_document(const std::vector<std::int32_t>& ids);
  void clear();

  /// Lengths agree, offsets rise from 0 to T, ids are in [0, vocab), weights are finite and not negative.
  base::Status validate(std::int64_t vocab) const;
};

}  // namespace tw::train
