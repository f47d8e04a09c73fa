// Predicted against measured serving.
#pragma once

#include <string>
#include <vector>

#include "plan/serving_rows.h"
#include "plan/validate.h"

namespace tw::plan {

struct ServePrediction {
  const ServingRow* row = nullptr;
  double closed = 0, simulated = 0;  ///< seconds per output token
  double first_token = 0;            ///< seconds, simulated
  double tokens_per_second = 0;      ///< of MLPerf rows
  std::string problem;               ///< why there is none; empty: there is
  bool typical = false;              ///< its stack is unknown and took the median one's constants
  Provenance curves = Provenance::kMeasured;
};

/// A stack's constants as serving plans are made with them.
struct FittedServing {
  ServeStack stack;
  ServeConstants constants = kTypicalServing;
  int rows = 0;      ///< that they were fitted on; 0: the median of the fitted stacks
  double error = 0;  ///< mean absolute error of these rows
};

/// Predicts each row with constants of its stack, fitted on `known` rows of that stack and of other
/// deployments than the row's own. In the order of `rows`, which must outlive the result.
std::vector<ServePrediction> predict_serving(const std::vector<ServingRow>& rows,
                                             const std::vector<ServingRow>& known);

/// Scores of all sets that have rows.
std::vector<SetScore> score_serving(const std::vector<ServePrediction>& predictions);

/// By any row's `system` or a stack's name; unknown ones get the median stack's constants.
FittedServing fit_serving_stack(const std::vector<ServingRow>& known, const std::string& name);

}  // namespace tw::plan
