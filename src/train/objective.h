// What a training step minimises: the cross-entropy of what follows; that and what a teacher says (arXiv
// 1503.02531); or the loss of preferences (DPO, arXiv 2305.18290).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "train/frozen_model.h"

namespace tw::train {

/// A teacher's likeliest tokens are learnt beside the labels. It has the model's tokenizer; its table may
/// have more spare rows than the model's, or fewer: of those nothing is learnt.
struct Distillation {
  std::shared_ptr<const model::LoadedModel> teacher;
  std::int64_t top = 1;    ///< tokens of it that count
  double weight = 0.9;     ///< of the teacher; the label has the rest
  double temperature = 1;  ///< of both softmaxes
};

/// Batches hold pairs of documents, first the better one, and the model learns to tell them apart.
struct Preference {
  double beta = 0.1;  ///< how strongly the reference holds it back
};

struct ObjectiveOptions {
  float z_loss = 0;
  bool rounded = false;  ///< ops::LossRows'
  double balance = 0;  ///< of a mixture of experts: ops::Tape::Balance's weight; no loss that is told has it
  std::optional<Distillation> distillation;
  std::optional<Preference> preference;
};

/// Means over a step's tokens, or over its pairs; on the way there, sums.
struct Measures {
  double loss = 0;                  ///< what is minimised
  double label_loss = 0;            ///< cross-entropy of what follows; not of pairs
  double chosen = 0, rejected = 0;  ///< of pairs: beta * log(p / p_reference) of their answers
  double accuracy = 0;              ///< of pairs: share of those whose chosen answer has the larger one

  double margin() const { return chosen - rejected; }
  void add(const Measures& mean, double weight) {
    loss += mean.loss * weight;
    label_loss += mean.label_loss * weight;
    chosen += mean.chosen * weight;
    rejected += mean.rejected * weight;
    accuracy += mean.accuracy * weight;
  }
  Measures over(double weight) const {
    return {loss / weight, label_loss / weight, chosen / weight, rejected / weight, accuracy / weight};
  }
};

/// For one caller at a time, but for loss().
class Objective {
 public:
  /// Without a frozen model: that is enough for traces.
  explicit Objective(const ObjectiveOptions& options) : options_(options) {}
  /// Of batches of at most `rows` tokens. Fails with kInvalidArgument when more of the teacher's tokens are
  /// wanted than both tables have rows.
  static base::Result<std::unique_ptr<Objective>> make(const ObjectiveOptions& options, std::int64_t vocab,
                                                       std::int64_t rows, base::Team& team);
  /// What preferences are held against: wanted before the first batch of pairs. Fails with kInvalidArgument
  /// when it has another vocabulary.
  base::Status set_reference(std::shared_ptr<const model::LoadedModel> reference);

  bool of_pairs() const { return options_.preference.has_value(); }
  bool wants_reference() const { return of_pairs() && frozen_ == nullptr; }
  bool taught() const { return options_.distillation.has_value(); }
  /// What a batch counts in a step's mean. Fails when it cannot be learnt from.
  base::Result<double> weight(const TrainBatch& batch) const;
  /// Asks the frozen model, where there is one, about a batch, which must stay until add(). Without `learn`
  /// no teacher is asked: the labels' loss is wanted.
  base::Status load(const TrainBatch& batch, double total_weight, bool learn);
  /// For a traced pass.
  void load_worst();
  /// What is minimised, on all workers; `hidden` of the batch's rows.
  ops::Tensor loss(ops::Exec& ex, const model::Transformer& transformer, ops::Tensor hidden) const;
  /// Adds the batch's sums, by its weights alone. After the tape was walked back.
  void add(ops::Tensor losses, Measures& sums) const;

 private:
  base::Status ask_teacher(const TrainBatch& batch);
  base::Status freeze(std::shared_ptr<const model::LoadedModel> model, const char* what, std::int64_t top);

  const ObjectiveOptions options_;
  std::int64_t vocab_ = 0, most_rows_ = 0;
  base::Team* team_ = nullptr;
  std::unique_ptr<FrozenModel> frozen_;
  ops::LossRows rows_;
  ops::PreferenceRows pairs_;
  std::vector<std::int32_t> ids_, worst_offsets_;
  std::vector<float> probabilities_, taught_losses_, reference_losses_, rewards_;
};

}  // namespace tw::train
