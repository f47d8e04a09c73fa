#include "plan/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace tw::plan {
namespace {

constexpr double kStep = 0.2;

void scale(Setting& s, std::initializer_list<Field> fields, double factor) {
  std::vector<Accelerator*> accelerators = {&s.accelerator};
  accelerators.reserve(1 + s.kinds.size());
  for (Kind& kind : s.kinds) accelerators.push_back(&kind.accelerator);
  for (Accelerator* a : accelerators) {
    for (const Field field : fields) {
      auto& value = a->values[static_cast<int>(field)];
      if (value) *value *= factor;
    }
  }
}

struct Input {
  const char* name;
  std::function<void(Setting&, double)> change;
};

const Input kInputs[] = {
    {"peak of the accelerator",
     [](Setting& s, double f) { scale(s, {Field::kBf16, Field::kFp16, Field::kFp8, Field::kFp4}, f); }},
    {"memory bandwidth", [](Setting& s, double f) { scale(s, {Field::kMemoryBandwidth}, f); }},
    {"links inside a domain",
     [](Setting& s, double f) {
       scale(s, {Field::kScaleUpBandwidth}, f);
       s.fabric.torus_link *= f;
     }},
    {"NICs", [](Setting& s, double f) { scale(s, {Field::kNic}, f); }},
    {"links to the hosts", [](Setting& s, double f) { scale(s, {Field::kHostLink}, f); }},
    {"memory bandwidth of the hosts", [](Setting& s, double f) { scale(s, {Field::kHostBandwidth}, f); }},
    {"time of products against the measured curves",
     [](Setting& s, double f) { s.stack.constants[static_cast<int>(Constant::kCompute)] *= f; }},
    {"launch floors of the software",
     [](Setting& s, double f) {
       s.stack.constants[static_cast<int>(Constant::kLayerFloor)] *= f;
       s.stack.constants[static_cast<int>(Constant::kCollectiveFloor)] *= f;
     }},
    {"failures", [](Setting& s, double f) { s.cluster.failures *= f; }},
    {"restart after a failure", [](Setting& s, double f) { s.cluster.restart.value *= f; }},
    {"repair of a node", [](Setting& s, double f) { s.cluster.repair.value *= f; }},
    {"stall of a checkpoint", [](Setting& s, double f) { s.cluster.checkpoint.value *= f; }},
};

base::Result<double> days_with(const Setting& setting, const spec::ParallelPlan& plan, const Input* input,
                               double factor) {
  Setting changed = setting;
  if (input != nullptr) input->change(changed, factor);
  TW_ASSIGN_OR_RETURN(const Estimate e, estimate(changed, plan));
  for (const Figure& f : e.figures) {
    if (f.key == "days" && f.value) return f.value->value;
  }
  return base::error(base::Code::kNotFound, "the days are not known");
}

}  // namespace

base::Result<std::vector<Sensitivity>> sensitivity(const Setting& setting, const spec::ParallelPlan& plan) {
  TW_ASSIGN_OR_RETURN(const double middle, days_with(setting, plan, nullptr, 1));
  std::vector<Sensitivity> found;
  for (const Input& input : kInputs) {
    // An input may leave nothing that trains between failures; then there is no such day.
    const auto lower = days_with(setting, plan, &input, 1 - kStep);
    const auto higher = days_with(setting, plan, &input, 1 + kStep);
    if (!lower.ok() || !higher.ok()) continue;
    if (std::max(std::fabs(*lower - middle), std::fabs(*higher - middle)) < 1e-3 * middle) continue;
    found.push_back({input.name, *lower, *higher});
  }
  std::sort(found.begin(), found.end(), [](const Sensitivity& a, const Sensitivity& b) {
    return std::fabs(a.days_higher - a.days_lower) > std::fabs(b.days_higher - b.days_lower);
  });
  return found;
}

}  // namespace tw::plan
