// Trainer: batches in, optimizer steps out, on a team of workers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/team.h"
#include "model/adapter.h"
#include "model/loaded_model.h"
#include "model/trainable.h"
#include "model/transformer.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/width_mask.h"

namespace tw::train {

struct TrainerOptions {
  std::string isa;  ///< empty: the best kernel set; in fp32 the best that computes in fp32
  base::DType type = base::DType::kF32;  ///< of products: kF32 or kBF16
  std::int64_t rows = 1024;              ///< most tokens of one batch
  bool recompute = false;  ///< of each layer keep the input alone, and run it again for gradients
  ops::Dropout dropout;    ///< of steps, not of evaluations; which step and rows it is of the trainer knows
  OptimizerOptions optimizer;
  /// muP (simple) (arXiv 2309.14322, section 3.2.4, as AXLearn's honeycrisp.py has it): a model wider than
  /// this learns the matrices of its layers at base / width times the rate; 0: all at the rate.
  std::int64_t mup_base = 0;
  double clip = 1;   ///< largest length of all gradients together; 0: any
  double spike = 0;  ///< a step whose gradients are so many times longer than usual is skipped; 0: none is
  ObjectiveOptions objective;
  PruningOptions pruning;  ///< not of an adapter
  std::uint64_t seed = 0;  ///< of the first weights
  double peak_flops = 0;   ///< of the machine, for StepReport::peak_share; 0: not known
};

struct StepReport {
  std::int64_t step = 0;     ///< optimizer steps done, skipped ones included
  double loss = 0;           ///< what is minimised: the mean of the step's tokens (nats) or pairs
  Measures measures;         ///< what else is known of it
  double gradient_norm = 0;  ///< before clipping
  bool skipped = false;      ///< not finite, or a spike: no weight was changed
  std::int64_t tokens = 0;
  double seconds = 0, tokens_per_second = 0;
  double peak_share = 0;  ///< of peak_flops, by 6·P + 6·L·d·T FLOPs a token; 0: not known
};

/// For one caller at a time. Bits depend on the options and the batches, not on the number of workers.
class Trainer {
 public:
  /// Allocates everything a step needs, as a traced worst step says, and makes the first weights. The team
  /// must outlive it. REQUIRES: config.validate() is ok.
  static base::Result<std::unique_ptr<Trainer>> make(const spec::ModelConfig& config,
                                                     const TrainerOptions& options, base::Team& team);

  /// The same for an adapter beside a model that is loaded and stays as it is, in whatever type its weights
  /// are (LoRA, arXiv 2106.09685; QLoRA, 2305.14314): params() are the adapter's alone. Kernels are the
  /// base's; `type` is of the adapter's products. Fails with kInvalidArgument when a target is no layer of
  /// the base.
  static base::Result<std::unique_ptr<Trainer>> make_adapter(
      const std::shared_ptr<const model::LoadedModel>& base, const model::AdapterConfig& adapter,
      const TrainerOptions& options, base::Team& team);

  /// One optimizer step on the gradients of all batches together, at this learning rate. Fails, with nothing
  /// changed, when a batch is not valid.
  base::Result<StepReport> step(std::span<const TrainBatch> batches, double rate);
  /// The gradients of a step alone: they stay in params() until the next. For tests and tools.
  base::Result<StepReport> accumulate(std::span<const TrainBatch> batches);
  /// The loss without learning: of tokens the cross-entropy of what follows, whoever teaches.
  base::Result<double> evaluate(std::span<const TrainBatch> batches);
  /// The same with what else is known.
  base::Result<Measures> measure(std::span<const TrainBatch> batches);

  /// Must be called when masters were changed from outside.
  void refresh();
  /// How much of a pruning stage is done, 0 to 1, for the masks of the next refresh() or step().
  void set_pruned(double done);
  /// Null: nothing is pruned.
  const WidthMask* mask() const { return mask_.get(); }
  model::Trainable& params() { return *params_; }
  const model::Trainable& params() const { return *params_; }
  Optimizer& optimizer() { return *optimizer_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  const model::Transformer& transformer() const { return *transformer_; }
  /// What is learnt beside a frozen base; null: all weights are learnt.
  const model::Adapter* adapter() const { return adapter_.get(); }
  const kernels::Table& table() const { return table_; }
  const TrainerOptions& options() const { return options_; }
  base::Team& team() const { return team_; }
  std::int64_t steps_done() const { return step_; }
  /// After the optimizer's state and masters were restored.
  void set_steps_done(std::int64_t steps) { step_ = steps; }
  std::size_t activation_bytes() const { return arena_.size(); }
  const Objective& objective() const { return *objective_; }
  /// What preferences are held against: wanted where all weights are learnt; beside an adapter it is the
  /// base.
  base::Status set_reference(std::shared_ptr<const model::LoadedModel> reference) {
    return objective_->set_reference(std::move(reference));
  }

  /// What options.spike compares with; goes into a checkpoint, too.
  struct UsualNorm {
    double norm = 0;
    std::int64_t seen = 0;
  };
  UsualNorm usual_norm() const { return {usual_norm_, norms_seen_}; }
  void set_usual_norm(const UsualNorm& usual) {
    usual_norm_ = usual.norm;
    norms_seen_ = usual.seen;
  }

 private:
  Trainer(const TrainerOptions& options, base::Team& team) : options_(options), team_(team) {}
  base::Status prepare(model::ParamStore& learnt);
  base::Status allocate();
  base::Result<double> check(std::span<const TrainBatch> batches) const;
  const ops::LowRank* linears() const { return adapter_ == nullptr ? nullptr : adapter_->linears(); }
  void run_batch(bool learn, const ops::Dropout& dropout, Measures& sums);
  base::Result<Measures> mean_of(std::span<const TrainBatch> batches, bool learn, double total_weight);
  void zero_gradients(ops::Exec& ex);
  void refresh(ops::Exec& ex);
  bool spikes(double norm);
  double flops(std::span<const TrainBatch> batches) const;
  ops::Exec exec(int worker, int workers);

  const TrainerOptions options_;
  base::Team& team_;
  kernels::Table table_;
  model::ParamStore store_;
  std::shared_ptr<const model::Transformer> transformer_;
  std::shared_ptr<const model::LoadedModel> base_;  ///< with an adapter
  std::unique_ptr<model::Adapter> adapter_;
  std::unique_ptr<model::Trainable> params_;
  std::unique_ptr<WidthMask> mask_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<ops::Tape> tape_, blocks_;  ///< blocks_: with options.recompute
  tensor::Buffer arena_;
  std::vector<tensor::Buffer> scratch_;
  std::vector<double> norm_memory_;
  std::unique_ptr<Pass> pass_;  ///< the batch at hand
  std::unique_ptr<Objective> objective_;
  std::int64_t step_ = 0;
  double usual_norm_ = 0;
  std::int64_t norms_seen_ = 0;
};

}  // namespace tw::train
