// How many prompt tokens a step may take along with generated ones, so that a long prompt does not hold up
// the answers that others are reading.
#pragma once

#include <bit>
#include <cstdint>

namespace tw::sched {

/// Learns from the steps that ran. Steps of generated tokens alone say how long one is without prompts; a
/// step with prompts is to take at most `stretch` times as long, and kQueue times that while several prompts
/// wait: what each step costs besides its tokens is then paid by all of them. Prompts advance by kLeast
/// tokens a step at least. Not thread-safe. It changes where prompts are cut, never what is computed (DESIGN,
/// Same bits).
class StepBudget {
 public:
  static constexpr std::int64_t kLeast = 8;
  /// The same while even kLeast tokens take much longer than is allowed, which what a step costs besides its
  /// tokens does far into a long prompt: few tokens then make the prompt take long for no shorter gaps.
  static constexpr std::int64_t kLeastWhenLate = 64;
  static constexpr double kQueue = 2;

  /// stretch <= 1: no limit but `most`.
  StepBudget(double stretch, std::int64_t most);

  /// For the next step, when `answers` requests have their first token and `others` do not. Where more wait
  /// for a first token than for a next one, a step may be longer by as much: all of them wait least when
  /// prompts run in whole steps.
  std::int64_t prompt_tokens(std::int64_t answers = 1, std::int64_t others = 1) const;

  /// A step ran, and `others` requests waited for their first token before it.
  void ran(std::int64_t generated_tokens, std::int64_t prompt_tokens, double seconds,
           std::int64_t others = 1);

 private:
  /// Seconds of steps without prompts, by how many tokens they generated: in bucket b, 2^b to 2^(b+1) - 1.
  struct Plain {
    double tokens = 0, seconds = 0;  ///< averages; 0: none yet
  };
  static constexpr int kBuckets = 16;
  double plain_seconds(std::int64_t generated_tokens) const;

  double stretch_;
  std::int64_t most_;
  double tokens_[2];  ///< the budget while one prompt waits, and while more do
  Plain plain_[kBuckets];
  int late_ = 0;  ///< steps of the prompt at hand that were much too long although they had kLeast tokens
};

}  // namespace tw::sched
