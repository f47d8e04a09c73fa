// How much of a step prompts may take along with generated tokens, so that a long prompt does not hold up the
// answers that others are reading.
#pragma once

#include <cstdint>

#include "sched/scheduler.h"

namespace tw::sched {

/// Learns from the steps that ran. Generated tokens and prompts of a step run one after the other; together
/// they are to take at most `stretch` times as long as the generated ones, and kQueue times that while
/// several prompts wait. What has no room for all layers of a chunk goes through some of them in each step
/// (layered prefill, arXiv 2510.08055): weights are then unpacked for many tokens at a time however short
/// the steps are. Prompts advance by a layer with kLeast tokens a step at least. Not thread-safe. It changes
/// where prompts are cut, never what is computed (DESIGN, Same bits).
class StepBudget {
 public:
  static constexpr std::int64_t kLeast = 32;
  /// Tokens of a chunk beside answers: with fewer, unpacking weights counts, and with more those who come
  /// meanwhile wait longer for the chunk's last layer.
  static constexpr std::int64_t kChunk = 256;
  static constexpr double kQueue = 2;

  /// stretch <= 1: no limit but `most` tokens. `layers`: of the model.
  StepBudget(double stretch, std::int64_t most, std::int64_t layers);

  /// For the next step, when `answers` requests have their first token and `others` do not. Where more wait
  /// for a first token than for a next one, a step may be longer by as much: all of them wait least when
  /// prompts run in whole steps.
  PromptShare share(std::int64_t answers = 1, std::int64_t others = 1) const;

  /// A step's generated tokens took so many seconds.
  void answered(std::int64_t tokens, double seconds);
  /// A step had so many tokens of prompts go through so many layers.
  void read(std::int64_t tokens, std::int64_t layers, double seconds);

 private:
  double stretch_;
  std::int64_t most_, layers_;
  double cost_ = 0;                     ///< seconds of a layer and a token (PromptShare); 0: none was seen
  double generated_ = 0, seconds_ = 0;  ///< tokens of a step, and what they take; 0: none yet
};

}  // namespace tw::sched
