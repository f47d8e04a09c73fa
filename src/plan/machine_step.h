// The time of steps on a calibrated machine, op by op: what forward did in a trace, priced by the machine's
// own curves, and what lies between the ops (Between), which was fitted to other steps. There is no other
// constant.
#pragma once

#include <span>
#include <vector>

#include "model/loaded_model.h"
#include "plan/machine.h"
#include "plan/serve_step.h"

namespace tw::plan {

/// The ops of a loaded model, with the types that its weights are in: of a fused product the first one's.
std::vector<MachineOp> trace_loaded(const model::LoadedModel& model);
/// Of a model that is planned: all weights of one type.
std::vector<MachineOp> trace_planned(const spec::ModelConfig& model, const BlockTrace& trace,
                                     std::string_view type);

/// Fails as MachineCurves::need does where a curve is missing that a step may ask for.
base::Status need_curves(const MachineCurves& curves, std::span<const MachineOp> ops, int threads);

/// Seconds of a serving step. Generated rows and those of prompts go through the weights one after the other,
/// as in ops. REQUIRES: need_curves() is ok.
double machine_seconds(const MachineCurves& curves, std::span<const MachineOp> ops, const StepLoad& load,
                       int threads);
/// What a step takes whatever is in it: waking the workers, and the host's work.
double machine_host_seconds(const MachineCurves& curves, StepKind kind, int threads);
/// machine_seconds without that.
double machine_added(const MachineCurves& curves, std::span<const MachineOp> ops, const StepLoad& load,
                     int threads);

/// Seconds of an op of a training step, forward and backward together, of so many sequences. The head comes
/// with the loss. REQUIRES: need_training() is ok.
double machine_train_seconds(const MachineCurves& curves, const ops::OpCost& op, double sequences);
base::Status need_training(const MachineCurves& curves);
/// The type that products of training were measured in.
base::DType machine_train_type(const MachineCurves& curves);

/// The type that weights of a plan's precision are in here: BF16, Q8_0 and Q4_0.
std::string_view machine_type(Precision precision);

}  // namespace tw::plan
