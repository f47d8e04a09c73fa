#include "plan/serve_details.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <tuple>

#include "plan/serve_division.h"

namespace tw::plan {
namespace {

constexpr double kLess = 0.8, kMore = 1.2;
constexpr double kLeast = 1e-3;  ///< moves less: not told

struct Input {
  const char* name;
  std::function<void(ServeSetting&, double)> scale;
};

Input field(const char* name, std::initializer_list<Field> fields) {
  return {name, [list = std::vector<Field>(fields)](ServeSetting& s, double by) {
            for (const Field f : list) {
              if (auto& value = s.accelerator.values[static_cast<int>(f)]) *value *= by;
            }
          }};
}

Input constant(const char* name, ServeConstant which) {
  return {name, [which](ServeSetting& s, double by) { s.stack.constants[static_cast<int>(which)] *= by; }};
}

Input tokens(const char* name, std::int64_t spec::ServeJob::* length) {
  return {name, [length](ServeSetting& s, double by) {
            s.job.*length = std::max<std::int64_t>(1, std::llround(by * static_cast<double>(s.job.*length)));
          }};
}

/// Tokens a second of this division under another setting, with this batch or what fits of it: a plan may not
/// hold more than its cache. `most`: with what fits, be it more.
base::Result<double> speed(const ServeSetting& s, const ServeOption& o, bool most) {
  Tracer tracer(s.model.config);
  TW_ASSIGN_OR_RETURN(const auto division, ServeDivision::make(s, tracer, o.split));
  if (!division->fits()) return 0;
  return division->at(most ? division->most() : std::min(o.batch, division->most())).tokens_per_second;
}

/// Whether the option's batch is what fits, and nothing else keeps it from being more.
base::Result<bool> fills(const ServeSetting& s, const ServeOption& o) {
  if (s.job.batch > 0 || s.job.rate > 0 || s.job.concurrency > 0 || s.job.tpot.given || s.job.ttft.given)
    return false;
  Tracer tracer(s.model.config);
  TW_ASSIGN_OR_RETURN(const auto division, ServeDivision::make(s, tracer, o.split));
  return o.batch >= division->most();
}

}  // namespace

base::Result<std::vector<std::pair<const char*, double>>> token_parts(const ServeSetting& s,
                                                                      const ServeOption& o) {
  Tracer tracer(s.model.config);
  TW_ASSIGN_OR_RETURN(const auto division, ServeDivision::make(s, tracer, o.split));
  ServeLoad load{static_cast<double>(s.job.input), static_cast<double>(s.job.output), o.running};
  load.shortest = s.job.shortest;
  const ServeConstants& c = s.stack.constants;
  const ServeBasis basis = serve_basis(division->costs(), s.stack.stack, load, s.memory);
  const auto at = [&](ServeConstant name) { return c[static_cast<int>(name)]; };
  const ServeStep& step = basis.answers;
  const double products = step.products * at(ServeConstant::kProduct);
  const double memory = step.memory / at(ServeConstant::kMemory);
  const double exchange = step.network + step.collectives * at(ServeConstant::kCollective);
  const double whole = serve_seconds(step, c);
  const double known = products + memory + exchange + at(ServeConstant::kStep);
  return std::vector<std::pair<const char*, double>>{
      {"products", products},
      {"keys, values and rows", memory},
      {"exchange", exchange},
      {"the step itself (stack)", at(ServeConstant::kStep)},
      {"waiting for the host", std::max(0.0, whole - known)},
      {"prompts of other requests", std::max(0.0, output_token_seconds(basis, c) - whole)}};
}

base::Result<std::vector<ServeSensitivity>> serve_sensitivity(const ServeSetting& setting,
                                                              const ServeOption& option) {
  const Input inputs[] = {
      tokens("tokens of a request", &spec::ServeJob::input),
      tokens("tokens of an answer", &spec::ServeJob::output),
      field("peak of the accelerator", {Field::kBf16, Field::kFp16, Field::kFp8, Field::kFp4}),
      field("memory bandwidth", {Field::kMemoryBandwidth}),
      field("scale-up bandwidth", {Field::kScaleUpBandwidth}),
      field("NICs", {Field::kNic}),
      constant("time of products against the measured curves", ServeConstant::kProduct),
      constant("time of prompts against the measured curves", ServeConstant::kPrompt),
      constant("share of the memory's bandwidth", ServeConstant::kMemory),
      constant("launches of a layer", ServeConstant::kLaunch),
      constant("latency of collectives", ServeConstant::kCollective),
      constant("time of a step beside its layers", ServeConstant::kStep)};
  TW_ASSIGN_OR_RETURN(const bool most, fills(setting, option));
  TW_ASSIGN_OR_RETURN(const double middle, speed(setting, option, most));
  std::vector<ServeSensitivity> found;
  for (const Input& input : inputs) {
    ServeSetting less = setting, more = setting;
    input.scale(less, kLess), input.scale(more, kMore);
    TW_ASSIGN_OR_RETURN(const double lower, speed(less, option, most));
    TW_ASSIGN_OR_RETURN(const double higher, speed(more, option, most));
    if (std::max(std::fabs(lower - middle), std::fabs(higher - middle)) >= kLeast * middle)
      found.push_back({input.name, lower, higher});
  }
  std::sort(found.begin(), found.end(), [&](const auto& a, const auto& b) {
    const auto reach = [&](const ServeSensitivity& r) {
      return std::max(std::fabs(r.lower - middle), std::fabs(r.higher - middle));
    };
    return std::tuple(-reach(a), a.input) < std::tuple(-reach(b), b.input);
  });
  return found;
}

}  // namespace tw::plan
