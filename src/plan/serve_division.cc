#include "plan/serve_division.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace tw::plan {
namespace {

constexpr double kMostBatch = 8192;

}  // namespace

ServeDivision::ServeDivision(const ServeSetting& s, ServeSplit split, ServeCosts costs)
    : s_(s), split_(split), costs_(std::move(costs)) {
  const double middle =
      static_cast<double>(s.job.input) + s.stack.stack.reserved * static_cast<double>(s.job.output);
  tokens_ = cache_tokens(costs_, s.memory);
  // An answer needs a token of each step.
  most_ = std::clamp(std::floor(tokens_ / (middle * (1 + s.job.shortest) / 2)), 1.0,
                     std::min(kMostBatch, static_cast<double>(s.job.step_tokens)));
  groups_ = std::floor(static_cast<double>(s.cluster.accelerators) / split.ranks()) * split.attention;
}

base::Result<std::unique_ptr<ServeDivision>> ServeDivision::make(const ServeSetting& s, Tracer& tracer,
                                                                 const ServeSplit& split) {
  const double cache = s.stack.stack.cache_bytes(s.precision, s.accelerator);
  TW_ASSIGN_OR_RETURN(ServeCosts costs, ServeCosts::make(tracer, split, s.accelerator, s.precision, cache));
  return std::unique_ptr<ServeDivision>(new ServeDivision(s, split, std::move(costs)));
}

bool ServeDivision::fits() const {
  const auto longest = static_cast<double>(s_.job.input + s_.job.output);
  return std::floor(tokens_ / kCacheBlock) >= std::ceil(longest / kCacheBlock);
}

void ServeDivision::time(double batch, ServeOption& o) {
  ServeLoad load{static_cast<double>(s_.job.input), static_cast<double>(s_.job.output), batch};
  load.shortest = s_.job.shortest;
  const ServeConstants& c = s_.stack.constants;
  const ServeBasis basis = serve_basis(costs_, s_.stack.stack, load, s_.memory);
  o.first_token = first_token_seconds(basis, c), o.output_token = output_token_seconds(basis, c);
  o.request = o.first_token + o.output_token * std::max(0.0, basis.output - 1);
}

double ServeDivision::request_seconds(double batch) {
  ServeOption o;
  time(batch, o);
  return o.request;
}

ServeOption ServeDivision::at(double batch) {
  ServeOption o;
  o.split = split_, o.groups = groups_, o.batch = o.running = batch;
  o.idle = static_cast<double>(s_.cluster.accelerators) - o.replicas() * split_.ranks();
  time(batch, o);
  o.requests_per_second = groups_ * batch / o.request;
  if (s_.job.concurrency > 0) {
    const auto all = static_cast<double>(s_.job.concurrency);
    o.requests_per_second = std::min(groups_ * batch, all) / o.request;
    // Little's law: what is in flight and does not run waits for its turn.
    o.first_token += std::max(0.0, in_flight() - batch) * o.request / batch;
  } else if (s_.job.rate > 0) {
    // As many as a request takes times what arrives: the smallest batch that keeps up.
    const double arriving = s_.job.rate / groups_;
    double low = 0, high = batch;
    while (high - low > 1) {
      const double middle = std::floor((low + high) / 2);
      (middle / request_seconds(middle) >= arriving ? high : low) = middle;
    }
    o.running = high;
    time(high, o);
  }
  const double output = static_cast<double>(s_.job.output) * (1 + s_.job.shortest) / 2;
  o.tokens_per_second = o.requests_per_second * output;
  o.weights = costs_.weight_bytes();
  const double mean = (static_cast<double>(s_.job.input) + static_cast<double>(s_.job.output) / 2) *
                      (1 + s_.job.shortest) / 2;
  o.cache = o.running * mean * costs_.cache_bytes();
  o.room = tokens_ * costs_.cache_bytes();
  return o;
}

std::vector<double> ServeDivision::batches(std::string& why, double& most) {
  const double asked = std::ceil(in_flight());
  if (s_.job.batch > 0) {
    const double batch = s_.job.batch, can = asked > 0 ? std::min(asked, most_) : most_;
    if (batch <= can) return {batch};
    if (can <= most) return {};
    most = can;
    why = fmt::format("batch {} {}: {:.0f} is the most of {}", s_.job.batch,
                      batch > most_ ? "does not fit the cache and a step's tokens"
                                    : "is more than the concurrency keeps in flight",
                      can, at(can).text());
    return {};
  }
  // Nobody queues while there is room, unless a target says so.
  if (asked > 0 && !s_.job.tpot.given) return {std::min(asked, most_)};
  const double top = asked > 0 ? std::min(asked, most_) : most_;
  std::vector<double> list;
  for (double b = 1; b < top; b = std::max(b + 1, std::floor(b * 1.15))) list.push_back(b);
  list.push_back(top);
  if (s_.job.rate <= 0) return list;
  // Requests run when they come: as many as fit and keep to the time between tokens.
  while (list.size() > 1 && s_.job.tpot.given) {
    ServeOption full;
    time(list.back(), full);
    if (full.output_token <= s_.job.tpot.value) break;
    list.pop_back();
  }
  return {list.back()};
}

ServeLoad ServeDivision::load(const ServeOption& o) const {
  ServeLoad load{static_cast<double>(s_.job.input), static_cast<double>(s_.job.output), o.batch};
  load.shortest = s_.job.shortest, load.running = o.batch;
  load.rate = s_.job.rate / groups_;
  if (s_.job.concurrency > 0) load.concurrency = std::max(o.batch, std::ceil(in_flight()));
  if (load.rate > 0) load.concurrency = o.running;
  return load;
}

std::vector<ServeSplit> serve_splits(const ServeSetting& s) {
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

}  // namespace tw::plan
