#include "train/objective.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::Status;

}  // namespace

base::Result<std::unique_ptr<Objective>> Objective::make(const ObjectiveOptions& options, std::int64_t vocab,
                                                         std::int64_t rows, base::Team& team) {
  auto objective = std::make_unique<Objective>(options);
  objective->vocab_ = vocab;
  objective->most_rows_ = rows;
  objective->team_ = &team;
  if (!objective->taught()) return objective;
  const Distillation& d = *options.distillation;
  if (d.top > vocab)
    return base::error(Code::kInvalidArgument, "teacher.top is {}, but the vocabulary has {} tokens", d.top,
                       vocab);
  TW_RETURN_IF_ERROR(objective->freeze(d.teacher, "the teacher", d.top));
  return objective;
}

Status Objective::freeze(std::shared_ptr<const model::LoadedModel> model, const char* what,
                         std::int64_t top) {
  if (model->config().vocab != vocab_) {
    return base::Error{Code::kInvalidArgument,
                       fmt::format("{} has a vocabulary of {} tokens, and the model one of {}: both must "
                                   "have the same tokenizer",
                                   what, model->config().vocab, vocab_),
                       model->card().path};
  }
  TW_ASSIGN_OR_RETURN(frozen_, FrozenModel::make(std::move(model), most_rows_, top, *team_));
  return Ok{};
}

Status Objective::set_reference(std::shared_ptr<const model::LoadedModel> reference) {
  TW_CHECK(of_pairs(), "only preferences are held against a model");
  return freeze(std::move(reference), "the reference", 1);
}

base::Result<double> Objective::weight(const TrainBatch& batch) const {
  if (of_pairs() && batch.documents() % 2 != 0)
    return base::error(Code::kInvalidArgument, "a batch of pairs has {} documents", batch.documents());
  if (of_pairs()) return static_cast<double>(batch.documents()) / 2;
  double sum = 0;
  for (const float w : batch.weights) sum += w;
  return sum;
}

Status Objective::ask_teacher(const TrainBatch& batch) {
  const Distillation& d = *options_.distillation;
  ids_.resize(batch.rows() * d.top);
  probabilities_.resize(ids_.size());
  taught_losses_.resize(batch.rows());
  const auto temperature = static_cast<float>(d.temperature);
  TW_RETURN_IF_ERROR(frozen_->top(batch, {ids_, probabilities_, d.top, temperature}));
  rows_.teacher = {ids_, probabilities_, d.top, static_cast<float>(d.weight), temperature, taught_losses_};
  return Ok{};
}

Status Objective::load(const TrainBatch& batch, double total_weight, bool learn) {
  const auto scale = static_cast<float>(1 / total_weight);
  if (of_pairs()) {
    if (frozen_ == nullptr)
      return base::error(Code::kInvalidArgument, "preferences are held against a model, and there is none");
    reference_losses_.resize(batch.rows());
    rewards_.resize(batch.documents());
    TW_RETURN_IF_ERROR(frozen_->losses(batch, reference_losses_));
    const auto beta = static_cast<float>(options_.preference->beta);
    pairs_ = {batch.targets, batch.weights, batch.offsets, reference_losses_, beta, scale, rewards_};
    return Ok{};
  }
  rows_ = {batch.targets, batch.weights, scale, options_.z_loss, {}};
  return learn && taught() ? ask_teacher(batch) : Status(Ok{});
}

void Objective::load_worst() {
  worst_offsets_.assign(3, 0);
  pairs_.offsets = worst_offsets_;
  if (!taught()) return;
  rows_.teacher.top = options_.distillation->top;
}

ops::Tensor Objective::loss(ops::Exec& ex, const model::Transformer& transformer, ops::Tensor hidden) const {
  return of_pairs() ? transformer.preference(ex, hidden, pairs_) : transformer.loss(ex, hidden, rows_);
}

void Objective::add(ops::Tensor losses, Measures& sums) const {
  if (of_pairs()) {
    for (std::size_t pair = 0; pair < rewards_.size() / 2; ++pair) {
      const double chosen = rewards_[2 * pair], rejected = rewards_[2 * pair + 1];
      sums.loss += static_cast<double>(losses.f32()[pair]);
      sums.chosen += chosen;
      sums.rejected += rejected;
      sums.accuracy += chosen > rejected ? 1 : 0;
    }
    return;
  }
  double label = 0, teacher = 0;
  for (std::size_t i = 0; i < rows_.weights.size(); ++i) {
    const double weight = rows_.weights[i];
    if (weight == 0) continue;  // of rows that are not learnt from nothing is known
    label += weight * static_cast<double>(losses.f32()[i]);
    if (rows_.teacher.top > 0) teacher += weight * static_cast<double>(taught_losses_[i]);
  }
  const double share = static_cast<double>(rows_.teacher.weight);
  sums.label_loss += label;
  sums.loss += (1 - share) * label + share * teacher;
}

}  // namespace tw::train
