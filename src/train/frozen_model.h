// A loaded model that is asked about training batches and stays as it is: a teacher, or the one that
// preferences are held against.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/team.h"
#include "model/loaded_model.h"
#include "train/pass.h"

namespace tw::train {

/// For one caller at a time.
class FrozenModel {
 public:
  /// Allocates what batches of at most `rows` tokens need, for `top` likeliest tokens of each. The team must
  /// outlive it.
  static base::Result<std::unique_ptr<FrozenModel>> make(std::shared_ptr<const model::LoadedModel> model,
                                                         std::int64_t rows, std::int64_t top,
                                                         base::Team& team);

  /// The likeliest tokens after each row.
  base::Status top(const TrainBatch& batch, const ops::TopRows& rows);
  /// The cross-entropy of each row at its target.
  base::Status losses(const TrainBatch& batch, std::span<float> losses);

  /// Memory that a model would take besides its weights. It may be one that is only traced.
  static base::Result<std::size_t> bytes_for(const model::Transformer& model, const kernels::Table& table,
                                             std::int64_t rows, std::int64_t top, int workers);

 private:
  FrozenModel(std::shared_ptr<const model::LoadedModel> model, std::int64_t rows, base::Team& team);
  base::Status allocate(std::int64_t top);
  /// f(ex, hidden states) on all workers.
  void run(const std::function<void(ops::Exec&, ops::Tensor)>& f);

  std::shared_ptr<const model::LoadedModel> model_;
  base::Team& team_;
  Pass pass_;
  tensor::Buffer arena_;
  std::vector<tensor::Buffer> scratch_;
};

}  // namespace tw::train
