// Optimizer: how weights are moved by their gradients, by one of the rules of a table.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/trainable.h"

namespace tw::train {

struct OptimizerOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double epsilon = 0;          ///< 0: the rule's own
  double decay = 0.1;          ///< of matrices and tables, times the rate; vectors have none
  std::string kind = "adamw";  ///< a rule's name
  double momentum = 0.95;
  double hidden_rate = 1;  ///< factor of the rate, not of the decay, of what is_hidden
};

/// A matrix of a layer: no embedding, head or vector.
bool is_hidden(const model::Param& param);

/// Something that a rule keeps for a parameter. Tensors of one name are one shard of a checkpoint.
struct StateTensor {
  const char* name;
  std::vector<std::int64_t> shape;
};

/// A step, as a rule is told of it.
struct OptimizerStep {
  ops::Exec& ex;
  const OptimizerOptions& options;
  std::int64_t number;  ///< from 1
  double rate;
  float gradient_scale;  ///< of clipping
  /// Memory of `square_sum`, for the largest parameter.
  std::span<double> sums;
  const model::Trainable& params;
};

/// A parameter, as a rule moves it: all workers together.
struct OptimizerParam {
  const model::Param& param;
  std::span<float> weight, gradient;        ///< the gradient may be overwritten
  std::span<const std::span<float>> state;  ///< in the order of OptimizerRule::state
  float keep;  ///< what decay leaves of the weight: to be multiplied in before the update
};

/// THE table of optimizers (optimizer.cc): a rule is its name, what it keeps, and what it does.
struct OptimizerRule {
  const char* name;
  double epsilon;  ///< unless another is given
  std::vector<StateTensor> (*state)(const model::Param& param);
  /// Leaves the parameter's memory to others only after a barrier, if it needs one of its own. While tracing
  /// it asks for memory alone.
  void (*update)(const OptimizerStep& step, const OptimizerParam& param);
};

/// Null: there is none of that name.
const OptimizerRule* find_rule(const std::string& name);

/// Bits do not depend on the number of workers.
class Optimizer {
 public:
  /// State is zero. Fails with kResourceExhausted, or kInvalidArgument for a kind that is not known.
  static base::Result<Optimizer> make(const model::Trainable& params, const OptimizerOptions& options);

  /// Moves all masters by their gradients times gradient_scale, all workers together; ends with a barrier.
  /// `number` counts from 1. A tracing Exec finds how much memory of its arena and scratch that takes.
  void run(ops::Exec& ex, model::Trainable& params, std::int64_t number, double rate, double gradient_scale);

  /// As before the first step.
  void reset();
  /// Of all that it keeps.
  std::size_t bytes() const { return memory_.size(); }

  /// What is kept, for checkpoints: by name, tensors of parameters.
  struct Kept {
    std::size_t param;  ///< by the order of ParamStore::params()
    StateTensor tensor;
    std::span<float> numbers;
  };
  std::vector<Kept> kept() const;

 private:
  OptimizerOptions options_;
  const OptimizerRule* rule_ = nullptr;
  tensor::Buffer memory_;
  std::vector<std::vector<StateTensor>> tensors_;     ///< by parameter
  std::vector<std::vector<std::span<float>>> state_;  ///< the same, in memory_
  std::vector<double> sums_;
};

/// The sum of their squares, the same on every worker; `memory` has square_sum_memory doubles, and may be
/// used again after the next barrier.
double square_sum(ops::Exec& ex, std::span<const float> numbers, std::span<double> memory);
std::int64_t square_sum_memory(std::span<const float> numbers);

}  // namespace tw::train
