// AdamW with decoupled decay (arXiv 1711.05101), as PyTorch's torch.optim.AdamW computes it.
#pragma once

#include <cstdint>
#include <span>

#include "model/trainable.h"

namespace tw::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double decay = 0.1;  ///< of matrices and tables; vectors have none
};

/// The state is two moments of every master weight. Bits do not depend on the number of workers.
class AdamW {
 public:
  static base::Result<AdamW> make(const model::Trainable& params, const AdamWOptions& options);

  /// Moves all masters by their gradients times gradient_scale, all workers together; ends with a barrier.
  /// `step` counts from 1.
  void run(ops::Exec& ex, model::Trainable& params, std::int64_t step, double rate,
           double gradient_scale) const;

  /// Laid out as Trainable::masters(), for checkpoints.
  std::span<float> first() const { return floats(first_); }
  std::span<float> second() const { return floats(second_); }

 private:
  static std::span<float> floats(const tensor::Buffer& b) {
    return {reinterpret_cast<float*>(b.data()), b.size() / sizeof(float)};
  }
  AdamWOptions options_;
  tensor::Buffer first_, second_;
};

/// The length of all gradients together, the same on every worker; needs `gradient_norm_memory` doubles.
double gradient_norm(ops::Exec& ex, std::span<const float> gradients, std::span<double> memory);
std::int64_t gradient_norm_memory(std::span<const float> gradients);

}  // namespace tw::train
