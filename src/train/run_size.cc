#include "train/run_size.h"

#include <algorithm>
#include <chrono>

#include "model/families.h"

namespace tw::train {
namespace {

using base::Code;

std::int64_t rounded(double value, std::int64_t to) {
  return std::max<std::int64_t>(to, static_cast<std::int64_t>(value / static_cast<double>(to) + 0.5) * to);
}

/// Documents of `sequence` tokens, `together` (a pair, or 1) of them alike, in batches of `rows`.
std::vector<TrainBatch> random_batches(std::int64_t tokens, std::int64_t rows, std::int64_t sequence,
                                       std::int64_t vocab, std::int64_t together) {
  std::vector<TrainBatch> batches;
  std::uint64_t state = 1;
  for (std::int64_t left = tokens; left >= together;) {
    batches.emplace_back();
    for (std::int64_t room = std::min(rows, left); room >= together;) {
      std::vector<std::int32_t> ids;
      for (std::int64_t i = 0; i <= std::min(sequence, room / together); ++i) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX generator
        ids.push_back(static_cast<std::int32_t>((state >> 33) % static_cast<std::uint64_t>(vocab)));
      }
      for (std::int64_t i = 0; i < together; ++i) batches.back().add_document(ids);
      room -= together * (std::ssize(ids) - 1);
    }
    left -= batches.back().rows();
  }
  return batches;
}

std::int64_t table_parameters(const spec::ModelConfig& c) {
  return c.vocab * c.width * (c.tied_embeddings ? 1 : 2);
}

/// A teacher is loaded already, a reference is not.
base::Result<std::size_t> frozen_bytes(const model::Transformer& transformer, const kernels::Table& table,
                                       const TrainerOptions& options, int workers) {
  if (options.objective.distillation) {
    const Distillation& d = *options.objective.distillation;
    return FrozenModel::bytes_for(d.teacher->transformer(), d.teacher->table(), options.rows, d.top, workers);
  }
  if (!options.objective.preference) return std::size_t{0};
  TW_ASSIGN_OR_RETURN(const std::size_t bytes,
                      FrozenModel::bytes_for(transformer, table, options.rows, 1, workers));
  return bytes + base::row_bytes(options.type, transformer.config().parameter_count());
}

/// What it keeps, and what it takes of the memory of activations, which are not there then.
base::Status add_optimizer(StepMemory& m, model::Trainable& params, const kernels::Table& table,
                           const OptimizerOptions& options, int workers) {
  TW_ASSIGN_OR_RETURN(Optimizer optimizer, Optimizer::make(params, options));
  ops::Trace trace;
  ops::Exec ex(table, trace);
  optimizer.run(ex, params, 1, 0, 1);
  m.moments = optimizer.bytes();
  m.activations = std::max(m.activations, ex.arena().peak());
  m.scratch = std::max(m.scratch, ex.scratch_peak() * static_cast<std::size_t>(workers));
  return base::Ok{};
}

spec::TrainModel model_of(const Rung& rung, const SizeGoal& goal) {
  spec::TrainModel model = goal.model;
  model.layers = rung.layers;
  model.width = rung.width;
  return model;
}

}  // namespace

base::Result<spec::ModelConfig> config_of(const spec::TrainModel& m, std::int64_t vocab,
                                          std::int64_t context) {
  spec::ModelConfig c;
  model::set_family(c, m.family);
  c.name = m.name;
  c.layers = m.layers;
  c.width = m.width;
  c.heads = m.heads > 0 ? m.heads : std::max<std::int64_t>(1, m.width / (m.width < 512 ? 32 : 64));
  c.kv_heads = m.kv_heads > 0 ? m.kv_heads : c.heads;
  if (m.width % c.heads != 0) {
    return base::error(Code::kInvalidArgument, "model.width is {}, which {} heads do not divide: make it {}",
                       m.width, c.heads, rounded(static_cast<double>(m.width), c.heads * 2));
  }
  c.head_dim = m.width / c.heads;
  // Two matrices of 4 times the width, or three of 8/3 of it: as many numbers.
  const double wider = c.ffn == spec::FfnKind::kGelu ? 4.0 : 8.0 / 3;
  c.ffn_width = m.ffn_width > 0 ? m.ffn_width : rounded(wider * static_cast<double>(m.width), 32);
  if (m.mixture()) {
    c.experts.count = m.experts > 0 ? m.experts : 8;
    c.experts.chosen = m.experts_per_token > 0 ? m.experts_per_token : 2;
    c.experts.width = c.ffn_width;
    // As wide as all others that a token takes, as in Qwen1.5-MoE and Qwen2-57B-A14B.
    if (c.experts.shared > 0) c.experts.shared_width = c.experts.chosen * c.experts.width;
  }
  c.vocab = vocab;
  c.context = context;
  c.rope_theta = m.rope_theta;
  c.tied_embeddings = m.tied;
  TW_RETURN_IF_ERROR(c.validate());
  return c;
}

base::Result<base::DType> product_type(const std::string& precision, const std::string& isa) {
  if (precision == "fp32") return base::DType::kF32;
  TW_ASSIGN_OR_RETURN(const kernels::Table table, kernels::make_table(isa, kernels::detect_features()));
  const bool fast = table.bf16_prompts();
  return precision == "bf16" || fast ? base::DType::kBF16 : base::DType::kF32;
}

base::Result<StepMemory> trace_step(const spec::ModelConfig& config, const TrainerOptions& options,
                                    int workers) {
  TW_ASSIGN_OR_RETURN(const kernels::Table table,
                      kernels::make_table(options.isa, kernels::detect_features()));
  model::ParamStore store;
  const model::Transformer transformer(config, store);
  if (options.pruning.width > 0) WidthMask::declare(store, config);
  TW_ASSIGN_OR_RETURN(const auto params, model::Trainable::make(store, table, options.type));
  ops::Tape tape(params->leaves()), of_blocks(params->leaves(), &tape);
  const std::int64_t rows = (options.rows + 15) / 16 * 16;
  model::Batch batch;
  const std::vector<std::int32_t> ids(rows);
  std::vector<std::int32_t> blocks(rows / kernels::kKvBlock);
  batch.add(ids, 0, blocks.data(), false);
  for (std::int64_t row = 0; row < rows; ++row) batch.want(row);
  Objective objective(options.objective);
  objective.load_worst();
  const base::DType cache = learning_cache_type(table, options.type, options.dropout.attention > 0);
  model::KvView kv;
  kv.longest = rows;
  kv.layers.assign(config.layers,
                   {nullptr, nullptr, cache, kernels::kKvBlock, config.kv_heads, config.head_dim});
  ops::Trace trace;
  ops::Exec ex(table, trace);
  ex.train(&tape, options.recompute ? &of_blocks : nullptr, options.dropout);
  objective.loss(ex, transformer, transformer.forward(ex, batch, kv));
  tape.backward(ex);
  StepMemory m;
  TW_ASSIGN_OR_RETURN(m.frozen, frozen_bytes(transformer, table, options, workers));
  m.masters = params->masters().size_bytes();
  m.gradients = params->gradients().size_bytes();
  m.multiplied = params->multiplied_bytes();
  if (options.pruning.width > 0) m.masks = WidthMask::bytes_for(config);
  m.activations = ex.arena().peak();
  m.scratch = ex.scratch_peak() * static_cast<std::size_t>(workers);
  TW_RETURN_IF_ERROR(add_optimizer(m, *params, table, options.optimizer, workers));
  m.cache = 2 * static_cast<std::size_t>(rows / kernels::kKvBlock * config.kv_heads *
                                         kernels::kv_head_elements(cache, config.head_dim) *
                                         kernels::kv_element_bytes(cache));
  for (const ops::OpCost& op : trace.ops) m.flops += op.flops;
  return m;
}

StepMemory memory_of(const Trainer& trainer) {
  StepMemory m;
  const model::Trainable& params = trainer.params();
  m.masters = params.masters().size_bytes();
  m.gradients = params.gradients().size_bytes();
  m.moments = trainer.optimizer().bytes();
  m.multiplied = params.multiplied_bytes();
  m.activations = trainer.activation_bytes();
  if (trainer.mask() != nullptr) m.masks = trainer.mask()->bytes();
  return m;
}

base::Result<double> measure_step(Trainer& trainer, std::int64_t tokens, std::int64_t sequence) {
  std::int64_t vocab = trainer.transformer().config().vocab;
  if (const auto& taught = trainer.options().objective.distillation)
    vocab = std::min(vocab, taught->teacher->config().vocab);  // tables may have spare rows
  const auto batches =
      random_batches(tokens, trainer.options().rows, sequence, vocab, trainer.objective().of_pairs() ? 2 : 1);
  constexpr int kSteps = 2;
  double sum = 0;
  for (int i = 0; i <= kSteps; ++i) {  // the first touches memory
    TW_ASSIGN_OR_RETURN(const StepReport report, trainer.step(batches, 0));
    if (i > 0) sum += report.seconds;
  }
  return sum / kSteps;
}

const std::vector<Rung>& shape_ladder() {
  static const std::vector<Rung> ladder = {{2, 64},    {3, 96},    {4, 128},  {4, 192},  {6, 256},
                                           {6, 384},   {8, 512},   {10, 640}, {12, 768}, {16, 1024},
                                           {20, 1280}, {24, 1536}, {24, 2048}};
  return ladder;
}

double tokens_wanted(const spec::ModelConfig& c) {
  return 20 * static_cast<double>(c.active_parameter_count() - table_parameters(c));
}

base::Result<SizedModel> choose_shape(const SizeGoal& goal, const TrainerOptions& options, base::Team& team,
                                      const std::function<void(double done)>& progress) {
  constexpr double kMostEach = 4;
  SizedModel best;
  double previous = 0;  // FLOPs a token times tokens a second of the rung below: larger ones are not slower
  for (std::size_t i = 0; i < shape_ladder().size(); ++i) {
    TW_ASSIGN_OR_RETURN(const spec::ModelConfig config,
                        config_of(model_of(shape_ladder()[i], goal), goal.vocab, goal.context));
    const auto layers = static_cast<double>(config.parameter_count() - table_parameters(config));
    const auto weights = static_cast<double>(config.active_parameter_count());
    const double wanted = tokens_wanted(config);
    const bool hopeless = previous > 0 && 4 * previous / weights * goal.seconds < wanted;
    if (i > 0 && (hopeless || layers > kMostEach * static_cast<double>(goal.tokens))) break;
    TW_ASSIGN_OR_RETURN(const StepMemory memory, trace_step(config, options, team.size()));
    if (i > 0 && memory.all() > goal.memory) break;
    TW_ASSIGN_OR_RETURN(const auto trainer, Trainer::make(config, options, team));
    TW_ASSIGN_OR_RETURN(const double seconds, measure_step(*trainer, options.rows, goal.context));
    const double speed = static_cast<double>(options.rows) / seconds;
    if (i > 0 && speed * goal.seconds < wanted) break;
    best = {config.layers, config.width, speed};
    previous = weights * speed;
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(shape_ladder().size()));
  }
  return best;
}

std::optional<Rung> fitting_rung(const SizeGoal& goal, const TrainerOptions& options, int workers) {
  for (auto rung = shape_ladder().rbegin(); rung != shape_ladder().rend(); ++rung) {
    const auto config = config_of(model_of(*rung, goal), goal.vocab, goal.context);
    if (!config.ok() || config->parameter_count() > static_cast<std::int64_t>(goal.most_parameters)) continue;
    const auto memory = trace_step(*config, options, workers);
    if (memory.ok() && memory->all() <= goal.memory) return *rung;
  }
  return std::nullopt;
}

}  // namespace tw::train
