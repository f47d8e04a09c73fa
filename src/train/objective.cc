#include "train/objective.h"

#include <algorithm>

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::Status;

/// Rows that both tables have: where the tokenizer is the same, the others are spare.
std::int64_t shared_rows(const Distillation& d, std::int64_t vocab) {
  return std::min(vocab, d.teacher->config().vocab);
}

/// So many of the teacher's tokens have `top` below the shared rows' end among them.
std::int64_t asked_of(const Distillation& d, std::int64_t vocab) {
  return d.top + d.teacher->config().vocab - shared_rows(d, vocab);
}

/// Keeps of each row's `asked` tokens the first `top` that are below `most`, and makes their probabilities
/// add up to 1 again.
void leave_out_spare(std::int64_t top, std::int64_t asked, std::int64_t most, std::vector<std::int32_t>& ids,
                     std::vector<float>& probabilities) {
  const std::int64_t rows = std::ssize(ids) / asked;
  std::vector<double> kept(top);
  for (std::int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (std::int64_t from = row * asked, to = 0; to < top; ++from) {
      if (ids[from] >= most) continue;
      kept[to] = static_cast<double>(probabilities[from]);
      sum += kept[to];
      ids[row * top + to++] = ids[from];
    }
    if (sum == 0) kept[0] = sum = 1;  // beside the spare ones all were too small to tell: the likeliest
    for (std::int64_t i = 0; i < top; ++i) probabilities[row * top + i] = static_cast<float>(kept[i] / sum);
  }
  ids.resize(rows * top);
  probabilities.resize(ids.size());
}

}  // namespace

base::Result<std::unique_ptr<Objective>> Objective::make(const ObjectiveOptions& options, std::int64_t vocab,
                                                         std::int64_t rows, base::Team& team) {
  auto objective = std::make_unique<Objective>(options);
  objective->vocab_ = vocab;
  objective->most_rows_ = rows;
  objective->team_ = &team;
  if (!objective->taught()) return objective;
  const Distillation& d = *options.distillation;
  if (const std::int64_t most = shared_rows(d, vocab); d.top > most)
    return base::error(Code::kInvalidArgument, "teacher.top is {}, but the vocabulary has {} tokens", d.top,
                       most);
  TW_RETURN_IF_ERROR(objective->freeze(d.teacher, "the teacher", asked_of(d, vocab)));
  return objective;
}

Status Objective::freeze(std::shared_ptr<const model::LoadedModel> model, const char* what,
                         std::int64_t top) {
  if (model->config().vocab != vocab_ && !taught()) {
    return base::Error{Code::kInvalidArgument,
                       fmt::format("{} has a vocabulary of {} tokens, and the model one of {}: it is another "
                                   "model",
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
  const std::int64_t asked = asked_of(d, vocab_), rows = batch.rows();
  ids_.resize(rows * asked);
  probabilities_.resize(ids_.size());
  taught_losses_.resize(rows);
  const auto temperature = static_cast<float>(d.temperature);
  TW_RETURN_IF_ERROR(frozen_->top(batch, {ids_, probabilities_, asked, temperature}));
  if (asked > d.top) leave_out_spare(d.top, asked, shared_rows(d, vocab_), ids_, probabilities_);
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
  rows_ = {batch.targets, batch.weights, scale, options_.z_loss, {}, options_.rounded};
  return learn && taught() ? ask_teacher(batch) : Status(Ok{});
}

void Objective::load_worst() {
  worst_offsets_.assign(3, 0);
  pairs_.offsets = worst_offsets_;
  rows_.rounded = options_.rounded;
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
