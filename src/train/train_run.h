// A whole training run: a recipe in, a folder with a model that serves out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/team.h"
#include "spec/train_config.h"
#include "train/run_observer.h"

namespace tw::train {

struct PreparedRun;

struct RunOptions {
  bool fresh = false;  ///< forget a run that is in the folder already
  /// Go on with the tokens that the run in the folder has, though their text has changed since, or is gone.
  bool kept_data = false;
  double peak_flops = 0;  ///< of the machine, for the share of it; 0: not known
  std::chrono::steady_clock::time_point begun =
      std::chrono::steady_clock::now();  ///< minutes count from here
  /// Called before the first step, with the recipe filled in.
  std::function<void(const PreparedRun& run)> prepared = {};
};

struct RunReport {
  bool finished = false;  ///< false: the observer stopped it, and it was saved
  std::int64_t step = 0;
  std::optional<double> validation_loss = {};  ///< of the model that was written, on all validation text
  std::int64_t model_step = 0;                 ///< the step whose weights were written
};

/// Trains as the recipe says, going on from the newest whole checkpoint if config.out has a run of the same
/// recipe, with the same bits as if it had never stopped where its stages count steps. Writes the model last.
/// The team must not be used meanwhile. Errors are one line that says what to do.
base::Result<RunReport> train_run(const spec::TrainConfig& config, base::Team& team,
                                  const RunOptions& options, RunObserver& observer);

}  // namespace tw::train
