#include "plan/machine_rows.h"

#include <cmath>

#include "plan/machine_stack.h"
#include "plan/statistics.h"
#include "plan/training.h"

namespace tw::plan {

base::Result<double> predict_prefill(const MachineCurves& curves, const model::LoadedModel& model,
                                     const MachineLoad& load) {
  const std::vector<MachineOp> ops = trace_loaded(model);
  TW_RETURN_IF_ERROR(need_curves(curves, ops, load.threads));
  const auto tokens = static_cast<double>(load.prompt);
  const StepLoad step{0, 0, tokens, tokens * (tokens + 1) / 2, tokens};
  return tokens / machine_seconds(curves, ops, step, load.threads);
}

base::Result<double> predict_decode(const MachineCurves& curves, const model::LoadedModel& model,
                                    const MachineLoad& load) {
  const std::vector<MachineOp> ops = trace_loaded(model);
  TW_RETURN_IF_ERROR(need_curves(curves, ops, load.threads));
  const auto batch = static_cast<double>(load.batch);
  const double keys = static_cast<double>(load.prompt) + static_cast<double>(load.generate) / 2 + 1;
  return batch / machine_seconds(curves, ops, {batch, batch * keys, 0, 0, 0}, load.threads);
}

base::Result<double> predict_training_speed(std::shared_ptr<const MachineCurves> curves,
                                            const spec::ModelConfig& model, std::int64_t sequence,
                                            std::int64_t batch, std::int64_t together) {
  const FittedStack software = machine_training(*curves);
  const Accelerator machine = machine_accelerator(std::move(curves));
  spec::ParallelPlan plan;
  plan.micro_batch = static_cast<int>(together);
  TW_RETURN_IF_ERROR(plan.validate(model, 1, batch));
  TrainingJob job;
  job.sequence = sequence, job.global_batch = batch;
  Tracer tracer(model);
  TW_ASSIGN_OR_RETURN(const StepBasis basis, step_basis(tracer, job, plan, machine, software.stack));
  return static_cast<double>(batch * sequence) / step_seconds(basis, software.constants);
}

SetScore score_machine(const std::vector<MachineRow>& rows) {
  SetScore score;
  score.set = "this-machine";
  score.metric = "tokens/s MAPE %";
  score.target = 10;
  std::vector<double> errors;
  for (const MachineRow& row : rows) {
    ++score.rows;
    if (row.problem.empty())
      errors.push_back(100 * std::fabs(row.error()));
    else
      ++score.unpredicted;
  }
  score.value = mean(errors);
  score.met = !errors.empty() && score.value <= score.target;
  return score;
}

}  // namespace tw::plan
