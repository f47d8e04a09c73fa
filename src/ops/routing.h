// Which experts the rows of a step take, and the rows of each expert. For src/ops alone.
#pragma once

#include <algorithm>

#include "ops/exec.h"

namespace tw::ops {

/// Rows of one expert and one phase: slots [begin, begin + rows) of the order.
struct ExpertRows {
  std::int64_t expert = 0;
  bool prompt = false;
  std::int64_t begin = 0, rows = 0;
  std::int64_t number = 0;  ///< of those with rows, in their order
};

/// Each row's experts, and an order of all (row, expert) in which those of an expert lie together: first its
/// generated rows and then those of prompts, as they follow each other in the step. Complete when `route`
/// returns; while tracing without data.
struct Routing {
  std::int64_t rows = 0, experts = 0, chosen = 0;
  std::int64_t most = 0;           ///< rows that an expert takes; 0: any
  std::int32_t* expert = nullptr;  ///< [T, chosen], the likeliest first
  float* weight = nullptr;         ///< [T, chosen]
  std::int32_t* slot = nullptr;    ///< [T, chosen]: its place in the order; -1: the expert was full
  std::int32_t* row = nullptr;     ///< [T * chosen]: of each slot
  std::int32_t* first =
      nullptr;  ///< [2 * experts + 1]: first slots, expert * 2 + phase; the last is their number
  std::int32_t* used = nullptr;    ///< how many of those have rows
  std::int32_t* wanted = nullptr;  ///< [experts]: rows that chose it, full or not; null: all were taken

  std::int64_t choices() const { return rows * chosen; }
  /// Places in the order, at most.
  std::int64_t slots() const { return most == 0 ? choices() : std::min(choices(), experts * most); }
  /// Rows of one expert, at most.
  std::int64_t most_rows() const { return most == 0 ? rows : std::min(rows, most); }
  /// Calls f(ExpertRows) for all that have rows.
  template <typename F>
  void each(F&& f) const {
    std::int64_t number = 0;
    for (std::int64_t i = 0; i < 2 * experts; ++i) {
      if (first[i] < first[i + 1])
        f(ExpertRows{i / 2, i % 2 == 1, first[i], first[i + 1] - first[i], number++});
    }
  }
};

/// By logits [T, experts]: the `chosen` largest of a row, of equals the first ones; their weights are those
/// of softmax over all experts, or with `normed` over the chosen. `most`: an expert's rows, as ExpertWeights
/// says; 0: any. Memory is the arena's. Ends with a barrier.
Routing route(Exec& ex, Tensor logits, std::int64_t chosen, bool normed, std::int64_t generated,
              std::int64_t most = 0);

}  // namespace tw::ops
