// What a prepared run says of its stages: the model, the trainer, and the memory.
#include <algorithm>
#include <set>

#include "train/run_prepare.h"

namespace tw::train {
namespace {

/// "all", or names between commas. Nothing is learnt beside experts.
std::vector<std::string> targets_of(const std::string& text, const spec::ModelConfig& base) {
  if (text == "all" && base.experts.count > 0) return {"q_proj", "k_proj", "v_proj", "o_proj"};
  if (text == "all") return {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    names.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

}  // namespace

spec::ModelConfig PreparedRun::model_of(std::size_t stage, bool over) const {
  spec::ModelConfig c = model;
  for (std::size_t i = 0; i < stage + (over ? 1 : 0); ++i) {
    if (config.stages[i].pruning.ffn_width > 0) c.ffn_width = config.stages[i].pruning.ffn_width;
  }
  c.context = config.model.context;
  c.experts.capacity = config.stages[stage].expert_capacity;
  if (config.stages[stage].rope_theta > 0) c.rope_theta = config.stages[stage].rope_theta;
  return c;
}

TrainerOptions PreparedRun::trainer_options(std::size_t stage) const {
  const spec::TrainStage& s = config.stages[stage];
  TrainerOptions options;
  options.isa = config.isa;
  options.type = type;
  options.rows = s.micro_batch;
  options.recompute = s.recompute == "block";
  const spec::TrainOptimizer& o = s.optimizer;
  options.optimizer = {o.beta1, o.beta2, o.epsilon, std::max(0.0, o.decay), o.kind, o.momentum};
  options.mup_base = config.model.mup_base;
  options.clip = s.optimizer.clip;
  options.spike = s.optimizer.spike;
  options.objective.z_loss = static_cast<float>(s.optimizer.z_loss);
  options.objective.balance = s.optimizer.balance_loss;
  if (teachers[stage] != nullptr)
    options.objective.distillation = {teachers[stage], s.teacher.top, s.teacher.weight,
                                      s.teacher.temperature};
  if (s.of_pairs()) options.objective.preference = {s.preference.beta};
  options.pruning = {s.pruning.ffn_width, s.pruning.falling, s.pruning.speed};
  options.seed = config.seed;
  options.dropout.branches = s.dropout;
  options.dropout.attention = s.attention_dropout < 0 ? s.dropout : s.attention_dropout;
  options.dropout.adapters = config.adapter.dropout;
  options.dropout.seed = config.seed | static_cast<std::uint64_t>(stage) << 32;  // steps are the stage's
  return options;
}

base::Result<std::unique_ptr<Trainer>> PreparedRun::make_trainer(std::size_t stage,
                                                                 const TrainerOptions& options,
                                                                 base::Team& team) const {
  if (base == nullptr) return Trainer::make(model_of(stage, options.pruning.width == 0), options, team);
  model::AdapterConfig adapter;
  adapter.base_model = config.stages[0].start;
  adapter.rank = config.adapter.rank;
  adapter.alpha = config.adapter.alpha;
  adapter.dropout = config.adapter.dropout;
  adapter.targets = targets_of(config.adapter.targets, base->config());
  return Trainer::make_adapter(base, adapter, options, team);
}

namespace {

base::Result<StepMemory> memory_of_stage(const PreparedRun& run, std::size_t stage, int workers) {
  if (run.base == nullptr) return trace_step(run.model_of(stage), run.trainer_options(stage), workers);
  base::Team alone(1);
  TW_ASSIGN_OR_RETURN(const auto trainer, run.make_trainer(stage, run.trainer_options(stage), alone));
  return memory_of(*trainer);
}

}  // namespace

base::Result<StepMemory> memory_of(const PreparedRun& run, int workers) {
  StepMemory worst;
  for (std::size_t i = 0; i < run.config.stages.size(); ++i) {
    TW_ASSIGN_OR_RETURN(const StepMemory memory, memory_of_stage(run, i, workers));
    if (memory.all() > worst.all()) worst = memory;
  }
  std::set<const model::LoadedModel*> loaded{run.base.get()};
  for (const auto& teacher : run.teachers) loaded.insert(teacher.get());
  loaded.erase(nullptr);
  for (const model::LoadedModel* model : loaded) {
    const model::LoadedModel::WeightBytes bytes = model->weight_bytes();
    worst.loaded += bytes.own + bytes.mapped;
    worst.taken += bytes.own;
  }
  return worst;
}

}  // namespace tw::train
