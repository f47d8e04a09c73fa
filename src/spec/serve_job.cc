#include "spec/serve_job.h"

#include "spec/range.h"

namespace tw::spec {

base::Status ServeJob::validate() const {
  const auto between = [](const char* name, auto value, auto least, auto most,
                          const char* unit) -> base::Status {
    if (value >= least && value <= most) return base::Ok{};
    return base::error(base::Code::kInvalidArgument, "{} is {}, but must be {} to {}{}", name, value, least,
                       most, unit);
  };
  TW_RETURN_IF_ERROR(
      given_in_range("input", static_cast<double>(input), 1 << 24, "tokens of the longest request", "job"));
  TW_RETURN_IF_ERROR(
      given_in_range("output", static_cast<double>(output), 1 << 24, "tokens of the longest answer", "job"));
  TW_RETURN_IF_ERROR(between("concurrency", concurrency, std::int64_t{0}, std::int64_t{1} << 20, ""));
  // 0: none is asked for.
  if (rate != 0) TW_RETURN_IF_ERROR(between("rate", rate, 1e-6, 1e6, " requests/s"));
  if (ttft.given) TW_RETURN_IF_ERROR(between("ttft", ttft.value, 1e-9, 1e9, " seconds"));
  if (tpot.given) TW_RETURN_IF_ERROR(between("tpot", tpot.value, 1e-9, 1e9, " seconds"));
  TW_RETURN_IF_ERROR(between("shortest", shortest, 0.01, 1.0, ""));
  TW_RETURN_IF_ERROR(between("batch", batch, 0, 1 << 16, ""));
  TW_RETURN_IF_ERROR(between("stretch", stretch, 0.0, 1000.0, ""));
  TW_RETURN_IF_ERROR(between("step-tokens", step_tokens, 16, 1 << 20, ""));
  const std::pair<const char*, int> sizes[] = {{"tp", tp}, {"pp", pp}, {"ep", ep}};
  for (const auto& [name, size] : sizes) TW_RETURN_IF_ERROR(between(name, size, 0, 1024, ""));
  if (concurrency > 0 && rate > 0)
    return base::error(base::Code::kInvalidArgument,
                       "a job has either concurrency or rate: this one has both");
  if (precision != "bf16" && precision != "fp8" && precision != "fp4")
    return base::error(base::Code::kInvalidArgument, "precision is \"{}\", but must be bf16, fp8 or fp4",
                       precision);
  return base::Ok{};
}

}  // namespace tw::spec
