// Measured serving runs, read from a file with the columns of data/planner/inference_measured.csv.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/presets.h"
#include "plan/serving.h"

namespace tw::plan {

struct ServingRow {
  int number = 0;  ///< line of the file's data, from 1
  std::string system, model_name, accelerator_name, scenario, parallel;
  std::string set;  ///< serve-dense, serve-moe or serve-mlperf; empty: of no set
  const PlannedModel* model = nullptr;
  const Accelerator* accelerator = nullptr;
  double accelerators = 1;
  Precision precision = Precision::kBf16;
  ServeSplit split;
  ServeLoad load;                            ///< of one group of ranks
  double output_token = 0, first_token = 0;  ///< measured, seconds; 0: not stated
  double tokens_per_second = 0;              ///< of the whole system
  std::string problem;                       ///< why it cannot be predicted; empty: it can
  bool scored = false;                       ///< counts in its set; an unscored row is listed

  /// Of an MLPerf row, as 5.1; 0: it states none.
  double round() const;

  /// One deployment: constants that score a row are fitted without any row of its deployment.
  std::string group() const;
};

/// Fails where the file itself is broken, or a field is no number that should be; a row that says too little
/// has a problem and stays.
base::Result<std::vector<ServingRow>> read_serving_rows(std::string_view csv, const std::string& where);

}  // namespace tw::plan
