// What one rank's part of a model does in a step, op by op: model::Transformer::forward run on shapes alone.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "ops/exec.h"
#include "spec/model_config.h"
#include "spec/parallel_plan.h"

namespace tw::plan {

/// One rank's ops, forward, by where they stand. There is one dense and one expert layer: all others are
/// alike.
struct BlockTrace {
  std::vector<ops::OpCost> embed, dense, expert, head;
  /// Elements of one rank's parameters: of the table with positions, of one layer (experts apart), of the
  /// head.
  double embed_parameters = 0, dense_parameters = 0, expert_parameters = 0, routed_parameters = 0;
  double head_parameters = 0;
};

/// What a step's rows are.
struct StepShape {
  std::int64_t sequences = 1;  ///< of a micro-batch, or of a decode step
  std::int64_t fresh = 1;      ///< tokens of each that are computed, of all context ranks together
  std::int64_t past = 0;       ///< tokens of each that are in the cache
  auto operator<=>(const StepShape&) const = default;
};

/// How a plan divides what is traced.
ops::Sharding plan_sharding(const spec::ParallelPlan& plan);

/// Traces once for each (shape, division) of one model and remembers. Not thread-safe.
class Tracer {
 public:
  explicit Tracer(spec::ModelConfig model) : model_(std::move(model)) {}

  const spec::ModelConfig& model() const { return model_; }
  /// Fails when the model does not divide so. More sequences are a trace of one with all that grows with
  /// rows multiplied, where rows divide evenly: it is linear in them (tested).
  base::Result<const BlockTrace*> get(const ops::Sharding& sharding, const StepShape& shape);

  /// Forgets traces of more than one sequence, which are made quickly; what get() gave of them ends.
  void forget() {
    std::erase_if(known_, [](const auto& item) { return std::get<StepShape>(item.first).sequences > 1; });
  }

 private:
  using Key = std::tuple<int, int, int, bool, StepShape>;
  base::Result<std::unique_ptr<BlockTrace>> trace(const ops::Sharding& sharding, const StepShape& shape);
  spec::ModelConfig model_;
  std::map<Key, std::unique_ptr<BlockTrace>> known_;
};

}  // namespace tw::plan
