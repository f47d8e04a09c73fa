#include <cmath>

#include "train/optimizer_rules.h"

namespace tw::train {

void adamw_update(const OptimizerStep& step, const OptimizerParam& p) {
  if (step.ex.tracing()) return;
  const OptimizerOptions& o = step.options;
  const auto t = static_cast<double>(step.number);
  kernels::AdamWArgs a{};
  a.weight = p.weight.data();
  a.first = p.state[0].data();
  a.second = p.state[1].data();
  a.gradient = p.gradient.data();
  a.gradient_scale = step.gradient_scale;
  a.keep = p.keep;
  a.beta1 = static_cast<float>(o.beta1);
  a.beta2 = static_cast<float>(o.beta2);
  a.step = static_cast<float>(step.rate / (1 - std::pow(o.beta1, t)));
  a.root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(o.beta2, t)));
  a.epsilon = static_cast<float>(o.epsilon);
  step.ex.slice(p.param.elements(), 64, [&](std::int64_t begin, std::int64_t end) {
    a.begin = begin, a.end = end;
    step.ex.table().train.adamw(a);
  });
}

}  // namespace tw::train
