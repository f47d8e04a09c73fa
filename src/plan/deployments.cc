#include "plan/deployments.h"

#include <algorithm>

namespace tw::plan {

base::Result<ServeCosts*> Deployments::get(const ServingRow& row, const ServeStack& stack,
                                           const ServeSplit& split) {
  const double cache = stack.cache_bytes(row.precision, *row.accelerator);
  const Key key{row.model, split, row.accelerator, row.precision, cache};
  if (const auto found = known_.find(key); found != known_.end()) return found->second.get();
  auto& tracer = tracers_[row.model];
  if (tracer == nullptr) tracer = std::make_unique<Tracer>(row.model->config);
  TW_ASSIGN_OR_RETURN(ServeCosts costs,
                      ServeCosts::make(*tracer, split, *row.accelerator, row.precision, cache));
  return (known_[key] = std::make_unique<ServeCosts>(std::move(costs))).get();
}

base::Result<double> memory_of(const Accelerator& a) {
  TW_ASSIGN_OR_RETURN(const Quantity gb, a.get(Field::kMemory));
  return gb.value * kCatalogueGb;
}

int requests_of(const ServeLoad& load) {
  return static_cast<int>(std::clamp(10 * load.concurrency, 10.0, 1e9));
}

ServeSamples samples_of(const std::vector<ServingRow>& known, Deployments& deployments,
                        const std::string& only) {
  const bool has = std::ranges::any_of(
      known, [&](const ServingRow& row) { return serve_stack_of(row.system).name == only && row.scored; });
  ServeSamples samples;
  for (const ServingRow& row : known) {
    if (!row.scored || row.output_token <= 0 || row.set == "serve-mlperf") continue;
    const ServeStack stack = serve_stack_of(row.system);
    if (has && stack.name != only) continue;
    const auto costs = deployments.get(row, stack, row.split);
    const auto memory = memory_of(*row.accelerator);
    if (!costs.ok() || !memory.ok()) continue;
    ServeSample sample;
    sample.basis = serve_basis(**costs, stack, row.load, *memory), sample.seconds = row.output_token;
    if (row.load.shortest < 1 && row.load.concurrency <= 64) sample.first_token = row.first_token;
    // What runs in waves takes other time than the closed form says; by how much hangs little on constants.
    const Served served =
        simulate_serving(**costs, stack, kTypicalServing, row.load, *memory, requests_of(row.load));
    sample.waves = served.output_token / output_token_seconds(sample.basis, kTypicalServing);
    samples[stack.name][row.group()].push_back(sample);
  }
  return samples;
}

ServeConstants Fits::get(const std::string& stack, const std::string& left_out, bool* typical) {
  const auto others = others_of(samples_, stack, left_out);
  *typical = others.empty();
  const auto [at, fresh] = known_.try_emplace({*typical ? "" : stack, left_out});
  if (fresh) at->second = *typical ? median_stack(samples_, left_out) : fit_serving(others);
  return at->second;
}

}  // namespace tw::plan
