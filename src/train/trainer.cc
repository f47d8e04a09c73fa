#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace tw::train {
namespace {

using base::Code;

/// Sets with a bf16 path for prompts use bf16 in attention too: fp32 takes the next one.
base::Result<kernels::Table> table_for(const TrainerOptions& options) {
  const kernels::CpuFeatures features = kernels::detect_features();
  TW_ASSIGN_OR_RETURN(kernels::Table table, kernels::make_table(options.isa, features));
  if (options.type != base::DType::kF32 || !options.isa.empty()) return table;
  for (const std::string& name : kernels::available_sets(features)) {
    TW_ASSIGN_OR_RETURN(table, kernels::make_table(name, features));
    if (!table.bf16_prompts()) break;
  }
  return table;
}

double mup_factor(const TrainerOptions& options, std::int64_t width) {
  if (options.mup_base == 0) return 1;
  return std::min(1.0, static_cast<double>(options.mup_base) / static_cast<double>(width));
}

}  // namespace

base::Result<std::unique_ptr<Trainer>> Trainer::make(const spec::ModelConfig& config,
                                                     const TrainerOptions& options, base::Team& team) {
  TW_RETURN_IF_ERROR(config.runnable());
  std::unique_ptr<Trainer> trainer(new Trainer(options, team));
  TW_ASSIGN_OR_RETURN(trainer->table_, table_for(options));
  trainer->transformer_ = std::make_shared<const model::Transformer>(config, trainer->store_);
  for (model::Param& param : trainer->store_.params()) {
    if (is_hidden(param))
      param.spread *= std::sqrt(mup_factor(options, config.width));  // as 1 / sqrt(inputs)
  }
  if (options.pruning.width > 0) WidthMask::declare(trainer->store_, config);
  TW_RETURN_IF_ERROR(trainer->prepare(trainer->store_));
  return trainer;
}

base::Result<std::unique_ptr<Trainer>> Trainer::make_adapter(
    const std::shared_ptr<const model::LoadedModel>& base, const model::AdapterConfig& adapter,
    const TrainerOptions& options, base::Team& team) {
  if (base->config().architecture == "gpt2") {  // queries, keys and values are one layer to peft
    return tw::base::error(
        Code::kUnsupported,
        "adapters of GPT-2's family are not known here: learn all weights, without an adapter");
  }
  std::unique_ptr<Trainer> trainer(new Trainer(options, team));
  trainer->table_ = base->table();
  trainer->base_ = base;
  trainer->transformer_ = {base, &base->transformer()};
  TW_ASSIGN_OR_RETURN(trainer->adapter_, model::Adapter::make(adapter, base->params()));
  TW_RETURN_IF_ERROR(trainer->prepare(trainer->adapter_->params()));
  return trainer;
}

/// Memory and first weights of what is learnt.
base::Status Trainer::prepare(model::ParamStore& learnt) {
  TW_ASSIGN_OR_RETURN(params_, model::Trainable::make(learnt, table_, options_.type));
  if (options_.pruning.width > 0) mask_ = std::make_unique<WidthMask>(*params_, options_.pruning);
  OptimizerOptions moving = options_.optimizer;
  moving.hidden_rate = mup_factor(options_, transformer_->config().width);
  TW_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::make(*params_, moving));
  optimizer_ = std::make_unique<Optimizer>(std::move(optimizer));
  tape_ = std::make_unique<ops::Tape>(params_->leaves());
  if (options_.recompute) blocks_ = std::make_unique<ops::Tape>(params_->leaves(), tape_.get());
  norm_memory_.resize(square_sum_memory(params_->gradients()));
  const spec::ModelConfig& config = transformer_->config();
  const base::DType cache = learning_cache_type(table_, options_.type, options_.dropout.attention > 0);
  pass_ = std::make_unique<Pass>(config, cache, options_.rows);
  ObjectiveOptions objective = options_.objective;
  objective.rounded = options_.type == base::DType::kBF16;
  TW_ASSIGN_OR_RETURN(objective_, Objective::make(objective, config.vocab, options_.rows, team_));
  if (objective_->of_pairs() && base_ != nullptr) TW_RETURN_IF_ERROR(objective_->set_reference(base_));
  TW_RETURN_IF_ERROR(allocate());
  params_->initialize(options_.seed);
  refresh();
  return base::Ok{};
}

base::Status Trainer::allocate() {
  TW_RETURN_IF_ERROR(pass_->load_worst(linears()));
  objective_->load_worst();
  std::size_t peak = 0, scratch = 0;
  for (const bool learn : {false, true}) {
    ops::Trace trace;
    ops::Exec ex(table_, trace);
    tape_->clear();
    if (learn) ex.train(tape_.get(), blocks_.get(), options_.dropout);
    objective_->loss(ex, *transformer_, transformer_->forward(ex, pass_->batch(), pass_->kv()));
    if (learn) tape_->backward(ex);
    peak = std::max(peak, ex.arena().peak());
    scratch = std::max(scratch, ex.scratch_peak());
  }
  ops::Trace trace;
  ops::Exec ex(table_, trace);
  optimizer_->run(ex, *params_, 1, 0, 1);
  peak = std::max(peak, ex.arena().peak());
  scratch = std::max(scratch, ex.scratch_peak());
  constexpr std::size_t kRounding = 1 << 16;  // batches of other sizes round otherwise
  TW_ASSIGN_OR_RETURN(arena_, tensor::Buffer::allocate(peak + kRounding, "a training step's activations"));
  for (int i = 0; i < team_.size(); ++i) {
    scratch_.emplace_back();
    TW_ASSIGN_OR_RETURN(scratch_.back(), tensor::Buffer::allocate(scratch + 64, "a worker's scratch"));
  }
  return base::Ok{};
}

base::Result<double> Trainer::check(std::span<const TrainBatch> batches) const {
  double weight = 0;
  for (const TrainBatch& batch : batches) {
    TW_RETURN_IF_ERROR(batch.validate(transformer_->config().vocab));
    if (batch.rows() > options_.rows) {
      return base::error(Code::kInvalidArgument,
                         "a batch has {} tokens, but the trainer was made for {} at a time", batch.rows(),
                         options_.rows);
    }
    TW_ASSIGN_OR_RETURN(const double of_batch, objective_->weight(batch));
    weight += of_batch;
  }
  if (!(weight > 0))
    return base::error(Code::kInvalidArgument, "a step's batches have no token of weight above 0");
  return weight;
}

ops::Exec Trainer::exec(int worker, int workers) {
  return {table_,
          team_.barrier(),
          worker,
          workers,
          tensor::Arena(arena_.data(), arena_.size()),
          scratch_[worker].data(),
          scratch_[worker].size()};
}

void Trainer::run_batch(bool learn, const ops::Dropout& dropout, Measures& sums) {
  tape_->clear();
  team_.run_available([&](int worker, int workers) {
    ops::Exec ex = exec(worker, workers);
    if (learn) ex.train(tape_.get(), blocks_.get(), dropout);
    const ops::Tensor losses =
        objective_->loss(ex, *transformer_, transformer_->forward(ex, pass_->batch(), pass_->kv()));
    if (learn) tape_->backward(ex);
    if (worker == 0) objective_->add(losses, sums);
  });
}

base::Result<Measures> Trainer::mean_of(std::span<const TrainBatch> batches, bool learn,
                                        double total_weight) {
  Measures sums;
  ops::Dropout dropout = options_.dropout;
  dropout.step = step_;
  dropout.first_row = 0;
  for (const TrainBatch& batch : batches) {
    TW_RETURN_IF_ERROR(pass_->load(batch, linears()));
    TW_RETURN_IF_ERROR(objective_->load(batch, total_weight, learn));
    TW_ASSIGN_OR_RETURN(const double weight, objective_->weight(batch));
    tape_->balance().weight = options_.objective.balance * weight / total_weight;
    run_batch(learn, dropout, sums);
    dropout.first_row += batch.rows();
  }
  return sums.over(total_weight);
}

void Trainer::zero_gradients(ops::Exec& ex) {
  const std::span<float> all = params_->gradients();
  ex.slice(std::ssize(all), 4096,
           [&](std::int64_t begin, std::int64_t end) { std::fill(&all[0] + begin, &all[0] + end, 0.0F); });
  ex.barrier();
}

void Trainer::refresh(ops::Exec& ex) {
  if (mask_ != nullptr) mask_->fold(ex);
  params_->refresh(ex);
}

void Trainer::refresh() {
  team_.run([&](int worker) {
    ops::Exec ex = exec(worker, team_.size());
    refresh(ex);
  });
}

void Trainer::set_pruned(double done) {
  if (mask_ != nullptr) mask_->set_done(done);
}

base::Result<StepReport> Trainer::accumulate(std::span<const TrainBatch> batches) {
  const auto start = std::chrono::steady_clock::now();
  TW_ASSIGN_OR_RETURN(const double weight, check(batches));
  StepReport report;
  team_.run([&](int worker) {
    ops::Exec ex = exec(worker, team_.size());
    zero_gradients(ex);
  });
  TW_ASSIGN_OR_RETURN(report.measures, mean_of(batches, true, weight));
  report.loss = report.measures.loss;
  team_.run([&](int worker) {
    ops::Exec ex = exec(worker, team_.size());
    if (mask_ != nullptr) mask_->gradients(ex);
    const double norm = std::sqrt(square_sum(ex, params_->gradients(), norm_memory_));
    if (worker == 0) report.gradient_norm = norm;
  });
  for (const TrainBatch& batch : batches) report.tokens += batch.rows();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

/// Compares with a moving average, once that has seen enough.
bool Trainer::spikes(double norm) {
  constexpr double kMemory = 0.95;
  constexpr std::int64_t kEnough = 20;
  if (options_.spike > 0 && norms_seen_ >= kEnough && norm > options_.spike * usual_norm_) return true;
  usual_norm_ = norms_seen_ == 0 ? norm : kMemory * usual_norm_ + (1 - kMemory) * norm;
  ++norms_seen_;
  return false;
}

/// 6·P + 6·L·d·T FLOPs a token: P with the head, without the embedding table; T its document's length. Frozen
/// weights, which have no gradients, count 4.
double Trainer::flops(std::span<const TrainBatch> batches) const {
  const spec::ModelConfig& c = transformer_->config();
  double weights = 0, sum = 0;
  for (const model::Param& param : params_->store().params()) {
    const double met =
        param.routed ? static_cast<double>(c.experts.chosen) / static_cast<double>(c.experts.count) : 1;
    if (param.use != model::Use::kTable) weights += met * static_cast<double>(param.elements());
  }
  if (base_ != nullptr) weights += 2.0 / 3 * static_cast<double>(base_->matmul_weights());
  for (const TrainBatch& batch : batches) {
    for (std::int64_t i = 0; i < batch.documents(); ++i) {
      const auto length = static_cast<double>(batch.offsets[i + 1] - batch.offsets[i]);
      sum += length * 6 * (weights + static_cast<double>(c.layers * c.q_width()) * length);
    }
  }
  return sum;
}

base::Result<StepReport> Trainer::step(std::span<const TrainBatch> batches, double rate) {
  const auto start = std::chrono::steady_clock::now();
  TW_ASSIGN_OR_RETURN(StepReport report, accumulate(batches));
  report.skipped =
      !std::isfinite(report.loss) || !std::isfinite(report.gradient_norm) || spikes(report.gradient_norm);
  report.step = ++step_;
  if (!report.skipped || mask_ != nullptr) {  // masks go on
    const bool clips = options_.clip > 0 && report.gradient_norm > options_.clip;
    const double scale = clips ? options_.clip / (report.gradient_norm + 1e-6) : 1;
    team_.run([&](int worker) {
      ops::Exec ex = exec(worker, team_.size());
      if (mask_ != nullptr) mask_->unfold(ex);
      if (!report.skipped) optimizer_->run(ex, *params_, step_, rate, scale);
      refresh(ex);
    });
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report.tokens_per_second = static_cast<double>(report.tokens) / report.seconds;
  if (options_.peak_flops > 0) report.peak_share = flops(batches) / report.seconds / options_.peak_flops;
  return report;
}

base::Result<Measures> Trainer::measure(std::span<const TrainBatch> batches) {
  TW_ASSIGN_OR_RETURN(const double weight, check(batches));
  return mean_of(batches, false, weight);
}

base::Result<double> Trainer::evaluate(std::span<const TrainBatch> batches) {
  TW_ASSIGN_OR_RETURN(const Measures measures, measure(batches));
  return measures.loss;
}

}  // namespace tw::train
