#include <algorithm>
#include <cmath>

#include "plan/memory.h"
#include "plan/serve_division.h"

namespace tw::plan {
namespace {

/// Of all accelerators with hosts, network and building, as `plan estimate` has it, at full load.
base::Result<double> kilowatts(const ServeSetting& s) {
  TW_ASSIGN_OR_RETURN(const Quantity watts, s.accelerator.get(Field::kTdp));
  return static_cast<double>(s.cluster.accelerators) *
         (watts.value + s.cluster.host_power.value + s.cluster.network_power.value) * s.cluster.pue / 1e3;
}

/// Money an hour for all accelerators; fails where neither rent nor price is known.
base::Result<Quantity> hourly(const ServeSetting& s) {
  const double n = static_cast<double>(s.cluster.accelerators);
  if (s.cluster.rent.given)
    return Quantity::around(n * s.cluster.rent.value, 0, "USD/h", Provenance::kAssumed);
  const base::Result<Quantity> price = price_of(s.cluster, s.accelerator);
  if (!price.ok())
    return base::error(base::Code::kNotFound, "no rent is given (--rent \"2.5 USD/h\"), and {}",
                       price.error().message);
  TW_ASSIGN_OR_RETURN(const double power, kilowatts(s));
  const double worn = price->value * 3600 / s.cluster.lifetime.value;
  return Quantity::around(n * worn + power * s.cluster.electricity.value, s.cluster.price.given ? 0.05 : 0.3,
                          "USD/h", Provenance::kAssumed);
}

/// Millions of answers' tokens an hour: those that a rate asks for, or all that can be served.
Quantity millions(const ServeSetting& s, const ServeOption& o) {
  const double output = static_cast<double>(s.job.output) * (1 + s.job.shortest) / 2;
  const double tokens = (s.job.rate > 0 ? s.job.rate * output : o.tokens_per_second) * 3600 / 1e6;
  return Quantity::around(tokens, s.spread(), "", Provenance::kExtrapolated);
}

/// What an hour takes, shared out to a million tokens; or why it is not known. `what`: of an hour, for
/// people.
Figure per_million(const ServeSetting& s, const ServeOption& o, Figure f, const base::Result<Quantity>& hour,
                   const char* unit, const char* what) {
  if (!hour.ok()) {
    f.missing = hour.error().message;
    return f;
  }
  f.value = over(*hour, millions(s, o), unit);
  f.how = fmt::format("{} an hour / tokens {}", what,
                      s.job.rate > 0 ? "that the rate asks for" : "of answers an hour");
  return f;
}

/// At full load, of a grid that is given.
base::Result<Quantity> hourly_grams(const ServeSetting& s) {
  TW_ASSIGN_OR_RETURN(const double power, kilowatts(s));
  return Quantity::around(power * s.cluster.carbon.value, 0.3, "g/h", Provenance::kAssumed);
}

Figure carbon_figure(const ServeSetting& s, const ServeOption& o) {
  return per_million(s, o, {"grams_co2_per_million_tokens", "carbon dioxide, a million", {}, {}, {}},
                     hourly_grams(s), "g", "power at full load x grid");
}

Figure money_figure(const ServeSetting& s, const ServeOption& o) {
  return per_million(s, o, {"usd_per_million_tokens", "a million tokens", {}, {}, {}}, hourly(s), "USD",
                     s.cluster.rent.given ? "rent" : "price and energy");
}

void add_simulated(const ServeSetting& s, const std::string& reason, ServeAnswer& answer) {
  const auto add = [&](const char* key, const char* title, double Served::* value, double scale,
                       const char* unit, const char* how) {
    Figure f{key, title, std::nullopt, reason, {}};
    if (answer.simulated) {
      f.value =
          Quantity::around(scale * ((*answer.simulated).*value), s.spread(), unit, Provenance::kExtrapolated);
      f.how = how;
    }
    answer.figures.push_back(std::move(f));
  };
  const ServeOption& o = answer.best;
  // One group was simulated; fewer requests than groups, or that do not divide, leave some idle.
  double groups = o.groups;
  if (s.job.concurrency > 0) {
    const auto all = static_cast<double>(s.job.concurrency);
    groups = std::min(groups, all / std::ceil(all / groups));
  }
  add("simulated_tokens_per_second", "simulated tokens/s", &Served::tokens_per_second, groups, "tokens/s",
      "events, Tokenworks' scheduler");
  add("simulated_ttft_seconds", "simulated TTFT", &Served::first_token, 1, "s", "queueing included");
  add("simulated_ttft_99_seconds", "simulated TTFT, p99", &Served::first_token_99, 1, "s",
      "queueing included");
  add("simulated_tpot_seconds", "simulated ITL", &Served::output_token, 1, "s",
      "events, Tokenworks' scheduler");
}

}  // namespace

std::vector<Figure> ServeOption::figures(const ServeSetting& s) const {
  const auto figure = [](const char* key, const char* title, double value, double spread, const char* unit,
                         const char* how) {
    return Figure{key, title, Quantity::around(value, spread, unit, Provenance::kExtrapolated), {}, how};
  };
  const double spread = s.spread();
  return {figure("running", "running in a group", running, spread, "requests", "on average"),
          figure("tokens_per_second", "tokens a second", tokens_per_second, spread, "tokens/s",
                 "requests a second x output"),
          figure("requests_per_second", "requests a second", requests_per_second, spread, "1/s",
                 "requests in flight / request"),
          figure("ttft_seconds", "first token (TTFT)", first_token, spread, "s", "closed form"),
          figure("tpot_seconds", "between tokens (ITL)", output_token, spread, "s", "closed form"),
          figure("weights_bytes", "weights", weights, kMemorySpread, "B", "of a rank, by the trace"),
          figure("cache_bytes", "keys and values", cache, kMemorySpread, "B", "of a rank, on average"),
          figure("cache_room_bytes", "room for keys and values", room, kMemorySpread, "B",
                 "nine tenths of the memory without weights and framework")};
}

void add_serve_figures(const ServeSetting& s, const std::string& reason, ServeAnswer& answer) {
  const ServeOption& o = answer.best;
  const auto add = [&](const char* key, const char* title, double value, const char* unit, const char* how) {
    answer.figures.push_back(
        {key, title, Quantity::around(value, s.spread(), unit, Provenance::kExtrapolated), {}, how});
  };
  const bool rate = s.job.rate > 0;
  add("tokens_per_second", rate ? "most tokens a second" : "tokens a second", o.tokens_per_second, "tokens/s",
      "of answers: requests a second x output");
  add("requests_per_second", rate ? "most requests a second" : "requests a second", o.requests_per_second,
      "1/s",
      s.job.concurrency > 0 ? "min(groups x batch, concurrency) / request" : "groups x batch / request");
  const bool queue = s.job.concurrency > 0 && static_cast<double>(s.job.concurrency) > o.groups * o.batch;
  add("ttft_seconds", "first token (TTFT)", o.first_token, "s",
      queue ? "the queue, half a step and the step with the prompt"
            : "half a step and the step with the prompt");
  add("tpot_seconds", "between tokens (ITL)", o.output_token, "s",
      rate ? "step + (running - 1) / output x prompt" : "step + (batch - 1) / output x prompt");
  if (rate)
    add("running", "running in a group", o.running, "requests",
        "requests in flight: rate / groups x request");
  add_simulated(s, reason, answer);
  answer.figures.push_back(money_figure(s, o));
  if (s.cluster.carbon.given) answer.figures.push_back(carbon_figure(s, o));
}

}  // namespace tw::plan
