#include "infer/step_budget.h"

#include <algorithm>

namespace tw::infer {
namespace {

constexpr double kFirst = 64;              // tokens, until something is known
constexpr double kSmooth = 0.2;            // weight of a new step in the average
constexpr double kGrow = 1.1, kAim = 0.9;  // of what is allowed, since single steps vary

}  // namespace

StepBudget::StepBudget(double stretch, std::int64_t most)
    : stretch_(stretch),
      most_(most),
      tokens_(std::min(kFirst, static_cast<double>(most))),
      plain_seconds_(0) {}

std::int64_t StepBudget::prompt_tokens(std::int64_t answers, std::int64_t others) const {
  if (stretch_ <= 1) return most_;
  const double crowd = answers == 0 ? 1 : static_cast<double>(others) / static_cast<double>(answers);
  return static_cast<std::int64_t>(std::min(tokens_ * std::max(crowd, 1.0), static_cast<double>(most_)));
}

void StepBudget::ran(std::int64_t generated_tokens, std::int64_t prompt_tokens, double seconds) {
  if (generated_tokens == 0 || stretch_ <= 1) return;
  if (prompt_tokens == 0) {
    plain_seconds_ = plain_seconds_ == 0 ? seconds : plain_seconds_ + kSmooth * (seconds - plain_seconds_);
    return;
  }
  const bool crowded = static_cast<double>(prompt_tokens) > tokens_ + 1;
  if (plain_seconds_ == 0 || crowded) return;
  // What a token of the prompt costs is known only together with what every step with prompts costs, so the
  // budget is steered, not computed.
  const double allowed = plain_seconds_ * stretch_ * kAim;
  if (seconds > allowed) {
    const double beyond = (seconds - plain_seconds_) / (allowed - plain_seconds_);
    tokens_ = std::min(tokens_, static_cast<double>(prompt_tokens)) / std::min(std::max(beyond, kGrow), 4.0);
  } else if (static_cast<double>(prompt_tokens) >= tokens_ - 1) {
    tokens_ *= kGrow;
  }
  tokens_ = std::clamp(tokens_, static_cast<double>(std::min(kLeast, most_)), static_cast<double>(most_));
}

}  // namespace tw::infer
