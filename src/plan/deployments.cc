#include "plan/deployments.h"

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

ServeSamples samples_of(const std::vector<ServingRow>& known, Deployments& deployments) {
  ServeSamples samples;
  for (const ServingRow& row : known) {
    if (!row.scored || row.output_token <= 0 || row.set == "serve-mlperf") continue;
    const ServeStack stack = serve_stack_of(row.system);
    const auto costs = deployments.get(row, stack, row.split);
    const auto memory = memory_of(*row.accelerator);
    if (!costs.ok() || !memory.ok()) continue;
    samples[stack.name][row.group()].push_back(
        {serve_basis(**costs, stack, row.load, *memory), row.output_token,
         row.load.shortest < 1 && row.load.concurrency <= 64 ? row.first_token : 0});
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
