#include "cli/train_plan.h"

#include "base/mmap.h"
#include "plan/setting.h"
#include "spec/field_file.h"
#include "train/run_size.h"

namespace tw::cli {
namespace {

using base::Code;

/// The estimate in a document: itself, or that of the plan which a search ends with. Null: it is a plan
/// alone.
const base::Json* estimate_in(const base::Json& document) {
  if (document.contains("plan") && document.contains("job")) return &document;
  if (!document.contains("searches") || !document.contains("best")) return nullptr;
  for (const base::Json& search : document["searches"]) {
    if (!search.contains("best")) continue;
    for (const base::Json& estimate : search["best"]) {
      if (estimate.contains("plan") && estimate["plan"] == document["best"]) return &estimate;
    }
  }
  return nullptr;
}

bool read(const base::Json& from, const char* name, std::string& to) {
  const auto it = from.find(name);
  if (it == from.end() || !it->is_string()) return false;
  to = it->get<std::string>();
  return true;
}

bool read(const base::Json& from, const char* name, std::int64_t& to) {
  const auto it = from.find(name);
  if (it == from.end() || !it->is_number_integer()) return false;
  to = it->get<std::int64_t>();
  return to > 0 && to < std::int64_t{1} << 48;
}

base::Status read_estimate(const base::Json& estimate, TrainPlan& p) {
  TW_RETURN_IF_ERROR(spec::read_plan(estimate["plan"].dump(), p.file, p.plan));
  const base::Json& job = estimate["job"];
  std::string machine;
  if (!read(estimate, "accelerator", machine) || !read(estimate, "model", p.model) ||
      !read(estimate, "parameters", p.parameters) || !read(job, "sequence", p.sequence) ||
      !read(job, "batch", p.batch) || !read(job, "steps", p.steps) || !read(job, "precision", p.precision))
    return base::Error{Code::kCorrupt, "it is no answer of `tokenworks plan estimate` or `plan search`",
                       p.file};
  if (machine == plan::kThisMachine) return base::Ok{};
  return base::Error{Code::kInvalidArgument,
                     fmt::format("the plan is for {}, and train runs here: make one with --accelerator {}",
                                 machine, plan::kThisMachine),
                     p.file};
}

base::Status check_one_process(const TrainPlan& p) {
  if (p.plan.ranks() == 1 && p.plan.expert == 1) return base::Ok{};
  return base::Error{Code::kInvalidArgument,
                     fmt::format("the plan {} needs {} processes, and train runs in one: plan for "
                                 "--accelerator {}",
                                 p.plan.text(), p.plan.ranks(), plan::kThisMachine),
                     p.file};
}

/// The shape as a recipe has it.
spec::TrainModel shape_of(const spec::ModelConfig& c) {
  spec::TrainModel m;
  m.family = c.ffn == spec::FfnKind::kGelu ? "gpt2"
             : c.experts.count == 0        ? "llama"
             : c.qk_norm                   ? "qwen3_moe"
                                           : "mixtral";
  m.layers = c.layers, m.width = c.width, m.heads = c.heads, m.kv_heads = c.kv_heads;
  m.ffn_width = c.experts.count > 0 ? c.experts.width : c.ffn_width;
  m.experts = c.experts.count, m.experts_per_token = c.experts.chosen;
  m.context = c.context, m.tied = c.tied_embeddings, m.rope_theta = c.rope_theta;
  return m;
}

/// Fails where a model of that shape would not be the plan's.
base::Status take_shape(const TrainPlan& p, spec::TrainConfig& config) {
  TW_ASSIGN_OR_RETURN(const plan::PlannedModel model, plan::find_model(p.model));
  const spec::TrainModel shape = shape_of(model.config);
  const auto made = train::config_of(shape, model.config.vocab, model.config.context);
  if (!made.ok() || made->parameter_count() != model.config.parameter_count() ||
      made->head_dim != model.config.head_dim)
    return base::error(
        Code::kInvalidArgument,
        "the trainer makes no model of the shape of {}: name one to start from with --start, or "
        "a shape with --model-layers and --model-width",
        p.model);
  const std::string name = config.model.name;
  config.model = shape;
  config.model.name = name;
  if (config.tokenizer.kind == "bpe" && config.tokenizer.vocab == 0)
    config.tokenizer.vocab = model.config.vocab;
  return base::Ok{};
}

}  // namespace

base::Result<TrainPlan> read_train_plan(const std::string& file) {
  TrainPlan p;
  p.file = file;
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(file, std::size_t{64} << 20));
  TW_ASSIGN_OR_RETURN(const base::Json document, spec::parse_field_file(text, file));
  if (const base::Json* const estimate = estimate_in(document); estimate != nullptr) {
    TW_RETURN_IF_ERROR(read_estimate(*estimate, p));
  } else {
    TW_RETURN_IF_ERROR(spec::read_plan(text, file, p.plan));
  }
  TW_RETURN_IF_ERROR(check_one_process(p));
  return p;
}

base::Status TrainPlan::apply(spec::TrainConfig& config,
                              const std::function<bool(const char* flag)>& given) const {
  const bool length_given = given("steps") || given("tokens") || given("minutes");
  for (spec::TrainStage& stage : config.stages) {
    if (sequence > 0 && !given("sequence")) stage.sequence = sequence;
    if (stage.sequence == 0)
      return base::Error{Code::kInvalidArgument,
                         "a plan's micro-batch counts sequences: say with --sequence how long they are",
                         file};
    if (batch > 0 && !given("batch")) stage.batch = batch * stage.sequence;
    if (!given("micro-batch")) stage.micro_batch = plan.micro_batch * stage.sequence;
    // To recompute scores alone changes nothing: the trainer's attention keeps none.
    if (!given("recompute")) stage.recompute = plan.recompute == spec::Recompute::kFull ? "block" : "none";
    if (steps > 0 && !length_given && stage.steps == 0 && stage.tokens == 0 && stage.minutes == 0)
      stage.steps = steps;
  }
  if (!precision.empty() && !given("precision")) {
    if (precision != "bf16" && precision != "fp32")
      return base::Error{Code::kInvalidArgument,
                         fmt::format("the plan multiplies in {}, and the trainer in bf16 or fp32", precision),
                         file};
    config.precision = precision;
  }
  const bool shaped = config.model.layers > 0 || config.model.width > 0 ||
                      config.stages[0].starts_from_path() || !config.stages[0].teacher.path.empty();
  if (!shaped && !model.empty()) TW_RETURN_IF_ERROR(take_shape(*this, config));
  return base::Ok{};
}

}  // namespace tw::cli
