// How many prompt tokens a step may take along with generated ones, so that a long prompt does not hold up
// the answers that others are reading.
#pragma once

#include <cstdint>

namespace tw::infer {

/// Learns from the steps that ran. Steps of generated tokens alone say how long one is without prompts; a
/// step with prompts is to take at most `stretch` times as long. Prompts advance by kLeast tokens a step at
/// least. Not thread-safe. It changes where prompts are cut, never what is computed (DESIGN, Same bits).
class StepBudget {
 public:
  static constexpr std::int64_t kLeast = 8;

  /// stretch <= 1: no limit but `most`.
  StepBudget(double stretch, std::int64_t most);

  /// For the next step, if it has generated tokens, when `answers` requests have their first token and
  /// `others` do not. Where more wait for a first token than for a next one, a step may be longer by as much:
  /// all of them wait least when prompts run in whole steps.
  std::int64_t prompt_tokens(std::int64_t answers = 1, std::int64_t others = 1) const;

  void ran(std::int64_t generated_tokens, std::int64_t prompt_tokens, double seconds);

 private:
  double stretch_;
  std::int64_t most_;
  double tokens_;         ///< the budget
  double plain_seconds_;  ///< of a step without prompts; 0: none yet
};

}  // namespace tw::infer
