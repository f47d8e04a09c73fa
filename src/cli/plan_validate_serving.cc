#include "cli/plan_validate_serving.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "plan/statistics.h"

namespace tw::cli {
namespace {

bool offline(const plan::ServePrediction& p) {
  return p.row->set == "serve-mlperf";
}

/// Predicted over measured, less one: of tokens a second, or of the simulated time per token.
double error_of(const plan::ServePrediction& p) {
  return offline(p) ? p.tokens_per_second / p.row->tokens_per_second - 1
                    : p.simulated / p.row->output_token - 1;
}

/// The median, or "-" where there is nothing.
std::string median(const std::vector<double>& values) {
  return values.empty() ? "-" : fmt::format("{:.1f}", plan::median(values));
}

void print_worst(std::vector<const plan::ServePrediction*> rows, int count) {
  std::sort(rows.begin(), rows.end(),
            [](const auto* a, const auto* b) { return std::fabs(error_of(*a)) > std::fabs(error_of(*b)); });
  rows.resize(std::min<std::size_t>(rows.size(), count));
  std::printf("\nWorst serving rows: measured and predicted with constants fitted on other deployments\n");
  for (const plan::ServePrediction* p : rows) {
    const plan::ServingRow& r = *p->row;
    const std::string what =
        offline(*p) ? fmt::format("{:8.0f} tok/s {:8.0f} tok/s", r.tokens_per_second, p->tokens_per_second)
                    : fmt::format("{:8.2f} ms/tok {:7.2f} ms/tok", r.output_token * 1e3, p->simulated * 1e3);
    std::printf("  row %4d %+6.1f %% %s  %s: %s on %.0f %s, %s %s, %.0f in, %.0f out, %.0f at once\n",
                r.number, 100 * error_of(*p), what.c_str(), r.system.c_str(), r.model_name.c_str(),
                r.accelerators, r.accelerator_name.c_str(), r.scenario.c_str(), r.parallel.c_str(),
                r.load.input, r.load.output, r.load.concurrency);
  }
}

struct Errors {
  std::vector<double> closed, simulated, first;
};

void print_systems(const std::vector<const plan::ServePrediction*>& rows) {
  std::map<std::string, Errors> systems;
  for (const plan::ServePrediction* p : rows) {
    const std::string name = offline(*p) ? fmt::format("MLPerf v{:.1f} offline", p->row->round())
                                         : p->row->system + ", " + p->row->model->name;
    Errors& e = systems[name + ", " + p->row->accelerator->name + (p->typical ? " (median stack)" : "")];
    e.simulated.push_back(100 * std::fabs(error_of(*p)));
    if (offline(*p)) continue;
    e.closed.push_back(100 * std::fabs(p->closed / p->row->output_token - 1));
    if (p->row->first_token > 0) e.first.push_back(100 * std::fabs(p->first_token / p->row->first_token - 1));
  }
  std::printf("\n%-74s %5s  %s\n", "median error % of a token's time: closed form, simulated; of TTFT",
              "rows", "closed  simul.    TTFT");
  for (auto& [name, e] : systems) {
    const std::size_t count = e.simulated.size();
    std::printf("%-74s %5zu %7s %7s %7s\n", name.c_str(), count, median(e.closed).c_str(),
                median(e.simulated).c_str(), median(e.first).c_str());
  }
}

}  // namespace

void print_serving(const std::vector<plan::ServePrediction>& predictions, int worst) {
  std::vector<const plan::ServePrediction*> scored;
  std::map<std::string, int> reasons;
  for (const plan::ServePrediction& p : predictions) {
    const bool counted = p.row->scored;
    if (p.problem.empty() && counted) scored.push_back(&p);
    if (!p.problem.empty() && (counted || p.row->scenario.find("MLPerf") == std::string::npos))
      ++reasons[(counted ? "" : "not scored: ") + p.row->system + ", " + p.row->model_name + ": " +
                p.problem];
  }
  print_worst(scored, worst);
  print_systems(scored);
  if (!reasons.empty()) std::printf("\nServing rows without a prediction\n");
  for (const auto& [reason, count] : reasons) std::printf("  %3d  %s\n", count, reason.c_str());
}

}  // namespace tw::cli
