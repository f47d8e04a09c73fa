#include "train/frozen_model.h"

#include <algorithm>

namespace tw::train {
namespace {

/// Keys and values in bf16 where attention of prompts computes in it anyway.
base::DType cache_type(const kernels::Table& table) {
  return table.bf16_prompts() ? base::DType::kBF16 : base::DType::kF32;
}

struct Peaks {
  std::size_t arena = 0, scratch = 0;
};

/// Of either question, about the worst batch.
Peaks trace(const model::Transformer& model, const kernels::Table& table, const Pass& worst,
            std::int64_t top) {
  Peaks peaks;
  for (const bool likeliest : {false, true}) {
    ops::Trace trace;
    ops::Exec ex(table, trace);
    const ops::Tensor hidden = model.forward(ex, worst.batch(), worst.kv());
    if (likeliest)
      model.top(ex, hidden, {{}, {}, top, 1});
    else
      model.loss(ex, hidden, {});
    peaks.arena = std::max(peaks.arena, ex.arena().peak());
    peaks.scratch = std::max(peaks.scratch, ex.scratch_peak());
  }
  constexpr std::size_t kRounding = 1 << 16;  // batches of other sizes round otherwise
  return {peaks.arena + kRounding, peaks.scratch + 64};
}

}  // namespace

FrozenModel::FrozenModel(std::shared_ptr<const model::LoadedModel> model, std::int64_t rows, base::Team& team)
    : model_(std::move(model)), team_(team), pass_(model_->config(), cache_type(model_->table()), rows) {}

base::Result<std::unique_ptr<FrozenModel>> FrozenModel::make(std::shared_ptr<const model::LoadedModel> model,
                                                             std::int64_t rows, std::int64_t top,
                                                             base::Team& team) {
  std::unique_ptr<FrozenModel> frozen(new FrozenModel(std::move(model), rows, team));
  TW_RETURN_IF_ERROR(frozen->allocate(top));
  return frozen;
}

base::Status FrozenModel::allocate(std::int64_t top) {
  TW_RETURN_IF_ERROR(pass_.load_worst(nullptr));
  const Peaks peaks = trace(model_->transformer(), model_->table(), pass_, top);
  TW_ASSIGN_OR_RETURN(arena_, tensor::Buffer::allocate(peaks.arena, "a frozen model's activations"));
  for (int i = 0; i < team_.size(); ++i) {
    scratch_.emplace_back();
    TW_ASSIGN_OR_RETURN(scratch_.back(), tensor::Buffer::allocate(peaks.scratch, "a worker's scratch"));
  }
  return base::Ok{};
}

base::Result<std::size_t> FrozenModel::bytes_for(const model::Transformer& model, const kernels::Table& table,
                                                 std::int64_t rows, std::int64_t top, int workers) {
  Pass pass(model.config(), cache_type(table), rows);
  TW_RETURN_IF_ERROR(pass.load_worst(nullptr));
  const Peaks peaks = trace(model, table, pass, top);
  return peaks.arena + pass.cache_bytes() + peaks.scratch * static_cast<std::size_t>(workers);
}

void FrozenModel::run(const std::function<void(ops::Exec&, ops::Tensor)>& f) {
  team_.run_available([&](int worker, int workers) {
    ops::Exec ex(model_->table(), team_.barrier(), worker, workers,
                 tensor::Arena(arena_.data(), arena_.size()), scratch_[worker].data(),
                 scratch_[worker].size());
    f(ex, model_->transformer().forward(ex, pass_.batch(), pass_.kv()));
  });
}

base::Status FrozenModel::top(const TrainBatch& batch, const ops::TopRows& rows) {
  TW_RETURN_IF_ERROR(pass_.load(batch, nullptr));
  run([&](ops::Exec& ex, ops::Tensor hidden) { model_->transformer().top(ex, hidden, rows); });
  return base::Ok{};
}

base::Status FrozenModel::losses(const TrainBatch& batch, std::span<float> losses) {
  TW_RETURN_IF_ERROR(pass_.load(batch, nullptr));
  const ops::LossRows rows{batch.targets, batch.weights};
  run([&](ops::Exec& ex, ops::Tensor hidden) {
    const ops::Tensor found = model_->transformer().loss(ex, hidden, rows);
    if (ex.worker() == 0) std::copy_n(found.f32(), losses.size(), losses.begin());
  });
  return base::Ok{};
}

}  // namespace tw::train
