#include "plan/estimate.h"

#include <cmath>
#include <utility>

#include "plan/schedule.h"

namespace tw::plan {
namespace {

/// Of an accelerator that waits, over its full load: H200 products of no size draw 143 of 700 W (measured,
/// aiconfigurator).
constexpr double kIdle = 0.2;

class Answer {
 public:
  Answer(const Setting& s, Estimate& e) : s_(s), e_(e) {}

  void add(const char* key, const char* title, Quantity value, const char* how) {
    e_.figures.push_back({key, title, std::move(value), {}, how});
  }
  void miss(const char* key, const char* title, std::string why) {
    e_.figures.push_back({key, title, std::nullopt, std::move(why), {}});
  }
  /// Adds a or tells why it cannot.
  template <typename F>
  std::optional<Quantity> need(const char* key, const char* title, base::Result<Quantity> a, F&& then,
                               const char* how) {
    if (!a.ok()) {
      miss(key, title, a.error().message);
      return std::nullopt;
    }
    const Quantity q = then(*a);
    add(key, title, q, how);
    return q;
  }

  base::Status time(double flops);
  void power();
  void money();

 private:
  const Setting& s_;
  Estimate& e_;
  Quantity step_, days_;
  std::optional<Quantity> watts_, energy_;
};

Quantity given(double value, bool by_user, double spread, const char* unit) {
  // What the user states is taken as stated.
  return Quantity::around(value, by_user ? 0 : spread, unit, Provenance::kAssumed);
}

base::Status Answer::time(double flops) {
  const bool known = s_.stack.rows > 0 || s_.accelerator.machine != nullptr;
  const Provenance sure = known ? e_.curves : Provenance::kAssumed;
  // A prediction is extrapolated at best, whatever it was made from.
  step_ =
      Quantity::around(e_.step_seconds, s_.spread(e_.curves), "s", weaker(sure, Provenance::kExtrapolated));
  add("step_seconds", "a step", step_, "traced ops, the pipeline's schedule simulated action by action");
  Quantity closed = step_;
  const double ratio = e_.closed_seconds / e_.step_seconds;
  closed.value *= ratio, closed.low *= ratio, closed.high *= ratio;
  add("closed_form_step_seconds", "a step, closed form", closed, "what searches compare");
  const double tokens = static_cast<double>(s_.job.batch) * static_cast<double>(s_.job.sequence);
  const double n = static_cast<double>(s_.cluster.accelerators);
  const Quantity exact = Quantity::around(tokens, 0, "tokens", Provenance::kMeasured);
  const Quantity rate = over(exact, step_, "tokens/s");
  add("tokens_per_second", "tokens a second", rate, "batch x sequence / step");
  add("model_flops", "FLOPs of the run",
      Quantity::around(flops * s_.job.total_steps(), 0, "FLOP", Provenance::kMeasured),
      "3 x the traced forward's, causal attention by seen pairs; nothing computed again");
  const auto sixteen =
      s_.accelerator[Field::kBf16] ? s_.accelerator.get(Field::kBf16) : s_.accelerator.get(Field::kFp16);
  need(
      "mfu", "MFU of the 16-bit peak", sixteen,
      [&](const Quantity& peak) {
        const Quantity work = Quantity::around(flops / n / 1e12 / peak.value * 100, 0, "%", peak.provenance);
        return over(work, step_, "%");
      },
      "model FLOPs / (step x peak)");
  const double nodes = s_.nodes();
  TW_ASSIGN_OR_RETURN(const Goodput good, goodput(nodes, s_.cluster.failures, s_.cluster.checkpoint.value,
                                                  s_.cluster.restart.value));
  const auto worse =
      goodput(nodes, 1.7 * s_.cluster.failures, s_.cluster.checkpoint.value, s_.cluster.restart.value);
  const auto better =
      goodput(nodes, 0.6 * s_.cluster.failures, s_.cluster.checkpoint.value, s_.cluster.restart.value);
  const Quantity share{100 * good.share, worse.ok() ? 100 * worse->share : 1,
                       better.ok() ? 100 * better->share : 100, "%", Provenance::kAssumed};
  if (good.mtbf > 0) {
    add("mtbf_hours", "between failures",
        {good.mtbf / 3600, good.mtbf / 3600 / 1.7, good.mtbf / 3600 / 0.6, "h", Provenance::kAssumed},
        "1,000 days / (nodes x failures)");
    add("checkpoint_interval_minutes", "checkpoint every",
        Quantity::around(good.interval / 60, 0.3, "min", Provenance::kAssumed),
        "sqrt(2 x checkpoint x MTBF), Young/Daly");
  }
  add("goodput", "goodput", share, "1 - C/I - I/(2 MTBF) - R/MTBF");
  const Quantity busy =
      times(step_, Quantity::around(s_.job.total_steps() / 86400, 0, "d", Provenance::kMeasured), "days");
  Quantity part = share;
  part.value /= 100, part.low /= 100, part.high /= 100;
  days_ = over(busy, part, "days");
  add("days", "wall-clock days", days_, "steps x step / goodput");
  return base::Ok{};
}

void Answer::power() {
  const double n = static_cast<double>(s_.cluster.accelerators);
  const double busy =
      std::min(1.0, (e_.step.compute + e_.step.recompute + e_.step.optimizer) / e_.step_seconds);
  watts_ = need(
      "megawatts", "power", s_.accelerator.get(Field::kTdp),
      [&](const Quantity& full) {
        const double load = kIdle + (1 - kIdle) * busy;
        Quantity device = times(
            full, Quantity{load, 0.85 * load, std::min(1.0, 1.1 * load), "", Provenance::kAssumed}, "W");
        device = plus(device, given(s_.cluster.host_power.value, s_.cluster.host_power.given, 0.3, "W"));
        device =
            plus(device, given(s_.cluster.network_power.value, s_.cluster.network_power.given, 0.5, "W"));
        const Quantity building = Quantity::around(s_.cluster.pue * n / 1e6, 0.05, "", Provenance::kAssumed);
        return times(device, building, "MW");
      },
      "accelerators x (TDP x (0.2 + 0.8 busy) + host + network) x PUE");
  if (!watts_) return miss("megawatt_hours", "energy", "the power is not known: give --power");
  energy_ = times(*watts_, times(days_, Quantity::around(24, 0, "", Provenance::kMeasured), "h"), "MWh");
  add("megawatt_hours", "energy", *energy_, "power x wall-clock time");
  if (s_.cluster.carbon.given)
    add("tonnes_co2", "carbon dioxide",
        times(*energy_, given(s_.cluster.carbon.value / 1e3, true, 0, ""), "t"), "energy x grid");
}

void Answer::money() {
  const double n = static_cast<double>(s_.cluster.accelerators);
  const Quantity hours =
      times(days_, Quantity::around(24 * n, 0, "", Provenance::kMeasured), "accelerator-hours");
  add("accelerator_hours", "accelerator-hours", hours, "accelerators x wall-clock time");
  if (s_.cluster.rent.given) {
    add("rent_usd", "to rent", times(hours, given(s_.cluster.rent.value, true, 0, ""), "USD"),
        "accelerator-hours x rent");
  } else {
    miss("rent_usd", "to rent", "no rent is given: --rent \"2.5 USD/h\"");
  }
  const base::Result<Quantity> price = price_of(s_.cluster, s_.accelerator);
  if (!energy_ && price.ok()) return miss("own_usd", "to own", "the energy is not known: give --power");
  need(
      "own_usd", "to own", price,
      [&](const Quantity& p) {
        const Quantity worn = times(
            times(p, days_, ""),
            Quantity::around(n * 86400 / s_.cluster.lifetime.value, 0, "", Provenance::kAssumed), "USD");
        return plus(
            worn,
            times(*energy_, given(s_.cluster.electricity.value * 1e3, s_.cluster.electricity.given, 0.3, ""),
                  "USD"));
      },
      "price x days / lifetime + energy x electricity");
}

}  // namespace

base::Result<Goodput> goodput(double nodes, double failures, double checkpoint, double restart) {
  Goodput g;
  if (failures <= 0) return g;
  g.mtbf = 1000 * 86400 / (nodes * failures);
  g.interval = std::max(1.0, std::sqrt(2 * checkpoint * g.mtbf));
  g.share = 1 - checkpoint / g.interval - g.interval / (2 * g.mtbf) - restart / g.mtbf;
  if (g.share > 0) return g;
  return base::error(
      base::Code::kInvalidArgument,
      "{:.0f} nodes fail every {:.1f} minutes and nothing is trained between: lower --restart ({:.0f} s), "
      "--checkpoint ({:.0f} s) or --failures ({})",
      nodes, g.mtbf / 60, restart, checkpoint, failures);
}

base::Result<double> model_flops(const spec::ModelConfig& model, const TrainingJob& job) {
  Tracer tracer(model);
  TW_ASSIGN_OR_RETURN(const BlockTrace* trace, tracer.get({}, {1, job.sequence, 0}));
  const auto sum = [](const std::vector<ops::OpCost>& ops) {
    double flops = 0;
    for (const ops::OpCost& op : ops) {
      if (op.kind == ops::OpKind::kMatmul || op.kind == ops::OpKind::kAttention) flops += op.flops;
    }
    return flops;
  };
  const double layers = static_cast<double>(model.layers);
  const double dense = model.experts.count > 0 ? static_cast<double>(model.experts.dense_layers) : layers;
  return 3 * static_cast<double>(job.global_batch) *
         (dense * sum(trace->dense) + (layers - dense) * sum(trace->expert) + sum(trace->head));
}

base::Status check_interleave(const spec::ParallelPlan& plan, const spec::ModelConfig& model,
                              std::int64_t global_batch) {
  if (plan.interleave == 1) return base::Ok{};
  if (plan.pipeline == 1)
    return base::error(base::Code::kInvalidArgument,
                       "interleave {} needs stages: with pp 1, interleave 1 would do", plan.interleave);
  if (plan.micro_batches(global_batch) % plan.pipeline != 0)
    return base::error(base::Code::kInvalidArgument,
                       "interleave {} needs micro-batches ({}) that divide by pp {}: interleave 1 would do",
                       plan.interleave, plan.micro_batches(global_batch), plan.pipeline);
  const std::int64_t pieces = std::int64_t{plan.pipeline} * plan.interleave;
  if (pieces <= model.layers) return base::Ok{};
  return base::error(base::Code::kInvalidArgument, "{} layers cannot make {} pieces: interleave {} would",
                     model.layers, pieces, std::max<std::int64_t>(1, model.layers / plan.pipeline));
}

std::string Estimate::memory_text() const {
  const StageMemory& m = stages[fullest];
  const auto gb = [](double bytes) { return spec::measure_text(spec::Dimension::kBytes, bytes); };
  return fmt::format(
      "it needs {} of {} (stage {}: weights {}, gradients {}, optimizer {}, activations {}, logits {}, "
      "buffers {}, "
      "framework and fragmentation {})",
      gb(m.total()), gb(capacity), fullest, gb(m.weights), gb(m.gradients), gb(m.optimizer),
      gb(m.activations), gb(m.logits), gb(m.buffers), gb(m.overhead));
}

base::Result<Estimate> estimate(const Setting& s, const spec::ParallelPlan& plan) {
  const spec::ModelConfig& model = s.model.config;
  TW_RETURN_IF_ERROR(plan.validate(model, s.cluster.accelerators, s.job.batch));
  TW_RETURN_IF_ERROR(check_interleave(plan, model, s.job.batch));
  TW_ASSIGN_OR_RETURN(const Quantity memory, s.memory());
  Tracer tracer(model);
  TW_ASSIGN_OR_RETURN(const StepBasis basis,
                      step_basis(tracer, s.training, plan, s.accelerator, s.stack.stack, s.fabric));
  TW_ASSIGN_OR_RETURN(const BlockTrace* trace,
                      tracer.get(plan_sharding(plan), {plan.micro_batch, s.training.sequence, 0}));
  Estimate e;
  e.plan = plan;
  e.basis = basis;
  e.curves = basis.provenance;
  e.closed_seconds = step_seconds(basis, s.stack.constants);
  TW_ASSIGN_OR_RETURN(e.step_seconds, simulated_step(basis, s.stack.constants));
  e.step = step_time(basis, s.stack.constants, e.step_seconds);
  e.capacity = memory.value;
  const MemoryBasis held = memory_basis(model, *trace, s.training, plan, s.stack.stack);
  for (int stage = 0; stage < plan.pipeline; ++stage) {
    e.stages.push_back(stage_memory(held, plan, basis.micro_batches, stage));
    if (s.own_memory) {
      TW_ASSIGN_OR_RETURN(e.stages.back(), s.own_memory(plan));
    }
    if (e.stages.back().total() > e.stages[e.fullest].total()) e.fullest = stage;
  }
  TW_ASSIGN_OR_RETURN(const double flops, model_flops(model, s.training));
  Answer answer(s, e);
  TW_RETURN_IF_ERROR(answer.time(flops));
  answer.power();
  answer.money();
  return e;
}

}  // namespace tw::plan
