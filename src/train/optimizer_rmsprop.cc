#include <algorithm>
#include <cmath>

#include "train/optimizer_rules.h"

namespace tw::train {

/// Two passes, for the root mean square of all must be known before anything moves.
void rmsprop_update(const OptimizerStep& step, const OptimizerParam& p) {
  ops::Exec& ex = step.ex;
  if (ex.tracing()) return;
  const OptimizerOptions& o = step.options;
  // AdamW's kernel without memory of gradients and with a weight of 0 leaves g / sqrt(squares). What it is to
  // move, and its first moment, is the gradient itself, each number of which it reads before it writes it.
  kernels::AdamWArgs a{};
  a.weight = a.first = p.gradient.data();
  a.gradient = p.gradient.data();
  a.second = p.state[0].data();
  a.gradient_scale = step.gradient_scale;
  a.beta2 = static_cast<float>(o.beta2);
  a.step = -1;
  a.root_correction =
      static_cast<float>(1 / std::sqrt(1 - std::pow(o.beta2, static_cast<double>(step.number))));
  a.epsilon = static_cast<float>(std::sqrt(o.epsilon));  // it is of squares
  const std::int64_t elements = p.param.elements();
  ex.slice(elements, 64, [&](std::int64_t begin, std::int64_t end) {
    a.begin = begin, a.end = end;
    ex.table().train.adamw(a);
  });
  ex.barrier();
  const double mean = square_sum(ex, p.gradient, step.sums) / static_cast<double>(elements);
  const auto keep = static_cast<float>(o.momentum), rate = static_cast<float>(step.rate);
  const auto take = static_cast<float>((1 - o.momentum) / std::max(1.0, std::sqrt(mean)));
  ex.slice(elements, 64, [&](std::int64_t begin, std::int64_t end) {
    float *update = p.state[1].data(), *weight = p.weight.data();
    const float* raw = p.gradient.data();
    for (std::int64_t i = begin; i < end; ++i) {
      update[i] = keep * update[i] + take * raw[i];
      weight[i] = p.keep * weight[i] - rate * update[i];
    }
  });
  ex.barrier();  // the sums are used again
}

}  // namespace tw::train
