#include "sched/step_budget.h"

#include <algorithm>
#include <cmath>

namespace tw::sched {
namespace {

constexpr double kSmooth = 0.2;  // weight of a new step in an average
constexpr double kAim = 0.8;     // of what prompts are allowed, since single steps vary
constexpr double kSlack = 1.1;   // of the aim, that a chunk under way may take rather than a layer less
constexpr double kRow = 0.1;     // what a token more adds to a step, of one with one token

void blend(double& average, double value) {
  average = average == 0 ? value : average + kSmooth * (value - average);
}

/// What generated tokens take, in those of a single one.
double generated_size(double tokens) {
  return 1 + kRow * (tokens - 1);
}

/// What PromptShare counts of so many tokens that go through a layer.
double layer_tokens(std::int64_t tokens) {
  return static_cast<double>(tokens + PromptShare::kLayerTokens);
}

}  // namespace

StepBudget::StepBudget(double stretch, std::int64_t most, std::int64_t layers)
    : stretch_(stretch), most_(most), layers_(layers) {}

PromptShare StepBudget::share(std::int64_t answers, std::int64_t others) const {
  if (stretch_ <= 1 || answers == 0) return {most_, PromptShare::kNoLimit};
  const double crowd = std::max(1.0, static_cast<double>(others) / static_cast<double>(answers));
  const double times = stretch_ * (others > 1 ? kQueue : 1);
  const double plain = seconds_ * generated_size(static_cast<double>(answers)) / generated_size(generated_);
  const double allowed = kAim * (times - 1) * crowd * plain;
  const double work = cost_ == 0 ? layer_tokens(kLeast) : allowed / cost_;
  const double layers =
      std::clamp(std::round(work / layer_tokens(kChunk)), 1.0, static_cast<double>(layers_));
  const double tokens = std::min(work / layers - layer_tokens(0), static_cast<double>(most_));
  return {std::max(static_cast<std::int64_t>(tokens), std::min(kLeast, most_)),
          static_cast<std::int64_t>(std::min(kSlack * work, 1e15))};
}

void StepBudget::answered(std::int64_t tokens, double seconds) {
  if (tokens == 0) return;
  blend(generated_, static_cast<double>(tokens));
  blend(seconds_, seconds);
}

void StepBudget::read(std::int64_t tokens, std::int64_t layers, double seconds) {
  if (tokens > 0) blend(cost_, seconds / (static_cast<double>(layers) * layer_tokens(tokens)));
}

}  // namespace tw::sched
