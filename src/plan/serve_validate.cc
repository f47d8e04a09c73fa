#include "plan/serve_validate.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "plan/advice.h"
#include "plan/serve_offline.h"
#include "plan/statistics.h"

namespace tw::plan {
namespace {

base::Status predict_row(const ServingRow& row, Deployments& deployments, Fits& fits, ServePrediction& p) {
  const ServeStack stack = serve_stack_of(row.system);
  TW_ASSIGN_OR_RETURN(ServeCosts * costs, deployments.get(row, stack, row.split));
  TW_ASSIGN_OR_RETURN(const double memory, memory_of(*row.accelerator));
  if (cache_tokens(*costs, memory) < row.load.input + row.load.output)
    return base::error(base::Code::kResourceExhausted, "it does not fit in the accelerators' memory");
  const ServeConstants c = fits.get(stack.name, row.group(), &p.typical);
  p.closed = output_token_seconds(serve_basis(*costs, stack, row.load, memory), c);
  const Served served = simulate_serving(*costs, stack, c, row.load, memory, requests_of(row.load));
  p.simulated = served.output_token, p.first_token = served.first_token;
  p.curves = costs->provenance();
  return base::Ok{};
}

base::Status predict_offline(const ServingRow& row, Deployments& deployments, Fits& fits,
                             const RoundPaces& paces, ServePrediction& p) {
  const ServeConstants c = fits.get(offline_stack(row).name, {}, &p.typical);
  TW_ASSIGN_OR_RETURN(const double tokens, offline_tokens(row, deployments, c, &p.curves));
  p.tokens_per_second = tokens * paces.of(row);
  return base::Ok{};
}

double off(double predicted, double measured) {
  return 100 * std::fabs(predicted / measured - 1);
}

SetScore scored(SetScore s, const char* metric, double value, double target) {
  s.metric = metric, s.value = value, s.target = target;
  s.met = s.rows > s.unpredicted && value <= target;
  return s;
}

}  // namespace

std::vector<ServePrediction> predict_serving(const std::vector<ServingRow>& rows,
                                             const std::vector<ServingRow>& known) {
  Deployments deployments;
  const ServeSamples samples = samples_of(known, deployments);
  Fits fits(samples);
  std::optional<RoundPaces> paces;
  std::vector<ServePrediction> result;
  result.reserve(rows.size());
  for (const ServingRow& row : rows) {
    ServePrediction p;
    p.row = &row;
    p.problem = row.problem;
    if (p.problem.empty() && row.scored) {
      const bool offline = row.set == "serve-mlperf";
      if (offline && !paces) paces.emplace(known, deployments, fits);
      const auto status = offline ? predict_offline(row, deployments, fits, *paces, p)
                                  : predict_row(row, deployments, fits, p);
      if (!status.ok()) p.problem = without_advice(status.error().message);
    }
    result.push_back(std::move(p));
  }
  return result;
}

std::vector<SetScore> score_serving(const std::vector<ServePrediction>& predictions) {
  std::vector<SetScore> scores;
  SetScore first;
  first.set = "serve-ttft";
  std::vector<double> first_errors;
  for (const char* set : {"serve-dense", "serve-moe"}) {
    SetScore base;
    base.set = set;
    std::vector<double> closed, simulated;
    for (const ServePrediction& p : predictions) {
      if (p.row->set != set || !p.row->scored) continue;
      ++base.rows, ++first.rows;
      if (!p.problem.empty()) {
        ++base.unpredicted, ++first.unpredicted;
        continue;
      }
      closed.push_back(off(p.closed, p.row->output_token));
      simulated.push_back(off(p.simulated, p.row->output_token));
      if (p.row->first_token > 0)
        first_errors.push_back(off(p.first_token, p.row->first_token));
      else
        ++first.unpredicted;
    }
    if (base.rows == 0) continue;
    const bool dense = std::string(set) == "serve-dense";
    scores.push_back(scored(base, "TPOT MAPE %, closed form", mean(closed), dense ? 14 : 20));
    scores.push_back(scored(base, "TPOT MAPE %, simulated", mean(simulated), dense ? 10 : 20));
  }
  if (first.rows > 0)
    scores.push_back(scored(first, "TTFT median error %, simulated", median(first_errors), 30));
  SetScore offline;
  offline.set = "serve-mlperf";
  std::map<std::string, std::vector<double>> kinds;
  std::vector<double> all;
  for (const ServePrediction& p : predictions) {
    if (p.row->set != offline.set || !p.row->scored) continue;
    ++offline.rows;
    if (!p.problem.empty()) {
      ++offline.unpredicted;
      continue;
    }
    all.push_back(off(p.tokens_per_second, p.row->tokens_per_second));
    kinds[fmt::format("{} {}", p.row->accelerator->name, p.row->round())].push_back(all.back());
  }
  if (offline.rows == 0) return scores;
  double worst = 0;
  for (const auto& [kind, errors] : kinds) worst = std::max(worst, median(errors));
  scores.push_back(scored(offline, "median error %", median(all), 15));
  scores.push_back(scored(offline, "largest median of an accelerator and round %", worst, 15));
  return scores;
}

FittedServing fit_serving_stack(const std::vector<ServingRow>& known, const std::string& name) {
  Deployments deployments;
  FittedServing result;
  result.stack = serve_stack_of(name);
  const ServeSamples samples = samples_of(known, deployments, result.stack.name);
  const auto all = others_of(samples, result.stack.name, {});
  result.rows = static_cast<int>(all.size());
  result.constants = all.empty() ? median_stack(samples, {}) : fit_serving(all);
  for (const ServeSample* s : all)
    result.error += std::fabs(output_token_seconds(s->basis, result.constants) * s->waves / s->seconds - 1) /
                    static_cast<double>(all.size());
  return result;
}

}  // namespace tw::plan
