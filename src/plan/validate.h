// Predicted against measured: what the planner is worth.
#pragma once

#include <string>
#include <vector>

#include "plan/training_rows.h"

namespace tw::plan {

struct Prediction {
  const TrainingRow* row = nullptr;
  double seconds = 0;
  std::string problem;   ///< why there is none; empty: there is
  bool typical = false;  ///< its stack has no runs of other models and took the medians of the others
  /// Predicted over measured, less one.
  double error() const { return seconds / row->seconds - 1; }
};

/// One line of `plan validate`.
struct SetScore {
  std::string set;
  int rows = 0, unpredicted = 0;
  std::string metric;
  double value = 0, target = 0;
  bool met = false;
};

/// The set `search`: how fast plans are tried, in processor time, on one core and for 1T parameters on 4,096
/// accelerators on two.
std::vector<SetScore> score_search();

/// Predicts each row with constants of its stack, fitted on `known` rows of that stack and of other models
/// than the row's own. In the order of `rows`, which must outlive the result.
std::vector<Prediction> predict_training(const std::vector<TrainingRow>& rows,
                                         const std::vector<TrainingRow>& known);

/// Scores of all sets that have rows.
std::vector<SetScore> score_training(const std::vector<Prediction>& predictions);

/// A stack's constants as plans are made with them.
struct FittedStack {
  Stack stack;
  Constants constants = kTypical;
  int rows = 0;          ///< that they were fitted on; 0: none, and each is the median of all fitted stacks
  double error = 0;      ///< mean absolute error of these rows
  std::string measured;  ///< where there are none: the names that have some
};
/// By name, such as "Megatron-Bridge". One that `known` has no usable rows of takes, of each constant, the
/// median over the stacks that have at least kMedianRows, and what unknown software does (stack_of).
FittedStack fit_stack(const std::vector<TrainingRow>& known, const std::string& name);
inline constexpr std::size_t kMedianRows = 3;

}  // namespace tw::plan
