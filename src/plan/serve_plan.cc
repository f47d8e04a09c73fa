#include "plan/serve_plan.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "plan/machine_stack.h"
#include "plan/memory.h"
#include "plan/serve_division.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

std::string gigabytes(double bytes) {
  return spec::measure_text(spec::Dimension::kBytes, bytes);
}

std::string sizes_text(const ServeSplit& split) {
  return fmt::format("tp {} pp {} ep {}", split.tensor, split.pipeline, split.expert);
}

/// With some speed for lines, and some domain, where they are blank: what fits does not hang on them.
ServeSetting with_lines(ServeSetting s) {
  for (const Field field : {Field::kScaleUpBandwidth, Field::kScaleUpDomain, Field::kNic}) {
    auto& value = s.accelerator.values[static_cast<int>(field)];
    value = value.value_or(1);
  }
  return s;
}

bool any_fits(const ServeSetting& s, Tracer& tracer, const std::vector<ServeSplit>& splits) {
  return std::ranges::any_of(splits, [&](const ServeSplit& split) {
    const auto d = ServeDivision::make(s, tracer, split);
    return d.ok() && (*d)->fits();
  });
}

/// The division that needs the fewest accelerators; nothing: none of these powers of two holds a request.
std::optional<ServeSplit> smallest_that_fits(ServeSetting s, Tracer& tracer) {
  s = with_lines(std::move(s));
  s.cluster.accelerators = 1 << 14;
  s.job.tp = s.job.pp = s.job.ep = 0;
  for (const ServeSplit& split : serve_splits(s)) {
    const auto d = ServeDivision::make(s, tracer, split);
    if (d.ok() && (*d)->fits()) return split;
  }
  return {};
}

/// Beyond what was asked for: more accelerators, or narrower weights.
std::string nearest_that_fits(const ServeSetting& s, Tracer& tracer) {
  if (const auto split = smallest_that_fits(s, tracer)) {
    const auto made = ServeDivision::make(s, tracer, *split);
    return fmt::format("; the nearest that fits: {} on {} accelerators{}", sizes_text(*split), split->ranks(),
                       made.ok() ? "" : ", but " + made.error().message);
  }
  constexpr const char* kNone = "; it fits no division into powers of two of these accelerators";
  for (const char* precision : {"fp8", "fp4"}) {
    ServeSetting narrow = s;
    narrow.precision = precision_of(narrow.job.precision = precision);
    if (weight_bytes(narrow.precision) >= weight_bytes(s.precision)) continue;
    if (const auto split = smallest_that_fits(narrow, tracer))
      return fmt::format("{}: --precision {} would, as {} on {}", kNone, precision, sizes_text(*split),
                         split->ranks());
  }
  return fmt::format("{}, in no --precision: one with more memory is needed", kNone);
}

/// The sizes that were asked for are none that divide: those nearest to them that fit.
base::Error no_division(const ServeSetting& s, Tracer& tracer, const std::string& reason) {
  ServeSetting any = s;
  any.job.tp = any.job.pp = any.job.ep = 0;
  const auto apart = [](int wanted, int size) {
    return wanted == 0 ? 0 : std::fabs(std::log2(static_cast<double>(size) / wanted));
  };
  std::string nearest, lacking;  // the last: what the catalogue does not have
  double least = INFINITY;
  for (const ServeSplit& split : serve_splits(any)) {
    const double off =
        apart(s.job.tp, split.tensor) + apart(s.job.pp, split.pipeline) + apart(s.job.ep, split.expert);
    const auto d = ServeDivision::make(any, tracer, split);
    if (!d.ok() && d.error().code == base::Code::kNotFound) lacking = d.error().message;
    if (off >= least || !d.ok() || !(*d)->fits()) continue;
    least = off, nearest = sizes_text(split);
  }
  if (nearest.empty() && !lacking.empty())
    return base::error(base::Code::kInvalidArgument, "{}; to tell which fits: {}", reason, lacking);
  if (nearest.empty()) nearest = "none of them either, whatever tp, pp and ep are";
  return base::error(base::Code::kInvalidArgument, "{}: the nearest that fits is {}", reason, nearest);
}

base::Error does_not_fit(const ServeSetting& s, Tracer& tracer, const std::vector<ServeSplit>& splits) {
  std::string needs;
  for (const ServeSplit& split : splits) {
    auto d = ServeDivision::make(s, tracer, split);
    if (!d.ok()) continue;
    const double request = static_cast<double>(s.job.input + s.job.output) * (*d)->costs().cache_bytes();
    needs = fmt::format(
        "a rank of tp {} pp {} ep {} needs {} (weights {}, a request's cache {}, framework {}) of {}, nine "
        "tenths of its memory",
        split.tensor, split.pipeline, split.expert,
        gigabytes((*d)->costs().weight_bytes() + request + (*d)->costs().framework_bytes()),
        gigabytes((*d)->costs().weight_bytes()), gigabytes(request),
        gigabytes((*d)->costs().framework_bytes()), gigabytes(0.9 * s.memory));
  }
  return base::error(base::Code::kResourceExhausted, "{} does not fit {} x {}: {}{}", s.model.name,
                     s.cluster.accelerators, s.accelerator.name, needs, nearest_that_fits(s, tracer));
}

/// One option, how far it misses, and what its simulation said.
struct Tried {
  std::shared_ptr<ServeDivision> division;
  ServeOption option;
  std::optional<Served> simulated;
  std::string reason;  ///< why there is none
  double closed = 1;   ///< missed() before it was simulated

  /// Seconds to the first token, as far as it is known.
  double first_token() const { return simulated ? simulated->first_token : option.first_token; }
  /// How far a target is missed, as a factor; 1: all are met.
  double missed(const ServeSetting& s) const {
    double worst = 1;
    if (s.job.ttft.given)
      worst = std::max({worst, option.first_token / s.job.ttft.value, first_token() / s.job.ttft.value});
    if (s.job.tpot.given) worst = std::max(worst, option.output_token / s.job.tpot.value);
    if (s.job.rate > 0) worst = std::max(worst, s.job.rate / (kBusy * option.requests_per_second));
    return worst;
  }
};

/// With a rate the one that answers soonest, else the one that serves most.
bool better(const ServeSetting& s, const ServeOption& a, const ServeOption& b) {
  return s.job.rate > 0 ? a.request < b.request : a.tokens_per_second > b.tokens_per_second;
}

void simulate(const ServeSetting& s, Tried& t) {
  const ServeLoad load = t.division->load(t.option);
  const SchedulerSetup setup{s.job.step_tokens, s.job.stretch, s.model.config.layers};
  const auto requests = requests_to_simulate(load, setup);
  if (!requests.ok()) {
    t.reason = requests.error().message;
    return;
  }
  auto served = simulate_scheduler(t.division->costs(), s.stack.constants, load, s.memory, setup, *requests);
  if (served.ok())
    t.simulated = *served;
  else
    t.reason = "not simulated: " + served.error().message;
}

/// The best that meets the targets, simulated; when none does, the one that comes nearest.
Tried choose(const ServeSetting& s, std::vector<Tried> all) {
  for (Tried& t : all) t.closed = t.missed(s);
  std::sort(all.begin(), all.end(), [&](const Tried& a, const Tried& b) {
    if (a.closed != b.closed) return a.closed < b.closed;
    if (better(s, a.option, b.option) || better(s, b.option, a.option)) return better(s, a.option, b.option);
    return std::tie(a.option.split, a.option.batch) < std::tie(b.option.split, b.option.batch);
  });
  constexpr int kMostSimulated = 16;
  int simulated = 0;
  Tried nearest;
  double least = INFINITY;
  std::map<const ServeDivision*, double> most;
  for (Tried& t : all) {
    const auto limit = most.find(t.division.get());
    if (t.closed >= least || (limit != most.end() && t.option.batch > limit->second)) continue;
    // What misses anyway is not simulated: a queue that grows would tell the length of the simulation.
    if (t.closed == 1 && simulated++ < kMostSimulated) simulate(s, t);
    const double missed = t.missed(s);
    if (missed < least) least = missed, nearest = t;
    if (missed == 1) break;
    // A smaller batch of it may do.
    most[t.division.get()] = 0.8 * t.option.batch;
  }
  return nearest;
}

/// A number with three digits that is no less, or, down, no more.
double rounded(double value, bool up) {
  const double unit = std::pow(10, std::floor(std::log10(value)) - 2);
  return (up ? std::ceil(value / unit + 1e-9) : std::floor(value / unit - 1e-9)) * unit;
}

/// Targets that this one meets.
spec::ServeJob eased(spec::ServeJob job, const Tried& t) {
  const auto wider = [](auto& target, double seconds) {
    if (target.given && seconds > target.value) target.value = 1e-3 * rounded(1e3 * seconds, true);
  };
  wider(job.ttft, std::max(t.option.first_token, t.first_token()));
  wider(job.tpot, t.option.output_token);
  const double rate = kBusy * t.option.requests_per_second;
  if (job.rate > rate) job.rate = rounded(rate, false);
  return job;
}

std::string targets_text(const spec::ServeJob& job) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (job.ttft.given) add(fmt::format("ttft {:.6g} ms", job.ttft.value * 1e3));
  if (job.tpot.given) add(fmt::format("tpot {:.6g} ms", job.tpot.value * 1e3));
  if (job.rate > 0) add(fmt::format("{:.6g} requests/s", job.rate));
  return text;
}

/// All that was tried, best first; fails where nothing divides or fits. `not_tried`: what the catalogue lacks
/// for the rest.
base::Result<std::vector<Tried>> attempt(const ServeSetting& s, Tracer& tracer, std::string& not_tried) {
  const std::vector<ServeSplit> splits = serve_splits(s);
  std::string reason =
      fmt::format("no division of {} accelerators into powers of two has tp {} pp {} ep {} (0: any)",
                  s.cluster.accelerators, s.job.tp, s.job.pp, s.job.ep);
  if (const int inside = std::max(s.job.tp, s.job.ep); inside > 1) {
    TW_ASSIGN_OR_RETURN(const Quantity domain, s.accelerator.get(Field::kScaleUpDomain));
    if (inside > domain.value)
      reason = fmt::format("tp and ep stay inside a scale-up domain, which is {:.0f} of {} (--scale-up)",
                           domain.value, s.accelerator.name);
  }
  std::vector<Tried> all;
  std::string why;
  double most = 0;
  bool divides = false;
  std::optional<base::Error> lacking;  // what the catalogue does not have
  for (const ServeSplit& split : splits) {
    auto made = ServeDivision::make(s, tracer, split);
    if (!made.ok()) {
      if (made.error().code == base::Code::kNotFound && !lacking) lacking = made.error();
      reason = made.error().message;
      continue;
    }
    divides = true;
    const std::shared_ptr<ServeDivision> division = std::move(*made);
    if (!division->fits()) continue;
    for (const double batch : division->batches(why, most)) {
      Tried& t = all.emplace_back();
      t.division = division, t.option = division->at(batch);
    }
  }
  // Nobody knows which ranks could share layers.
  const auto domain = s.accelerator.get(Field::kScaleUpDomain);
  if (!lacking && !domain.ok() && s.cluster.accelerators > 1 && std::min(s.job.tp, s.job.ep) == 0)
    lacking = domain.error();
  not_tried = lacking ? lacking->message : std::string();
  if (!all.empty()) return all;
  if (!why.empty()) return base::error(base::Code::kInvalidArgument, "{}", why);
  if (lacking && (!divides || any_fits(with_lines(s), tracer, splits))) return *lacking;
  if (divides) return does_not_fit(s, tracer, splits);
  return no_division(s, tracer, reason);
}

base::Error misses_targets(const ServeSetting& s, Tracer& tracer, const Tried& nearest) {
  const std::string wanted =
      targets_text(s.job) +
      (s.job.rate > 0 ? fmt::format(" at {:.0f} % of what can be served", 100 * kBusy) : std::string());
  ServeSetting easier = s;
  Tried t = nearest;
  for (int round = 0; round < 6; ++round) {
    easier.job = eased(easier.job, t);
    std::string not_tried;
    auto all = attempt(easier, tracer, not_tried);
    if (!all.ok()) break;
    t = choose(easier, std::move(*all));
    if (t.missed(easier) == 1)
      return base::error(base::Code::kInvalidArgument,
                         "no division and batch reaches {}: the nearest is {} with {}", wanted,
                         t.option.text(), targets_text(easier.job));
  }
  return base::error(base::Code::kInvalidArgument, "no division and batch reaches {}", wanted);
}

/// The best batch of each other division.
std::vector<ServeOption> others_of(const ServeSetting& s, const std::vector<Tried>& all,
                                   const ServeSplit& chosen) {
  std::map<ServeSplit, const Tried*> best;
  for (const Tried& t : all) {
    const Tried*& known = best[t.option.split];
    const double missed = t.missed(s), least = known == nullptr ? INFINITY : known->missed(s);
    if (missed < least || (missed == least && better(s, t.option, known->option))) known = &t;
  }
  std::vector<ServeOption> others;
  for (const auto& [split, t] : best) {
    if (split != chosen) others.push_back(t->option);
  }
  std::sort(others.begin(), others.end(),
            [](const auto& a, const auto& b) { return a.tokens_per_second > b.tokens_per_second; });
  return others;
}

/// Those that none beats both in tokens a second and in the time between tokens.
std::vector<ServeOption> front_of(const std::vector<Tried>& all) {
  std::vector<ServeOption> options, front;
  options.reserve(all.size());
  for (const Tried& t : all) options.push_back(t.option);
  std::sort(options.begin(), options.end(), [](const ServeOption& a, const ServeOption& b) {
    return std::tuple(a.output_token, -a.tokens_per_second, a.split, a.batch) <
           std::tuple(b.output_token, -b.tokens_per_second, b.split, b.batch);
  });
  for (const ServeOption& o : options) {
    if (front.empty() || o.tokens_per_second > front.back().tokens_per_second) front.push_back(o);
  }
  return front;
}

/// Stages meet over NICs alone, and nothing else leaves a domain: fields that would change nothing.
base::Status check_network(const spec::ClusterSpec& c) {
  const char* field = c.network != "fat-tree"   ? "network"
                      : c.group > 0             ? "group"
                      : c.oversubscription != 1 ? "oversubscription"
                      : c.in_network_reduction  ? "in-network-reduction"
                      : c.torus_link.given      ? "torus-link"
                                                : nullptr;
  const char* host = c.host_memory.given      ? "host-memory"
                     : c.host_bandwidth.given ? "host-bandwidth"
                     : c.host_link.given      ? "host-link"
                                              : nullptr;
  const char* failing = c.failures != spec::ClusterSpec{}.failures ? "failures"
                        : c.checkpoint.given                       ? "checkpoint"
                        : c.restart.given                          ? "restart"
                        : c.spares.given                           ? "spares"
                        : c.repair.given                           ? "repair"
                                                                   : nullptr;
  if (failing != nullptr)
    return base::error(base::Code::kInvalidArgument,
                       "{} has no effect on what is served: `plan serve` takes nodes for running", failing);
  if (c.mixed())
    return base::error(base::Code::kInvalidArgument,
                       "`plan serve` knows one kind of accelerator: ask for {} and for {} apart",
                       c.accelerator, c.second.accelerator);
  if (host != nullptr)
    return base::error(base::Code::kInvalidArgument,
                       "{} has no effect on what is served: `plan serve` keeps nothing in the hosts", host);
  if (field == nullptr) return base::Ok{};
  return base::error(
      base::Code::kInvalidArgument,
      "{} has no effect on what is served: of the network `plan serve` knows scale-up and nic alone", field);
}

}  // namespace

double ServeSetting::spread() const {
  if (accelerator.machine != nullptr) return kMachineSpread;
  return std::min(0.5, stack.rows > 0 ? std::max(0.14, stack.error) : 0.3);
}

std::string ServeOption::text() const {
  return fmt::format(
      "tp {} pp {} ep {}{}, {:.0f} replica{}, batch {:.0f}{}", split.tensor, split.pipeline, split.expert,
      split.attention > 1 ? fmt::format(" attention-dp {}", split.attention) : "", replicas(),
      replicas() == 1 ? "" : "s", batch, idle > 0 ? fmt::format(", {:.0f} accelerators idle", idle) : "");
}

base::Result<ServeSetting> make_serve_setting(PlannedModel model, spec::ServeJob job,
                                              spec::ClusterSpec cluster) {
  TW_RETURN_IF_ERROR(check_network(cluster));  // first: no advice on what has no effect
  TW_RETURN_IF_ERROR(cluster.validate());
  TW_RETURN_IF_ERROR(job.validate());
  ServeSetting s{std::move(model), std::move(job), std::move(cluster), {}, Precision::kBf16, {}, 0};
  TW_ASSIGN_OR_RETURN(s.accelerator, accelerator_of(s.cluster));
  TW_ASSIGN_OR_RETURN(const Quantity memory, memory_of(s.cluster, s.accelerator));
  s.memory = memory.value;
  s.precision = precision_of(s.job.precision);
  static const auto known = read_serving_rows(shipped("inference_measured.csv"), "inference_measured.csv");
  TW_CHECK(known.ok(), "the shipped rows are broken");
  s.stack = s.accelerator.machine != nullptr ? machine_serving(*s.accelerator.machine)
                                             : fit_serving_stack(*known, s.job.stack);
  s.stack.stack.step_tokens = s.job.step_tokens;
  return s;
}

base::Result<ServeAnswer> plan_serving(const ServeSetting& s) {
  Tracer tracer(s.model.config);
  ServeAnswer answer;
  TW_ASSIGN_OR_RETURN(const std::vector<Tried> all, attempt(s, tracer, answer.not_tried));
  const Tried chosen = choose(s, all);
  if (chosen.missed(s) > 1) return misses_targets(s, tracer, chosen);
  answer.best = chosen.option, answer.simulated = chosen.simulated;
  answer.others = others_of(s, all, chosen.option.split);
  answer.front = front_of(all);
  add_serve_figures(s, chosen.reason, answer);
  return answer;
}

}  // namespace tw::plan
