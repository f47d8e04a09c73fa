#include "plan/serve_offline.h"

#include <algorithm>
#include <cmath>

#include "plan/statistics.h"

namespace tw::plan {
namespace {

constexpr double kMostRunning = 2048;  ///< max_batch_size of TensorRT-LLM, and what its configurations state
constexpr double kStages = 5;          ///< the round from which on submissions have stages

}  // namespace

ServeStack offline_stack(const ServingRow& row) {
  const bool vllm = row.accelerator->vendor != "NVIDIA" || row.system.find("vLLM") != std::string::npos;
  return serve_stack_of(vllm ? "vllm" : "trtllm");
}

base::Result<double> offline_tokens(const ServingRow& row, Deployments& deployments, const ServeConstants& c,
                                    Provenance* curves) {
  const ServeStack stack = offline_stack(row);
  TW_ASSIGN_OR_RETURN(const double memory, memory_of(*row.accelerator));
  base::Status reason = base::error(base::Code::kResourceExhausted, "it does not fit in any division");
  double best = 0;
  for (const int tensor : {1, 2, 4, 8}) {
    for (const int stages : {1, 2, 4, 8}) {
      const int ranks = tensor * stages;
      if (ranks > 8 || static_cast<int>(row.accelerators) % ranks != 0) continue;
      if (stages > 1 && row.round() < kStages) continue;
      ServeSplit split;
      split.tensor = tensor, split.pipeline = stages;
      const auto costs = deployments.get(row, stack, split);
      if (!costs.ok()) {
        reason = costs.error();
        continue;
      }
      ServeLoad load = row.load;
      load.concurrency = kMostRunning;
      if (cache_tokens(**costs, memory) < load.input + load.output) continue;
      const ServeBasis b = serve_basis(**costs, stack, load, memory);
      const double step = serve_seconds(b.answers, c) + b.batch / b.output * prompt_seconds(b.prompt, c);
      if (const double tokens = b.batch / step * row.accelerators / ranks; tokens > best) {
        best = tokens;
        *curves = (*costs)->provenance();
      }
    }
  }
  if (best <= 0) return reason.error();
  return best;
}

RoundPaces::RoundPaces(const std::vector<ServingRow>& known, Deployments& deployments, Fits& fits) {
  std::map<std::tuple<std::string, double, std::string>, std::vector<double>> ratios;
  for (const ServingRow& row : known) {
    if (!row.scored || !row.problem.empty() || row.set != "serve-mlperf" || row.tokens_per_second <= 0)
      continue;
    bool typical = false;
    Provenance curves = Provenance::kMeasured;
    const ServeStack stack = offline_stack(row);
    const auto tokens = offline_tokens(row, deployments, fits.get(stack.name, {}, &typical), &curves);
    if (tokens.ok())
      ratios[{stack.name, row.round(), row.accelerator->name}].push_back(row.tokens_per_second / *tokens);
  }
  points_.reserve(ratios.size());
  for (const auto& [key, list] : ratios)
    points_.push_back({std::get<0>(key), std::get<2>(key), std::get<1>(key), median(list)});
}

double RoundPaces::of(const ServingRow& row) const {
  const std::string stack = offline_stack(row).name;
  double nearest = 0, away = INFINITY;
  for (const Point& p : points_) {
    if (const double far = std::fabs(p.round - row.round()); far < away) away = far, nearest = p.round;
  }
  std::vector<double> own, all;
  for (const Point& p : points_) {
    if (p.round != nearest || p.accelerator == row.accelerator->name) continue;
    all.push_back(p.pace);
    if (p.stack == stack) own.push_back(p.pace);
  }
  // One accelerator alone may have run anything: a reference, say.
  return all.empty() ? 1 : median(own.size() < 2 ? all : own);
}

}  // namespace tw::plan
