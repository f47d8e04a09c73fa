#include "plan/mixed.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

namespace tw::plan {
namespace {

double dense_among(const MemoryBasis& b, int first, int count) {
  return std::clamp(b.dense_layers - first, 0.0, static_cast<double>(count));
}

}  // namespace

bool MixedStep::fits() const {
  return std::ranges::all_of(stages, [](const PlacedStage& s) { return s.fits(); });
}

const PlacedStage& MixedStep::slowest() const {
  return *std::ranges::max_element(stages, {}, [](const PlacedStage& s) { return s.seconds(); });
}

Pipeline MixedStep::pipeline() const {
  Pipeline p;
  for (const PlacedStage& s : stages) {
    const bool last = &s == &stages.back();
    const double forward = s.forward - (last ? head / 3 : 0),
                 backward = s.backward - (last ? head * 2 / 3 : 0);
    p.stages.push_back({forward, backward / 2, backward / 2});
    // Ends send one way; all messages take as long.
    p.send = std::max(p.send, s.send / (last || s.first == 0 ? 1 : 2));
  }
  p.head = {head / 3, head / 3, head / 3};
  return p;
}

base::Status MixedPlanner::prepare(const spec::ParallelPlan& plan) {
  const spec::ModelConfig& model = s_.model.config;
  const Key key{plan.data,   plan.tensor,   plan.pipeline,    plan.context,
                plan.expert, plan.sequence, plan.micro_batch, plan.recompute};
  if (trace_ == nullptr || key != known_) {
    tracer_.forget();
    trace_ = nullptr;
    TW_ASSIGN_OR_RETURN(const BlockTrace* trace,
                        tracer_.get(plan_sharding(plan), {plan.micro_batch, s_.training.sequence, 0}));
    for (int k = 0; k < 2; ++k) {
      TW_ASSIGN_OR_RETURN(layers_[k], layers_basis(model, *trace, s_.training, plan, s_.kinds[k].accelerator,
                                                   s_.stack.stack, s_.kinds[k].fabric));
    }
    memory_ = memory_basis(model, *trace, s_.training, plan, s_.stack.stack);
    trace_ = trace, known_ = key;
  }
  for (int k = 0; k < 2; ++k) {
    const Kind& kind = s_.kinds[k];
    OnKind& on = kinds_[k];
    static_cast<LayersBasis&>(on.basis) = layers_[k];
    TW_ASSIGN_OR_RETURN(
        static_cast<ReplicasBasis&>(on.basis),
        replicas_basis(model, *trace_, s_.training, plan, kind.accelerator, s_.stack.stack, kind.fabric));
    on.basis.layers = static_cast<double>(model.layers), on.basis.pipeline = plan.pipeline;
    on.basis.micro_batches = static_cast<double>(plan.micro_batches(s_.job.batch));
    on.basis.zero = plan.zero, on.basis.overlaps_gradients = s_.stack.stack.overlaps_gradients;
    const Constants& c = s_.stack.constants;
    on.dense = beside_seconds(on.basis, false, c), on.expert = beside_seconds(on.basis, true, c);
    on.dense_work = layer_work(on.basis.dense, c), on.expert_work = layer_work(on.basis.expert, c);
    const StepParts parts = step_parts(on.basis, c);
    on.head = parts.head, on.send = parts.send;
    TW_ASSIGN_OR_RETURN(const Quantity memory, memory_of(kind.cluster, kind.accelerator));
    on.capacity = memory.value;
  }
  return base::Ok{};
}

PlacedStage MixedPlanner::place(const spec::ParallelPlan& plan, std::size_t kind, int stage, int first,
                                int count) const {
  const OnKind& on = kinds_[kind];
  const double dense = dense_among(memory_, first, count), expert = count - dense;
  const bool last = stage + 1 == plan.pipeline, end = last || stage == 0;
  const double head = last ? on.head : 0;
  PlacedStage s;
  s.kind = kind, s.first = first, s.layers = count;
  s.forward = dense * on.dense.forward + expert * on.expert.forward + head / 3;
  s.backward = dense * on.dense.backward + expert * on.expert.backward + head * 2 / 3;
  // A message goes at the pace of the slower kind, which it may reach; ends have one neighbour.
  s.send = std::max(kinds_[0].send, kinds_[1].send) * (end ? 0.5 : 1);
  s.computing = dense * on.dense_work.first + expert * on.expert_work.first + head;
  s.again = dense * on.dense_work.again + expert * on.expert_work.again;
  s.capacity = on.capacity;
  s.memory = stage_memory(memory_, plan, on.basis.micro_batches, stage, first, count);
  return s;
}

base::Result<MixedStep> MixedPlanner::ordered(const spec::ParallelPlan& plan, bool second_first) {
  const std::int64_t wide = plan.ranks() / plan.pipeline;
  const std::size_t front = second_first ? 1 : 0;
  const auto of_front = static_cast<int>(s_.kinds[front].cluster.accelerators / wide);
  const auto kind = [&](int stage) { return stage < of_front ? front : 1 - front; };
  bool limited = true;
  const StageCost cost = [&](int stage, int first, int count) {
    const PlacedStage s = place(plan, kind(stage), stage, first, count);
    return limited && !s.fits() ? std::numeric_limits<double>::infinity() : s.seconds();
  };
  const auto layers = static_cast<int>(s_.model.config.layers);
  auto split = split_layers(layers, plan.pipeline, cost);
  if (!split) {  // what it would be if memory were no matter tells what does not fit
    limited = false;
    split = split_layers(layers, plan.pipeline, cost);
  }
  TW_CHECK(split.has_value(), "layers can always be dealt when nothing limits them");
  MixedStep step;
  for (int stage = 0, first = 0; stage < plan.pipeline; first += split->layers[stage], ++stage)
    step.stages.push_back(place(plan, kind(stage), stage, first, split->layers[stage]));
  step.head = kinds_[step.stages.back().kind].head;
  step.provenance = weaker(layers_[0].provenance, layers_[1].provenance);
  TW_RETURN_IF_ERROR(finish(plan, step));
  const double micro_batches = kinds_[0].basis.micro_batches;
  step.seconds =
      (micro_batches - 1) * split->slowest + split->together + step.gradients + step.optimizer + step.rest;
  return step;
}

base::Status MixedPlanner::finish(const spec::ParallelPlan& plan, MixedStep& step) const {
  step.rest = s_.stack.constants[static_cast<int>(Constant::kStep)];
  for (PlacedStage& s : step.stages) {
    const Kind& kind = s_.kinds[s.kind];
    const double dense = dense_among(memory_, s.first, s.layers), expert = s.layers - dense;
    StageParameters held{dense * trace_->dense_parameters + expert * trace_->expert_parameters,
                         expert * trace_->routed_parameters};
    if (&s == &step.stages.front()) held.own += trace_->embed_parameters;
    if (&s == &step.stages.back())
      held.own += memory_.tied ? trace_->embed_parameters : trace_->head_parameters;
    StepBasis basis = kinds_[s.kind].basis;
    TW_ASSIGN_OR_RETURN(static_cast<ReplicasBasis&>(basis),
                        stage_replicas_basis(s_.model.config, *trace_, held, s_.training, plan,
                                             kind.accelerator, s_.stack.stack, kind.fabric));
    const StepParts parts = step_parts(basis, s_.stack.constants);
    // Behind the last micro-batch's backward, about two thirds of a micro-batch, as in step_formula.
    const double hidden = parts.overlaps ? (s.forward + s.backward) * 2 / 3 : 0;
    s.optimizer = parts.optimizer;
    step.gradients = std::max(step.gradients, exposed_gradients(parts, hidden));
    step.optimizer = std::max(step.optimizer, parts.optimizer);
  }
  return base::Ok{};
}

base::Result<MixedStep> MixedPlanner::step(const spec::ParallelPlan& plan) {
  TW_RETURN_IF_ERROR(prepare(plan));
  TW_ASSIGN_OR_RETURN(MixedStep first, ordered(plan, false));
  TW_ASSIGN_OR_RETURN(MixedStep second, ordered(plan, true));
  const bool better = std::pair(!second.fits(), second.seconds) < std::pair(!first.fits(), first.seconds);
  return better ? std::move(second) : std::move(first);
}

namespace {

std::vector<int> divisors(std::int64_t whole) {
  std::vector<int> result;
  for (std::int64_t d = 1; d <= whole; ++d) {
    if (whole % d == 0) result.push_back(static_cast<int>(d));
  }
  return result;
}

/// "; the nearest plan that works: ...": the sizes nearest to those of the plan, of which the first that
/// fits.
std::string nearest_mixed(const Setting& s, const spec::ParallelPlan& plan) {
  const std::int64_t all = s.accelerators();
  const std::int64_t common = std::gcd(s.kinds[0].cluster.accelerators, s.kinds[1].cluster.accelerators);
  std::vector<std::pair<double, spec::ParallelPlan>> near;
  const auto apart = [](double a, double b) { return std::fabs(std::log2(a / std::max(b, 1.0))); };
  for (const int wide : divisors(common)) {
    for (const int tensor : divisors(wide)) {
      for (const int context : divisors(wide / tensor)) {
        spec::ParallelPlan p = plan;
        p.tensor = tensor, p.context = context, p.data = wide / tensor / context, p.interleave = 1;
        p.offload = spec::Offload::kNone;
        p.pipeline = static_cast<int>(all / wide);
        if (!p.validate(s.model.config, all, s.job.batch).ok()) continue;
        // How layers and sequences are cut was meant; replicas are what is left over.
        near.emplace_back(4 * apart(tensor, plan.tensor) + 4 * apart(context, plan.context) +
                              apart(p.pipeline, plan.pipeline),
                          p);
      }
    }
  }
  // Of those as near, narrow stages come first.
  const auto order = [](const auto& entry) {
    const spec::ParallelPlan& p = entry.second;
    return std::tuple(entry.first, p.data * p.tensor * p.context, p.tensor, p.context);
  };
  std::sort(near.begin(), near.end(), [&](const auto& a, const auto& b) { return order(a) < order(b); });
  MixedPlanner planner(s);
  for (const auto& [off, p] : near) {
    const auto step = planner.step(p);
    if (step.ok() && step->fits()) return "; the nearest plan that works: " + p.text();
  }
  return near.empty() ? "; no pipeline over both divides this model and batch"
                      : "; the nearest that divides, but does not fit: " + near[0].second.text();
}

}  // namespace

base::Status check_mixed(const Setting& s, const spec::ParallelPlan& plan) {
  const auto wrong = [&](const std::string& why) {
    return base::error(base::Code::kInvalidArgument, "{} x {} and {} x {} {}{}",
                       s.kinds[0].cluster.accelerators, s.kinds[0].accelerator.name,
                       s.kinds[1].cluster.accelerators, s.kinds[1].accelerator.name, why,
                       nearest_mixed(s, plan));
  };
  TW_RETURN_IF_ERROR(plan.check_sizes());
  if (plan.offload != spec::Offload::kNone)
    return wrong(fmt::format("do not offload ({} was asked for)", spec::offload_name(plan.offload)));
  if (plan.interleave != 1) return wrong(fmt::format("hold one piece a stage, not {}", plan.interleave));
  if (plan.pipeline == 1) return wrong("need a pipeline, whose stages lie on one kind each");
  const std::int64_t wide = std::int64_t{plan.data} * plan.tensor * plan.context;
  for (const Kind& kind : s.kinds) {
    if (kind.cluster.accelerators % wide != 0 || wide * plan.pipeline != s.accelerators())
      return wrong(
          fmt::format("do not make {} stages of {} accelerators of one kind each", plan.pipeline, wide));
  }
  return base::Ok{};
}

}  // namespace tw::plan
