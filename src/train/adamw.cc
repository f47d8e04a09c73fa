#include "train/adamw.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace tw::train {
namespace {

constexpr std::int64_t kChunk = 65536;

}  // namespace

base::Result<AdamW> AdamW::make(const model::Trainable& params, const AdamWOptions& options) {
  AdamW adamw;
  adamw.options_ = options;
  const std::size_t bytes = params.masters().size_bytes();
  TW_ASSIGN_OR_RETURN(adamw.first_, tensor::Buffer::allocate(bytes, "the optimizer's first moments"));
  TW_ASSIGN_OR_RETURN(adamw.second_, tensor::Buffer::allocate(bytes, "the optimizer's second moments"));
  return adamw;
}

void AdamW::run(ops::Exec& ex, model::Trainable& params, std::int64_t step, double rate,
                double gradient_scale) const {
  const auto t = static_cast<double>(step);
  kernels::AdamWArgs a{};
  a.gradient_scale = static_cast<float>(gradient_scale);
  a.beta1 = static_cast<float>(options_.beta1);
  a.beta2 = static_cast<float>(options_.beta2);
  a.step = static_cast<float>(rate / (1 - std::pow(options_.beta1, t)));
  a.root_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(options_.beta2, t)));
  a.epsilon = static_cast<float>(options_.epsilon);
  for (std::size_t i = 0; i < params.store().params().size(); ++i) {
    const std::int64_t at = params.offset(i);
    a.weight = params.masters().data() + at;
    a.first = first().data() + at;
    a.second = second().data() + at;
    a.gradient = params.gradients().data() + at;
    a.keep = static_cast<float>(params.store().params()[i].decay ? 1 - rate * options_.decay : 1);
    ex.slice(params.store().params()[i].elements(), 64, [&](std::int64_t begin, std::int64_t end) {
      a.begin = begin, a.end = end;
      ex.table().train.adamw(a);
    });
  }
  ex.barrier();
}

std::int64_t gradient_norm_memory(std::span<const float> gradients) {
  return (std::ssize(gradients) + kChunk - 1) / kChunk;
}

double gradient_norm(ops::Exec& ex, std::span<const float> gradients, std::span<double> memory) {
  ex.each(gradient_norm_memory(gradients), [&](std::int64_t i) {
    memory[i] = ex.table().train.sum_squares(gradients.data() + i * kChunk,
                                             std::min(kChunk, std::ssize(gradients) - i * kChunk));
  });
  ex.barrier();
  double sum = 0;
  for (const double part : memory) sum += part;
  return std::sqrt(sum);
}

}  // namespace tw::train
