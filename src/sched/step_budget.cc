#include "sched/step_budget.h"

#include <algorithm>

namespace tw::sched {
namespace {

constexpr double kFirst = 64;              // tokens, until something is known
constexpr double kSmooth = 0.2;            // weight of a new step in the average
constexpr double kGrow = 1.1, kAim = 0.9;  // of what is allowed, since single steps vary

constexpr double kMuch = 2;   // of the stretch
constexpr int kLate = 3;      // such steps, until it is believed
constexpr double kRow = 0.1;  // what a token more adds to a step, of one with one token, until it was seen

void blend(double& average, double value) {
  average = average == 0 ? value : average + kSmooth * (value - average);
}

int bucket_of(std::int64_t tokens) {
  return std::bit_width(static_cast<std::uint64_t>(tokens)) - 1;
}

}  // namespace

StepBudget::StepBudget(double stretch, std::int64_t most) : stretch_(stretch), most_(most) {
  tokens_[0] = tokens_[1] = std::min(kFirst, static_cast<double>(most));
}

std::int64_t StepBudget::prompt_tokens(std::int64_t answers, std::int64_t others) const {
  if (stretch_ <= 1) return most_;
  const double crowd = answers == 0 ? 1 : static_cast<double>(others) / static_cast<double>(answers);
  return static_cast<std::int64_t>(
      std::min(tokens_[others > 1] * std::max(crowd, 1.0), static_cast<double>(most_)));
}

/// As it was for so many tokens, or else for the nearest number: while prompts keep coming there may be no
/// step without them.
double StepBudget::plain_seconds(std::int64_t generated_tokens) const {
  const int wanted = bucket_of(generated_tokens);
  const Plain* nearest = nullptr;
  for (int distance = 0; distance < kBuckets && nearest == nullptr; ++distance) {
    for (const int bucket : {wanted - distance, wanted + distance}) {
      if (bucket >= 0 && bucket < kBuckets && plain_[bucket].seconds > 0) nearest = &plain_[bucket];
    }
  }
  if (nearest == nullptr) return 0;
  const auto size = [](double tokens) { return 1 + kRow * (tokens - 1); };
  return nearest->seconds * size(static_cast<double>(generated_tokens)) / size(nearest->tokens);
}

void StepBudget::ran(std::int64_t generated_tokens, std::int64_t prompt_tokens, double seconds,
                     std::int64_t others) {
  if (generated_tokens == 0 || stretch_ <= 1) return;
  if (prompt_tokens == 0) {
    late_ = 0;
    Plain& plain = plain_[bucket_of(generated_tokens)];
    blend(plain.tokens, static_cast<double>(generated_tokens));
    blend(plain.seconds, seconds);
    return;
  }
  const double plain = plain_seconds(generated_tokens);
  double& tokens = tokens_[others > 1];
  const bool crowded = static_cast<double>(prompt_tokens) > tokens + 1;
  if (plain == 0 || crowded) return;
  // What a token of the prompt costs is known only together with what every step with prompts costs, so the
  // budget is steered, not computed.
  const double allowed = plain * stretch_ * kAim * (others > 1 ? kQueue : 1);
  if (others <= 1 && prompt_tokens <= kLeast && seconds > plain * stretch_ * kMuch) ++late_;
  if (seconds > allowed) {
    const double beyond = (seconds - plain) / (allowed - plain);
    tokens = std::min(tokens, static_cast<double>(prompt_tokens)) / std::min(std::max(beyond, kGrow), 4.0);
  } else if (static_cast<double>(prompt_tokens) >= tokens - 1) {
    tokens *= kGrow;
  }
  const std::int64_t least = late_ >= kLate ? kLeastWhenLate : kLeast;
  tokens = std::clamp(tokens, static_cast<double>(std::min(least, most_)), static_cast<double>(most_));
}

}  // namespace tw::sched
