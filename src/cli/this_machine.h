// This machine's calibration, and runs that it is held against.
#pragma once

#include <string>
#include <vector>

#include "plan/machine_rows.h"
#include "plan/setting.h"
#include "spec/cluster_spec.h"

namespace tw::cli {

/// Where `plan calibrate` writes unless it is told: calibration.json beside the model store's models.
base::Result<std::string> calibration_path();

/// A cluster of this-machine is one accelerator, and its calibration is the store's unless it names another.
base::Status complete_this_machine(spec::ClusterSpec& cluster);

/// A training plan for this machine holds what `train --dry-run` says: the trainer's own step, traced. Fails
/// for a model that cannot be trained. Does nothing for other accelerators.
base::Status use_trainers_memory(plan::Setting& setting);

/// What the runs of set `this-machine` are.
struct MachineRuns {
  std::string calibration;          ///< empty: calibration_path()
  std::vector<std::string> models;  ///< files, folders or names; empty: the store's, the repository's own,
                                    ///< and one of 144M random weights
  int prompt = 512, generate = 128;
  int repeat = 5;  ///< rounds over all runs, of which the mean counts
  int batch = 8;   ///< sequences of the runs with several; 1: there are none
};
struct MachineScore {
  std::vector<plan::MachineRow> rows;
  double waited = 0;   ///< seconds, for the machine to be as it was calibrated
  double unusual = 0;  ///< share of the rows of which no run was on a machine as it was calibrated
};
/// Runs `bench` on each model, with every number of threads that was calibrated, and a few steps of `train`,
/// and predicts each. Runs are made again, and waited with, while the machine is not as it was when it was
/// calibrated: for two minutes in five rounds; what ran on another machine counts where there is nothing
/// else. With a progress bar.
base::Result<MachineScore> run_this_machine(const MachineRuns& runs);

}  // namespace tw::cli
