#include "plan/serve_plan.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "plan/machine_stack.h"
#include "plan/memory.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

constexpr double kMostBatch = 8192;
/// Of what can be served, a rate that comes at random may ask for so much: beyond, queues grow long.
constexpr double kBusy = 0.8;

/// A division with its costs, and what it serves by batch.
class Division {
 public:
  Division(const ServeSetting& s, ServeSplit split, ServeCosts costs)
      : s_(s), split_(split), costs_(std::move(costs)) {
    longest_ = static_cast<double>(s.job.input + s.job.output);
    const double middle =
        static_cast<double>(s.job.input) + s.stack.stack.reserved * static_cast<double>(s.job.output);
    tokens_ = cache_tokens(costs_, s.memory);
    most_ = std::floor(tokens_ / (middle * (1 + s.job.shortest) / 2));
    groups_ = std::floor(static_cast<double>(s.cluster.accelerators) / split.ranks()) * split.attention;
  }

  bool fits() const { return tokens_ >= longest_; }
  double most() const { return std::min(most_, kMostBatch); }
  double groups() const { return groups_; }
  ServeCosts& costs() { return costs_; }
  ServeLoad load(double batch) const {
    ServeLoad load{static_cast<double>(s_.job.input), static_cast<double>(s_.job.output), batch};
    load.shortest = s_.job.shortest;
    return load;
  }

  ServeOption at(double batch) {
    ServeOption o;
    const ServeConstants& c = s_.stack.constants;
    const ServeBasis basis = serve_basis(costs_, s_.stack.stack, load(batch), s_.memory);
    o.split = split_, o.groups = groups_, o.batch = batch;
    o.first_token = first_token_seconds(basis, c), o.output_token = output_token_seconds(basis, c);
    const double request = o.first_token + o.output_token * std::max(0.0, basis.output - 1);
    o.requests_per_second = groups_ * batch / request;
    o.tokens_per_second = o.requests_per_second * basis.output;
    o.weights = costs_.weight_bytes();
    const double mean = (s_.job.input + s_.job.output / 2.0) * (1 + s_.job.shortest) / 2;
    o.cache = batch * mean * costs_.cache_bytes();
    o.room = tokens_ * costs_.cache_bytes();
    return o;
  }

 private:
  const ServeSetting& s_;
  ServeSplit split_;
  ServeCosts costs_;
  double longest_ = 0, tokens_ = 0, most_ = 0, groups_ = 1;
};

bool meets(const ServeSetting& s, const ServeOption& o) {
  return (!s.job.ttft.given || o.first_token <= s.job.ttft.value) &&
         (!s.job.tpot.given || o.output_token <= s.job.tpot.value) &&
         (s.job.rate <= 0 || kBusy * o.requests_per_second >= s.job.rate);
}

/// How far a target is missed, as a factor; 1: all are met.
double missed_by(const ServeSetting& s, const ServeOption& o) {
  double worst = 1;
  if (s.job.ttft.given) worst = std::max(worst, o.first_token / s.job.ttft.value);
  if (s.job.tpot.given) worst = std::max(worst, o.output_token / s.job.tpot.value);
  if (s.job.rate > 0) worst = std::max(worst, s.job.rate / (kBusy * o.requests_per_second));
  return worst;
}

/// Batches that the job leaves open.
std::vector<double> batches(const ServeSetting& s, const Division& d) {
  if (s.job.batch > 0) return {std::min<double>(s.job.batch, d.most())};
  if (s.job.concurrency > 0)
    return {std::clamp(std::ceil(static_cast<double>(s.job.concurrency) / d.groups()), 1.0, d.most())};
  std::vector<double> list;
  for (double b = 1; b < d.most(); b = std::max(b + 1, std::floor(b * 1.15))) list.push_back(b);
  list.push_back(d.most());
  return list;
}

/// The best of a division: with a rate the smallest batch that keeps up, else the one that gives most; when
/// none meets the targets, the one that comes nearest.
ServeOption best_of(const ServeSetting& s, Division& d) {
  ServeOption best;
  double nearest = INFINITY;
  for (const double batch : batches(s, d)) {
    const ServeOption o = d.at(batch);
    const double missed = missed_by(s, o);
    const bool better =
        missed < nearest || (missed == 1 && s.job.rate <= 0 && o.tokens_per_second > best.tokens_per_second);
    if (!better) continue;
    best = o, nearest = missed;
    if (missed == 1 && s.job.rate > 0) break;
  }
  return best;
}

/// All divisions that the accelerators and the job allow, fewest ranks first.
std::vector<ServeSplit> splits_of(const ServeSetting& s) {
  std::vector<ServeSplit> list;
  const auto n = static_cast<int>(std::min<std::int64_t>(s.cluster.accelerators, 1 << 14));
  const double domain = s.accelerator[Field::kScaleUpDomain].value_or(1);
  const bool experts = s.model.config.experts.count > 0;
  const auto asked = [](int wanted, int size) { return wanted == 0 || wanted == size; };
  for (int pipeline = 1; pipeline <= n && pipeline <= s.model.config.layers; pipeline *= 2) {
    for (int ranks = 1; ranks * pipeline <= n; ranks *= 2) {
      // Layers are shared inside a domain alone: between domains every layer would wait for the network.
      if (ranks > std::max(1.0, domain) || !asked(s.job.pp, pipeline)) continue;
      ServeSplit split;
      split.pipeline = pipeline;
      split.tensor = ranks;
      if (asked(s.job.tp, ranks) && asked(s.job.ep, 1)) list.push_back(split);
      if (!experts || ranks == 1 || !asked(s.job.ep, ranks)) continue;
      split.expert = ranks;
      if (asked(s.job.tp, ranks)) list.push_back(split);
      split.tensor = 1, split.attention = ranks;
      if (asked(s.job.tp, 1)) list.push_back(split);
    }
  }
  const auto key = [](const ServeSplit& p) {
    return std::tuple(p.ranks(), p.pipeline, p.attention, p.expert);
  };
  std::sort(list.begin(), list.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  return list;
}

base::Result<std::unique_ptr<Division>> division_of(const ServeSetting& s, Tracer& tracer,
                                                    const ServeSplit& split) {
  const double cache = s.stack.stack.cache_bytes(s.precision, s.accelerator);
  TW_ASSIGN_OR_RETURN(ServeCosts costs, ServeCosts::make(tracer, split, s.accelerator, s.precision, cache));
  return std::make_unique<Division>(s, split, std::move(costs));
}

std::string gigabytes(double bytes) {
  return spec::measure_text(spec::Dimension::kBytes, bytes);
}

/// The fewest accelerators that hold the model and a request, by ranks inside a domain and then by stages.
std::string nearest_that_fits(const ServeSetting& s, Tracer& tracer) {
  ServeSetting more = s;
  more.cluster.accelerators = 1 << 14;
  more.job.tp = more.job.pp = more.job.ep = 0;
  for (const ServeSplit& split : splits_of(more)) {
    const auto d = division_of(more, tracer, split);
    if (!d.ok() || !(*d)->fits()) continue;
    return fmt::format("; the nearest that fits: tp {} pp {} ep {} on {} accelerators", split.tensor,
                       split.pipeline, split.expert, split.ranks());
  }
  return "; it fits no number of these accelerators: choose a narrower --precision";
}

base::Error does_not_fit(const ServeSetting& s, Tracer& tracer, const std::vector<ServeSplit>& splits,
                         const std::string& reason) {
  std::string needs = reason;
  for (const ServeSplit& split : splits) {
    auto d = division_of(s, tracer, split);
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

base::Error misses_targets(const ServeSetting& s, const ServeOption& nearest) {
  std::string wanted;
  if (s.job.ttft.given) wanted += fmt::format("ttft {:.0f} ms, ", s.job.ttft.value * 1e3);
  if (s.job.tpot.given) wanted += fmt::format("tpot {:.1f} ms, ", s.job.tpot.value * 1e3);
  if (s.job.rate > 0)
    wanted += fmt::format("{} requests/s at {:.0f} % of what can be served, ", s.job.rate, 100 * kBusy);
  return base::error(base::Code::kInvalidArgument,
                     "no division and batch reaches {}the nearest is {} with ttft {:.0f} ms, tpot {:.1f} ms, "
                     "{:.2f} requests/s",
                     wanted, nearest.text(), nearest.first_token * 1e3, nearest.output_token * 1e3,
                     nearest.requests_per_second);
}

/// Requests of a simulation: enough for a mean, few enough for a second.
int simulated_requests(const ServeSetting& s, double batch) {
  const double tokens = 600e3 / static_cast<double>(s.job.output);
  return static_cast<int>(std::clamp(4 * batch, 50.0, std::max(50.0, tokens)));
}

/// Money an hour for all accelerators; fails where neither rent nor price is known.
base::Result<Quantity> hourly(const ServeSetting& s) {
  const double n = static_cast<double>(s.cluster.accelerators);
  if (s.cluster.rent.given)
    return Quantity::around(n * s.cluster.rent.value, 0, "USD/h", Provenance::kAssumed);
  base::Result<Quantity> price = s.cluster.price.given
                                     ? Quantity::around(s.cluster.price.value, 0, "USD", Provenance::kAssumed)
                                     : s.accelerator.get(Field::kPrice);
  if (!price.ok()) return base::error(base::Code::kNotFound, "no rent is given: --rent \"2.5 USD/h\"");
  // As `plan estimate` has it: what stands around an accelerator, and its power at full load.
  const double around = s.cluster.price.given ? 1 : 1.67;
  TW_ASSIGN_OR_RETURN(const Quantity watts, s.accelerator.get(Field::kTdp));
  const double kilowatts =
      (watts.value + s.cluster.host_power.value + s.cluster.network_power.value) * s.cluster.pue / 1e3;
  const double worn = price->value * around * 3600 / s.cluster.lifetime.value;
  return Quantity::around(n * (worn + kilowatts * s.cluster.electricity.value),
                          s.cluster.price.given ? 0.05 : 0.3, "USD/h", Provenance::kAssumed);
}

void add_figures(const ServeSetting& s, ServeAnswer& answer) {
  const ServeOption& o = answer.best;
  const auto add = [&](const char* key, const char* title, double value, const char* unit, const char* how) {
    answer.figures.push_back(
        {key, title, Quantity::around(value, s.spread(), unit, Provenance::kExtrapolated), {}, how});
  };
  add("tokens_per_second", "tokens a second", o.tokens_per_second, "tokens/s",
      "of answers; groups x batch x output / request");
  add("requests_per_second", "requests a second", o.requests_per_second, "1/s", "groups x batch / request");
  add("ttft_seconds", "first token (TTFT)", o.first_token, "s", "half a step and the step with the prompt");
  add("tpot_seconds", "between tokens (ITL)", o.output_token, "s", "step + (batch - 1) / output x prompt");
  const Served& sim = answer.simulated;
  add("simulated_tokens_per_second", "simulated tokens/s", sim.tokens_per_second * o.groups, "tokens/s",
      "events, Tokenworks' scheduler");
  add("simulated_ttft_seconds", "simulated TTFT", sim.first_token, "s", "queueing included");
  add("simulated_ttft_99_seconds", "simulated TTFT, p99", sim.first_token_99, "s", "queueing included");
  add("simulated_tpot_seconds", "simulated ITL", sim.output_token, "s", "events, Tokenworks' scheduler");
  const auto money = hourly(s);
  const char* title = "a million tokens";
  if (!money.ok()) {
    answer.figures.push_back({"usd_per_million_tokens", title, std::nullopt, money.error().message, {}});
    return;
  }
  const double output = s.job.output * (1 + s.job.shortest) / 2;
  const double served = s.job.rate > 0 ? s.job.rate * output : o.tokens_per_second;
  const double millions = served * 3600 / 1e6;
  answer.figures.push_back(
      {"usd_per_million_tokens",
       title,
       over(*money, Quantity::around(millions, s.spread(), "", Provenance::kExtrapolated), "USD"),
       {},
       s.job.rate > 0 ? "USD an hour / tokens that the rate asks for"
                      : "USD an hour / tokens of answers an hour"});
}

}  // namespace

double ServeSetting::spread() const {
  if (accelerator.machine != nullptr) return kMachineSpread;
  return std::min(0.5, stack.rows > 0 ? std::max(0.14, stack.error) : 0.3);
}

std::string ServeOption::text() const {
  return fmt::format("tp {} pp {} ep {}{}, {:.0f} replica{}, batch {:.0f}", split.tensor, split.pipeline,
                     split.expert,
                     split.attention > 1 ? fmt::format(" attention-dp {}", split.attention) : "", replicas(),
                     replicas() == 1 ? "" : "s", batch);
}

base::Result<ServeSetting> make_serve_setting(PlannedModel model, spec::ServeJob job,
                                              spec::ClusterSpec cluster) {
  TW_RETURN_IF_ERROR(cluster.validate());
  TW_RETURN_IF_ERROR(job.validate());
  ServeSetting s{std::move(model), std::move(job), std::move(cluster), {}, Precision::kBf16, {}, 0};
  TW_ASSIGN_OR_RETURN(s.accelerator, accelerator_of(s.cluster));
  TW_ASSIGN_OR_RETURN(const Quantity memory, memory_of(s.cluster, s.accelerator));
  s.memory = memory.value;
  s.precision = s.job.precision == "fp8"   ? Precision::kFp8
                : s.job.precision == "fp4" ? Precision::kFp4
                                           : Precision::kBf16;
  static const auto known = read_serving_rows(shipped("inference_measured.csv"), "inference_measured.csv");
  TW_CHECK(known.ok(), "the shipped rows are broken");
  s.stack = s.accelerator.machine != nullptr ? machine_serving(*s.accelerator.machine)
                                             : fit_serving_stack(*known, s.job.stack);
  s.stack.stack.step_tokens = s.job.step_tokens;
  return s;
}

base::Result<ServeAnswer> plan_serving(const ServeSetting& s) {
  Tracer tracer(s.model.config);
  const std::vector<ServeSplit> splits = splits_of(s);
  std::string reason =
      fmt::format("no division of {} accelerators into powers of two has tp {} pp {} ep {} (0: any)",
                  s.cluster.accelerators, s.job.tp, s.job.pp, s.job.ep);
  ServeAnswer answer;
  std::unique_ptr<Division> chosen;
  std::vector<ServeOption> all;
  double nearest = INFINITY;
  for (const ServeSplit& split : splits) {
    auto d = division_of(s, tracer, split);
    if (!d.ok()) {
      reason = d.error().message;
      continue;
    }
    if (!(*d)->fits()) continue;
    const ServeOption o = best_of(s, **d);
    all.push_back(o);
    const double missed = missed_by(s, o);
    const bool more = missed == 1 && o.tokens_per_second > answer.best.tokens_per_second;
    if (chosen != nullptr && missed >= nearest && !more) continue;
    answer.best = o, nearest = missed, chosen = std::move(*d);
  }
  if (chosen == nullptr) return does_not_fit(s, tracer, splits, reason);
  if (!meets(s, answer.best)) return misses_targets(s, answer.best);
  for (const ServeOption& o : all) {
    if (o.split != answer.best.split) answer.others.push_back(o);
  }
  std::sort(answer.others.begin(), answer.others.end(),
            [](const auto& a, const auto& b) { return a.tokens_per_second > b.tokens_per_second; });
  ServeLoad load = chosen->load(answer.best.batch);
  load.rate = s.job.rate / answer.best.groups;
  if (load.rate > 0) load.running = answer.best.batch;
  answer.simulated =
      simulate_scheduler(chosen->costs(), s.stack.constants, load, s.memory,
                         {s.job.step_tokens, s.job.stretch}, simulated_requests(s, answer.best.batch));
  add_figures(s, answer);
  return answer;
}

}  // namespace tw::plan
