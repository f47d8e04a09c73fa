// Measured training runs, read from a file with the columns of data/planner/training_measured.csv.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/training.h"

namespace tw::plan {

struct TrainingRow {
  int number = 0;  ///< line of the file's data, from 1
  std::string system, model_name, set, accelerator;
  spec::ModelConfig model;
  spec::ParallelPlan plan;
  TrainingJob job;
  double gpus = 0;
  double seconds = 0;   ///< measured, of one step
  std::string problem;  ///< why it cannot be predicted; empty: it can
  bool scored = false;  ///< counts in its set (see set_of); an unscored row is listed

  /// What rows of one model have in common: constants that score it are fitted without any of them.
  std::string group() const;
};

/// Fails where the file itself is broken, or a field is no number that should be; a row that says too little
/// has a problem and stays.
base::Result<std::vector<TrainingRow>> read_training_rows(std::string_view csv, const std::string& where);

/// FLOPs of a step by the model's own count: six for each parameter and token (eight where the source counts
/// what is computed again) and attention's, whole or, with `causal`, half.
double counted_flops(const TrainingRow& row, bool recomputed, bool causal);

}  // namespace tw::plan
