#include "plan/serve_fit.h"

#include <algorithm>
#include <cmath>

#include "plan/fit.h"

namespace tw::plan {
namespace {

/// What a first token counts against the time of all others.
constexpr double kFirstTokenWeight = 0.4;
/// What a constant that is e times its typical value costs, as the error of so many samples: what few
/// deployments ask for must pay it.
constexpr double kAway = 10;

}  // namespace

ServeConstants fit_serving(const std::vector<const ServeSample*>& samples) {
  if (samples.empty()) return kTypicalServing;
  const auto constants = [](const std::vector<double>& logs) {
    ServeConstants c;
    for (int i = 0; i < kServeConstants; ++i) c[i] = kTypicalServing[i] * std::exp(logs[i]);
    double& memory = c[static_cast<int>(ServeConstant::kMemory)];
    memory = std::min(memory, 0.95);
    return c;
  };
  const auto error = [&](const std::vector<double>& logs) {
    const ServeConstants c = constants(logs);
    double sum = 0, away = 0;
    // A run that was hindered (a factor of two and more) says nothing of the others.
    const auto off = [](double predicted, double measured) {
      return std::min(std::fabs(predicted / measured - 1), 0.5);
    };
    for (const ServeSample* s : samples) {
      sum += off(output_token_seconds(s->basis, c) * s->waves, s->seconds);
      if (s->first_token > 0)
        sum += kFirstTokenWeight * off(first_token_seconds(s->basis, c), s->first_token);
    }
    for (const double log : logs) away += log * log;
    return (sum + kAway * away) / static_cast<double>(samples.size());
  };
  std::vector<double> best = minimize(error, std::vector<double>(kServeConstants, 0.0), 150);
  best = minimize(error, best, 100);  // anew from there: a flat simplex wakes up
  return constants(best);
}

std::vector<const ServeSample*> others_of(const ServeSamples& samples, const std::string& stack,
                                          const std::string& left_out) {
  std::vector<const ServeSample*> result;
  const auto found = samples.find(stack);
  if (found == samples.end()) return result;
  for (const auto& [group, list] : found->second) {
    if (group == left_out) continue;
    for (const ServeSample& sample : list) result.push_back(&sample);
  }
  return result;
}

ServeConstants median_stack(const ServeSamples& samples, const std::string& left_out) {
  std::vector<ServeConstants> all;
  for (const auto& [stack, groups] : samples) {
    if (const auto others = others_of(samples, stack, left_out); others.size() >= 10)
      all.push_back(fit_serving(others));
  }
  if (all.empty()) return kTypicalServing;
  ServeConstants result;
  for (int i = 0; i < kServeConstants; ++i) {
    std::sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return a[i] < b[i]; });
    result[i] = all[all.size() / 2][i];
  }
  return result;
}

}  // namespace tw::plan
