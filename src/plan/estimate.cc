#include "plan/estimate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "plan/schedule.h"

namespace tw::plan {
namespace {

/// Of an accelerator that waits, over its full load: H200 products of no size draw 143 of 700 W (measured,
/// aiconfigurator).
constexpr double kIdle = 0.2;

/// Accelerators of one kind, in an answer.
struct Part {
  const Accelerator* accelerator = nullptr;
  const spec::ClusterSpec* cluster = nullptr;
  double count = 0, busy = 0;  ///< busy: share of the step in which they compute
  const char* suffix = "";     ///< of keys
  const char* prefix = "";     ///< of flags
};

class Answer {
 public:
  Answer(const Setting& s, Estimate& e) : s_(s), e_(e) {
    const auto count = [](const spec::ClusterSpec& c) { return static_cast<double>(c.accelerators); };
    if (!s.mixed()) {
      // What hosts update, accelerators do not.
      const double update = e.plan.offload == spec::Offload::kNone ? e.step.optimizer : 0;
      const double busy = std::min(1.0, (e.step.compute + e.step.recompute + update) / e.step_seconds);
      parts_.push_back({&s.accelerator, &s.cluster, count(s.cluster), busy, "", ""});
    }
    for (std::size_t k = 0; k < s.kinds.size(); ++k)
      parts_.push_back({&s.kinds[k].accelerator, &s.kinds[k].cluster, count(s.kinds[k].cluster), e.busy[k],
                        k == 0 ? "_first" : "_second", k == 0 ? "" : "second-"});
  }

  void add(std::string key, std::string title, Quantity value, const char* how) {
    e_.figures.push_back({std::move(key), std::move(title), std::move(value), {}, how});
  }
  void miss(const char* key, const char* title, std::string why) {
    e_.figures.push_back({key, title, std::nullopt, std::move(why), {}});
  }
  /// Adds the sum over the kinds, and of two each besides, or tells why there is none.
  template <typename Of>
  std::optional<Quantity> sum(const char* key, const char* title, const char* how, Of&& of) {
    std::optional<Quantity> all;
    std::vector<Figure> each;
    for (const Part& part : parts_) {
      const base::Result<Quantity> q = of(part);
      if (!q.ok()) {
        miss(key, title, q.error().message);
        return std::nullopt;
      }
      each.push_back({fmt::format("{}{}", key, part.suffix),
                      fmt::format("  {}, {}", title, part.accelerator->name),
                      *q,
                      {},
                      how});
      all = all ? plus(*all, *q) : *q;
    }
    add(key, title, *all, how);
    if (each.size() > 1) e_.figures.insert(e_.figures.end(), each.begin(), each.end());
    return all;
  }

  base::Status time(double flops);
  base::Status wall_clock();
  base::Status host();
  void power();
  /// MW of `count` accelerators of the kind with their hosts, network and building.
  base::Result<Quantity> watts_of(const Part& part, double count, double load) const;
  void money();

 private:
  base::Result<Quantity> peak() const;
  /// With so many times the failures and the time of a repair.
  base::Result<Goodput> goodput_with(double failures, double repair) const;
  Quantity energy_of(const Quantity& watts) const {
    return times(watts, times(days_, Quantity::around(24, 0, "", Provenance::kMeasured), "h"), "MWh");
  }

  const Setting& s_;
  Estimate& e_;
  std::vector<Part> parts_;
  Quantity step_, days_;
  double waiting_ = 0;  ///< share of the time in which nothing runs for want of a node
  std::optional<Quantity> watts_, energy_;
  std::vector<Quantity> watts_of_;  ///< by kind
};

Quantity given(double value, bool by_user, double spread, const char* unit) {
  // What the user states is taken as stated.
  return Quantity::around(value, by_user ? 0 : spread, unit, Provenance::kAssumed);
}

/// Of an accelerator, the mean of all.
base::Result<Quantity> Answer::peak() const {
  std::optional<Quantity> mean;
  for (const Part& part : parts_) {
    const Accelerator& a = *part.accelerator;
    TW_ASSIGN_OR_RETURN(const Quantity own, a[Field::kBf16] ? a.get(Field::kBf16) : a.get(Field::kFp16));
    const double share = part.count / static_cast<double>(s_.accelerators());
    const Quantity weighed = times(own, Quantity::around(share, 0, "", Provenance::kMeasured), own.unit);
    mean = mean ? plus(*mean, weighed) : weighed;
  }
  return *mean;
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
  const Quantity exact = Quantity::around(tokens, 0, "tokens", Provenance::kMeasured);
  const Quantity rate = over(exact, step_, "tokens/s");
  add("tokens_per_second", "tokens a second", rate, "batch x sequence / step");
  add("model_flops", "FLOPs of the run",
      Quantity::around(flops * s_.job.total_steps(), 0, "FLOP", Provenance::kMeasured),
      "3 x the traced forward's, causal attention by seen pairs; nothing computed again");
  const char* mfu = "MFU of the 16-bit peak";
  if (const auto sixteen = peak(); sixteen.ok()) {
    const double n = static_cast<double>(s_.accelerators());
    const Quantity work =
        Quantity::around(flops / n / 1e12 / sixteen->value * 100, 0, "%", sixteen->provenance);
    add("mfu", mfu, over(work, step_, "%"), "model FLOPs / (step x peak)");
  } else {
    miss("mfu", mfu, sixteen.error().message);
  }
  return wall_clock();
}

base::Result<Goodput> Answer::goodput_with(double failures, double repair) const {
  const spec::ClusterSpec& c = s_.cluster;
  std::optional<Spares> spares;
  // A stated time is taken as stated.
  if (c.spares.given) spares = {c.spares.value, c.repair.value * (c.repair.given ? 1 : repair)};
  return goodput(s_.nodes(), failures * c.failures, c.checkpoint.value, c.restart.value, spares);
}

base::Status Answer::wall_clock() {
  const bool waits = s_.cluster.spares.given;
  // A repair may be a reboot, or a part from the maker.
  constexpr double kMoreFailures = 1.7, kLessFailures = 0.6, kRepair = 3;
  TW_ASSIGN_OR_RETURN(const Goodput good, goodput_with(1, 1));
  const auto worse = goodput_with(kMoreFailures, kRepair), better = goodput_with(kLessFailures, 1 / kRepair);
  const auto among = [&](double Goodput::* of, double low, double high) {
    return Quantity{100 * (good.*of), low, high, "%", Provenance::kAssumed};
  };
  const Quantity share =
      among(&Goodput::share, worse.ok() ? 100 * worse->share : std::min(1.0, 100 * good.share),
            better.ok() ? 100 * better->share : 100);
  if (good.mtbf > 0) {
    add("mtbf_hours", "between failures",
        {good.mtbf / 3600, good.mtbf / 3600 / kMoreFailures, good.mtbf / 3600 / kLessFailures, "h",
         Provenance::kAssumed},
        "1,000 days / (nodes x failures)");
    add("checkpoint_interval_minutes", "checkpoint every",
        Quantity::around(good.interval / 60, 0.3, "min", Provenance::kAssumed),
        "sqrt(2 x checkpoint x MTBF), Young/Daly");
  }
  if (waits)
    add("spares", "spare nodes", Quantity::around(s_.cluster.spares.value, 0, "nodes", Provenance::kAssumed),
        "as stated; they idle");
  if (waits && good.mtbf > 0) {
    waiting_ = good.waiting;
    add("nodes_in_repair", "in repair, on average",
        {good.away, std::min(good.away, better->away),
         worse.ok() ? std::max(good.away, worse->away) : good.away, "nodes", Provenance::kAssumed},
        "repair / MTBF x (1 - waiting)");
    add("waiting_for_repair", "waiting for repairs",
        among(&Goodput::waiting, 100 * better->waiting, worse.ok() ? 100 * worse->waiting : 100),
        "of the time: Erlang's loss formula of spares + 1 and repair / MTBF");
  }
  add("goodput", "goodput", share,
      waits ? "(1 - C/I - I/(2 MTBF) - R/MTBF) x (1 - waiting for repairs)"
            : "1 - C/I - I/(2 MTBF) - R/MTBF");
  const Quantity busy =
      times(step_, Quantity::around(s_.job.total_steps() / 86400, 0, "d", Provenance::kMeasured), "days");
  Quantity part = share;
  part.value /= 100, part.low /= 100, part.high /= 100;
  days_ = over(busy, part, "days");
  add("days", "wall-clock days", days_, "steps x step / goodput");
  return base::Ok{};
}

base::Status Answer::host() {
  if (e_.plan.offload == spec::Offload::kNone) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const Quantity link, s_.accelerator.get(Field::kHostLink));
  TW_ASSIGN_OR_RETURN(const Quantity memory, s_.accelerator.get(Field::kHostBandwidth));
  const Provenance sure = weaker(Provenance::kExtrapolated, weaker(link.provenance, memory.provenance));
  // Half more for buffers, as DeepSpeed's estimators allow.
  const double gb = e_.host_bytes() / 1e9;
  add("host_gigabytes", "memory of the host, each", {gb, gb, 1.5 * gb, "GB", sure},
      "16 bytes an offloaded parameter, 18 with itself; to half more for buffers");
  add("host_transfer_seconds", "waiting for the host's link", Quantity::around(e_.step.host, 0.3, "s", sure),
      "16 bits of gradients down, and of parameters up, beside layers");
  add("host_update_seconds", "update in the host", Quantity::around(e_.step.optimizer, 0.3, "s", sure),
      "34 bytes a parameter / (0.8 x host bandwidth), or new parameters up");
  return base::Ok{};
}

base::Result<Quantity> Answer::watts_of(const Part& part, double count, double load) const {
  TW_ASSIGN_OR_RETURN(const Quantity full, part.accelerator->get(Field::kTdp));
  const spec::ClusterSpec& c = s_.cluster;
  Quantity device =
      times(full, Quantity{load, 0.85 * load, std::min(1.0, 1.1 * load), "", Provenance::kAssumed}, "W");
  device = plus(device, given(c.host_power.value, c.host_power.given, 0.3, "W"));
  device = plus(device, given(c.network_power.value, c.network_power.given, 0.5, "W"));
  return times(device, Quantity::around(c.pue * count / 1e6, 0.05, "", Provenance::kAssumed), "MW");
}

void Answer::power() {
  const bool spares = s_.spare_accelerators() > 0;
  watts_ = sum("megawatts", "power",
               spares ? "accelerators x (TDP x (0.2 + 0.8 busy) + host + network) x PUE, and spares that idle"
                      : "accelerators x (TDP x (0.2 + 0.8 busy) + host + network) x PUE",
               [&](const Part& part) -> base::Result<Quantity> {
                 const double load = kIdle + (1 - kIdle) * part.busy * (1 - waiting_);
                 TW_ASSIGN_OR_RETURN(Quantity watts, watts_of(part, part.count, load));
                 if (spares) {
                   TW_ASSIGN_OR_RETURN(const Quantity idle, watts_of(part, s_.spare_accelerators(), kIdle));
                   watts = plus(watts, idle);
                 }
                 watts_of_.push_back(watts);
                 return watts;
               });
  if (!watts_) return miss("megawatt_hours", "energy", "the power is not known: see there");
  energy_ = energy_of(*watts_);
  add("megawatt_hours", "energy", *energy_, "power x wall-clock time");
  if (s_.cluster.carbon.given)
    add("tonnes_co2", "carbon dioxide",
        times(*energy_, given(s_.cluster.carbon.value / 1e3, true, 0, ""), "t"), "energy x grid");
}

void Answer::money() {
  // There are spares of one kind alone (ClusterSpec::validate).
  const double spare = s_.spare_accelerators();
  const auto hours = [&](const Part& part) {
    return times(days_, Quantity::around(24 * (part.count + spare), 0, "", Provenance::kMeasured),
                 "accelerator-hours");
  };
  sum("accelerator_hours", "accelerator-hours",
      spare > 0 ? "accelerators and spares x wall-clock time" : "accelerators x wall-clock time",
      [&](const Part& part) -> base::Result<Quantity> { return hours(part); });
  sum("rent_usd", "to rent", "accelerator-hours x rent", [&](const Part& part) -> base::Result<Quantity> {
    if (part.cluster->rent.given)
      return times(hours(part), given(part.cluster->rent.value, true, 0, ""), "USD");
    return base::error(base::Code::kNotFound, "no rent is given{}{}: --{}rent \"2.5 USD/h\"",
                       s_.mixed() ? " of " : "", s_.mixed() ? part.accelerator->name : "", part.prefix);
  });
  const bool prices = std::ranges::all_of(
      parts_, [](const Part& part) { return price_of(*part.cluster, *part.accelerator).ok(); });
  if (!energy_ && prices) return miss("own_usd", "to own", "the energy is not known: see the power");
  sum("own_usd", "to own", "price x days / lifetime + energy x electricity",
      [&](const Part& part) -> base::Result<Quantity> {
        TW_ASSIGN_OR_RETURN(const Quantity p, price_of(*part.cluster, *part.accelerator));
        const Quantity worn = times(times(p, days_, ""),
                                    Quantity::around((part.count + spare) * 86400 / s_.cluster.lifetime.value,
                                                     0, "", Provenance::kAssumed),
                                    "USD");
        const Quantity electricity =
            given(s_.cluster.electricity.value * 1e3, s_.cluster.electricity.given, 0.3, "");
        return plus(worn, times(energy_of(watts_of_[&part - parts_.data()]), electricity, "USD"));
      });
}

}  // namespace

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

double Estimate::host_bytes() const {
  double most = 0;
  for (const StageMemory& m : stages) most = std::max(most, m.host());
  return most;
}

std::string Estimate::memory_text() const {
  const StageMemory& m = stages[fullest];
  const auto gb = [](double bytes) { return spec::measure_text(spec::Dimension::kBytes, bytes); };
  if (m.total() <= capacity && host_bytes() > host_capacity)
    return fmt::format("its hosts need {} of {} for each accelerator", gb(host_bytes()), gb(host_capacity));
  return fmt::format(
      "it needs {} of {} (stage {}{}: weights {}, gradients {}, optimizer {}, activations {}, logits {}, "
      "buffers {}, "
      "framework and fragmentation {})",
      gb(m.total()), gb(capacity), fullest,
      placed.empty()              ? ""
      : placed[fullest].kind == 0 ? " on the first kind"
                                  : " on the second kind",
      gb(m.weights), gb(m.gradients), gb(m.optimizer), gb(m.activations), gb(m.logits), gb(m.buffers),
      gb(m.overhead));
}

namespace {

/// `seconds` of a step on two kinds, by what the slowest stage spends them on.
StepTime mixed_time(const MixedStep& step, double micro_batches, double seconds) {
  const PlacedStage& slowest = step.slowest();
  StepTime t;
  t.compute = slowest.computing * micro_batches, t.recompute = slowest.again * micro_batches;
  t.communication =
      std::max(0.0, (slowest.forward + slowest.backward) * micro_batches - t.compute - t.recompute);
  t.sends = slowest.send * micro_batches;
  t.gradients = step.gradients, t.optimizer = step.optimizer, t.other = step.rest;
  t.bubble = std::max(0.0, seconds - t.total());
  return t;
}

base::Result<Estimate> mixed_estimate(const Setting& s, const spec::ParallelPlan& plan) {
  TW_RETURN_IF_ERROR(check_mixed(s, plan));
  TW_RETURN_IF_ERROR(plan.validate(s.model.config, s.accelerators(), s.job.batch));
  MixedPlanner planner(s);
  TW_ASSIGN_OR_RETURN(MixedStep step, planner.step(plan));
  const auto micro_batches = static_cast<double>(plan.micro_batches(s.job.batch));
  Estimate e;
  e.plan = plan;
  e.curves = step.provenance;
  e.closed_seconds = step.seconds;
  e.pipeline = step.pipeline();
  TW_ASSIGN_OR_RETURN(const double simulated,
                      simulated_pipeline(e.pipeline, ScheduleKind::kOneForwardOneBackward, 1,
                                         static_cast<int>(micro_batches)));
  e.step_seconds = simulated + step.gradients + step.optimizer + step.rest;
  e.step = mixed_time(step, micro_batches, e.step_seconds);
  e.busy.assign(s.kinds.size(), 0);
  const auto wide = static_cast<double>(plan.ranks()) / plan.pipeline;
  double fullest = 0;
  for (const PlacedStage& stage : step.stages) {
    const double busy = (stage.computing + stage.again) * micro_batches + stage.optimizer;
    e.busy[stage.kind] +=
        busy / e.step_seconds * wide / static_cast<double>(s.kinds[stage.kind].cluster.accelerators);
    if (const double full = stage.memory.total() / stage.capacity; full > fullest) {
      fullest = full, e.fullest = static_cast<int>(e.stages.size()), e.capacity = stage.capacity;
    }
    e.stages.push_back(stage.memory);
  }
  for (double& busy : e.busy) busy = std::min(1.0, busy);
  e.placed = std::move(step.stages);
  return e;
}

base::Result<Estimate> plain_estimate(const Setting& s, const spec::ParallelPlan& plan) {
  const spec::ModelConfig& model = s.model.config;
  TW_RETURN_IF_ERROR(plan.validate(model, s.cluster.accelerators, s.job.batch));
  TW_RETURN_IF_ERROR(check_interleave(plan, model, s.job.batch));
  TW_ASSIGN_OR_RETURN(const Quantity memory, s.memory());
  Estimate e;
  if (plan.offload != spec::Offload::kNone) {
    TW_ASSIGN_OR_RETURN(const Quantity host, s.host_memory());
    e.host_capacity = host.value;
  }
  Tracer tracer(model);
  TW_ASSIGN_OR_RETURN(const StepBasis basis,
                      step_basis(tracer, s.training, plan, s.accelerator, s.stack.stack, s.fabric));
  TW_ASSIGN_OR_RETURN(const BlockTrace* trace,
                      tracer.get(plan_sharding(plan), {plan.micro_batch, s.training.sequence, 0}));
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
  return e;
}

}  // namespace

base::Result<Estimate> estimate(const Setting& s, const spec::ParallelPlan& plan) {
  TW_ASSIGN_OR_RETURN(Estimate e, s.mixed() ? mixed_estimate(s, plan) : plain_estimate(s, plan));
  TW_ASSIGN_OR_RETURN(const double flops, model_flops(s.model.config, s.training));
  Answer answer(s, e);
  TW_RETURN_IF_ERROR(answer.time(flops));
  TW_RETURN_IF_ERROR(answer.host());
  answer.power();
  answer.money();
  return e;
}

}  // namespace tw::plan
