#include "spec/train_job.h"

#include <algorithm>
#include <cmath>

#include "spec/range.h"

namespace tw::spec {

base::Status TrainJob::validate() const {
  const auto wrong = [](const char* name, const std::string& value, const char* must) {
    return base::error(base::Code::kInvalidArgument, "{} is \"{}\", but must be {}", name, value, must);
  };
  TW_RETURN_IF_ERROR(
      given_in_range("batch", static_cast<double>(batch), 1 << 26, "sequences of a step", "job"));
  if (sequence < 1 || sequence > 1 << 24)
    return base::error(base::Code::kInvalidArgument, "sequence is {}, but must be 1 to {} tokens", sequence,
                       1 << 24);
  if (tokens.given == steps.given)
    return base::error(
        base::Code::kInvalidArgument,
        "a job has either tokens or steps: this one has {}: give --tokens 2T or --steps 10000, or "
        "\"tokens\" or \"steps\" in the job's file",
        tokens.given ? "both" : "neither");
  if (tokens.given) TW_RETURN_IF_ERROR(in_range("tokens", tokens.value, 1, 1e18));
  if (steps.given) TW_RETURN_IF_ERROR(in_range("steps", steps.value, 1, 1e12));
  if (total_steps() < 1)
    return base::error(
        base::Code::kInvalidArgument,
        "{:.0f} tokens are less than one step of {} sequences x {} tokens: --tokens {} would be one",
        tokens.value, batch, sequence, batch * sequence);
  if (precision != "bf16" && precision != "fp8" && precision != "fp4")
    return wrong("precision", precision, "bf16, fp8 or fp4");
  if (!recompute.empty() && recompute != "none" && recompute != "selective" && recompute != "full")
    return wrong("recompute", recompute, "none, selective or full");
  if (std::any_of(stack.begin(), stack.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }) ||
      (!stack.empty() && stack.find_first_not_of(' ') == std::string::npos))
    return base::error(base::Code::kInvalidArgument,
                       "stack is no name: it is blank or has a control character");
  return in_range("expert-capacity", expert_capacity, 0, 1e6);
}

double TrainJob::total_steps() const {
  const double of_tokens = tokens.value / (static_cast<double>(batch) * static_cast<double>(sequence));
  return steps.given ? std::floor(steps.value) : of_tokens < 1 ? of_tokens : std::ceil(of_tokens);
}

}  // namespace tw::spec
