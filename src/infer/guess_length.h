// How many tokens a draft model should guess: as many as are worth their time.
#pragma once

#include <cstdint>

namespace tw::infer {

/// What guessing costs, learnt from the steps that ran. Seconds; 0: not known yet. Not thread-safe.
class GuessCosts {
 public:
  /// A pass of the draft model over one token of each sequence.
  void drafted(double seconds) { blend(draft_, seconds); }
  /// A step of the model itself without prompts: `extra` of its rows were guesses.
  void stepped(std::int64_t extra, double seconds);

  double draft() const { return draft_; }
  double step() const { return step_; }
  double row() const { return row_; }

 private:
  static void blend(double& mean, double value) { mean = mean == 0 ? value : mean + (value - mean) / 8; }
  double draft_ = 0, step_ = 0, row_ = 0;
};

/// Follows one sequence: how often guesses come true decides how long the next one is.
class GuessLength {
 public:
  static constexpr std::int64_t kLongest = 15;

  /// Guesses for the next step, at most `limit`: the number that makes tokens per second largest (arXiv
  /// 2211.17192, theorem 3.8, with costs as measured); now and then a few although it does not pay, to see
  /// whether it does again.
  std::int64_t choose(const GuessCosts& costs, std::int64_t limit);
  /// How a guess went: its first `right` tokens came true.
  void learn(std::int64_t guessed, std::int64_t right);

 private:
  double rate_ = 0.7;  ///< how likely a guess is right when those before it were
  std::int64_t since_guess_ = 0;
};

}  // namespace tw::infer
