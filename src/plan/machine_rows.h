// The set `this-machine`: what a calibration predicts of runs of Tokenworks itself, against what they took.
#pragma once

#include <string>
#include <vector>

#include "plan/machine_step.h"
#include "plan/validate.h"

namespace tw::plan {

/// A run, in tokens a second.
struct MachineRow {
  std::string what;  ///< "stories260K Q8_0, 2 threads, batch 1: decode"
  double measured = 0, predicted = 0;
  std::string problem;  ///< why nothing is predicted; empty: something is
  double error() const { return predicted / measured - 1; }
};

/// What `bench` asks an engine for: so many sequences at once, all with prompts of one length.
struct MachineLoad {
  int threads = 1;
  std::int64_t prompt = 512, generate = 128, batch = 1;
};
/// Tokens a second of a prompt, which is one step, or of answers, in the middle of them. Fails as
/// need_curves.
base::Result<double> predict_prefill(const MachineCurves& curves, const model::LoadedModel& model,
                                     const MachineLoad& load);
base::Result<double> predict_decode(const MachineCurves& curves, const model::LoadedModel& model,
                                    const MachineLoad& load);

/// Of training steps of `batch` sequences, `together` of them at a time, with as many workers as the curves'.
base::Result<double> predict_training_speed(std::shared_ptr<const MachineCurves> curves,
                                            const spec::ModelConfig& model, std::int64_t sequence,
                                            std::int64_t batch, std::int64_t together);

/// Target: 10 %.
SetScore score_machine(const std::vector<MachineRow>& rows);

}  // namespace tw::plan
