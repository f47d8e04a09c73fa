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
    if (table.prefill[static_cast<int>(base::DType::kBF16)] == nullptr) break;
  }
  return table;
}

std::int64_t blocks_of(std::int64_t tokens) {
  return (tokens + kernels::kKvBlock - 1) / kernels::kKvBlock;
}

}  // namespace

base::Result<std::unique_ptr<Trainer>> Trainer::make(const spec::ModelConfig& config,
                                                     const TrainerOptions& options, base::Team& team) {
  std::unique_ptr<Trainer> trainer(new Trainer(options, team));
  TW_ASSIGN_OR_RETURN(trainer->table_, table_for(options));
  trainer->transformer_ = std::make_shared<const model::Transformer>(config, trainer->store_);
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
  TW_ASSIGN_OR_RETURN(AdamW adamw, AdamW::make(*params_, options_.optimizer));
  optimizer_ = std::make_unique<AdamW>(std::move(adamw));
  tape_ = std::make_unique<ops::Tape>(params_->leaves());
  norm_memory_.resize(gradient_norm_memory(params_->gradients()));
  TW_RETURN_IF_ERROR(allocate());
  params_->initialize(options_.seed);
  refresh();
  return base::Ok{};
}

base::Status Trainer::allocate() {
  const std::int64_t rows = (options_.rows + 15) / 16 * 16;
  TrainBatch worst;
  worst.tokens.assign(rows, 0);
  worst.targets = worst.tokens;
  worst.weights.assign(rows, 1);
  worst.offsets = {0, static_cast<std::int32_t>(rows)};
  TW_RETURN_IF_ERROR(load(worst, static_cast<double>(rows)));
  std::size_t peak = 0, scratch = 0;
  for (const bool learn : {false, true}) {
    ops::Trace trace;
    ops::Exec ex(table_, trace);
    tape_->clear();
    if (learn) ex.train(tape_.get());
    transformer_->loss(ex, transformer_->forward(ex, batch_, kv_), rows_);
    if (learn) tape_->backward(ex);
    peak = std::max(peak, ex.arena().peak());
    scratch = std::max(scratch, ex.scratch_peak());
  }
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
    for (const float w : batch.weights) weight += w;
  }
  if (!(weight > 0))
    return base::error(Code::kInvalidArgument, "a step's batches have no token of weight above 0");
  return weight;
}

/// One cache serves all layers: once a layer's attention is done, its keys and values are not needed there.
base::Status Trainer::load(const TrainBatch& from, double total_weight) {
  const spec::ModelConfig& c = transformer_->config();
  const base::DType type = options_.type;
  std::int64_t blocks = 0;
  for (std::int64_t i = 0; i < from.documents(); ++i)
    blocks += blocks_of(from.offsets[i + 1] - from.offsets[i]);
  for (auto i = std::ssize(blocks_); i < blocks; ++i) blocks_.push_back(static_cast<std::int32_t>(i));
  const std::int64_t head = kernels::kv_head_elements(type, c.head_dim) * kernels::kv_element_bytes(type);
  const std::size_t plane = blocks * c.kv_heads * head;
  if (cache_.size() < 2 * plane) {
    TW_ASSIGN_OR_RETURN(cache_, tensor::Buffer::allocate(2 * plane, "a training step's keys and values"));
  }
  kv_.longest = (options_.rows + 15) / 16 * 16;
  kv_.layers.assign(c.layers, {cache_.data(), cache_.data() + cache_.size() / 2, type, kernels::kKvBlock,
                               c.kv_heads, c.head_dim});
  batch_.clear();
  blocks = 0;
  for (std::int64_t i = 0; i < from.documents(); ++i) {
    const std::int64_t begin = from.offsets[i], count = from.offsets[i + 1] - begin;
    batch_.add(std::span(from.tokens).subspan(begin, count), 0, blocks_.data() + blocks, false,
               adapter_ == nullptr ? nullptr : adapter_->linears());
    blocks += blocks_of(count);
  }
  for (std::int64_t row = 0; row < from.rows(); ++row) batch_.want(row);
  rows_ = {from.targets, from.weights, static_cast<float>(1 / total_weight), options_.z_loss};
  return base::Ok{};
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

double Trainer::run_batch(bool learn) {
  double sum = 0;
  tape_->clear();
  team_.run_available([&](int worker, int workers) {
    ops::Exec ex = exec(worker, workers);
    if (learn) ex.train(tape_.get());
    const ops::Tensor losses = transformer_->loss(ex, transformer_->forward(ex, batch_, kv_), rows_);
    if (learn) tape_->backward(ex);
    if (worker != 0) return;
    for (std::size_t i = 0; i < rows_.weights.size(); ++i)
      sum += static_cast<double>(rows_.weights[i]) * (rows_.weights[i] > 0 ? losses.f32()[i] : 0);
  });
  return sum;
}

double Trainer::sum_of(std::span<const TrainBatch> batches, bool learn, double total_weight,
                       base::Status& status) {
  double sum = 0;
  for (const TrainBatch& batch : batches) {
    status = load(batch, total_weight);
    if (!status.ok()) return 0;
    sum += run_batch(learn);
  }
  return sum / total_weight;
}

void Trainer::zero_gradients(ops::Exec& ex) {
  const std::span<float> all = params_->gradients();
  ex.slice(std::ssize(all), 4096,
           [&](std::int64_t begin, std::int64_t end) { std::fill(&all[0] + begin, &all[0] + end, 0.0F); });
  ex.barrier();
}

void Trainer::refresh() {
  team_.run([&](int worker) {
    ops::Exec ex = exec(worker, team_.size());
    params_->refresh(ex);
  });
}

base::Result<StepReport> Trainer::accumulate(std::span<const TrainBatch> batches) {
  const auto start = std::chrono::steady_clock::now();
  TW_ASSIGN_OR_RETURN(const double weight, check(batches));
  StepReport report;
  base::Status status = base::Ok{};
  team_.run([&](int worker) {
    ops::Exec ex = exec(worker, team_.size());
    zero_gradients(ex);
  });
  report.loss = sum_of(batches, true, weight, status);
  TW_RETURN_IF_ERROR(status);
  team_.run([&](int worker) {
    ops::Exec ex = exec(worker, team_.size());
    const double norm = gradient_norm(ex, params_->gradients(), norm_memory_);
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
    if (param.use != model::Use::kTable) weights += static_cast<double>(param.elements());
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
  if (!report.skipped) {
    const bool clips = options_.clip > 0 && report.gradient_norm > options_.clip;
    const double scale = clips ? options_.clip / (report.gradient_norm + 1e-6) : 1;
    team_.run([&](int worker) {
      ops::Exec ex = exec(worker, team_.size());
      optimizer_->run(ex, *params_, step_, rate, scale);
      params_->refresh(ex);
    });
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report.tokens_per_second = static_cast<double>(report.tokens) / report.seconds;
  if (options_.peak_flops > 0) report.peak_share = flops(batches) / report.seconds / options_.peak_flops;
  return report;
}

base::Result<double> Trainer::evaluate(std::span<const TrainBatch> batches) {
  TW_ASSIGN_OR_RETURN(const double weight, check(batches));
  base::Status status = base::Ok{};
  const double loss = sum_of(batches, false, weight, status);
  TW_RETURN_IF_ERROR(status);
  return loss;
}

}  // namespace tw::train
