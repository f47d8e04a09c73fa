#include "spec/train_config.h"

#include <algorithm>

#include "base/affinity.h"
#include "base/json.h"

namespace tw::spec {
namespace {

using base::Code;
using base::error;
using base::Ok;
using base::Status;

constexpr std::size_t kMaxStages = 64, kMaxSources = 1024;

/// In quotes, fit for a message of one line.
std::string shown(const std::string& text) {
  return base::dump_json(base::Json(text.substr(0, 200)));
}

/// Whether a stage's data and what it learns of it go together.
Status check_objective(const TrainStage& s, std::size_t i, const std::string& name) {
  for (const TrainData& data : s.data) {
    if ((data.kind == "preference") != s.of_pairs())
      return error(Code::kInvalidArgument, "{} has preferences beside other data: make two stages of it",
                   name);
  }
  if (!s.of_pairs()) return Ok{};
  if (s.pruning.ffn_width > 0)
    return error(Code::kInvalidArgument, "{} learns preferences and prunes: make two stages of it", name);
  if (i == 0 && !s.starts_from_path())
    return error(Code::kInvalidArgument,
                 "{} learns preferences, which a model must have answers to: give it a \"start\", or a stage "
                 "before",
                 name);
  if (!s.teacher.path.empty())
    return error(Code::kInvalidArgument, "{} learns preferences, of which no teacher knows: take one out",
                 name);
  return Ok{};
}

Status check_stage(const TrainStage& s, std::size_t i, const TrainModel& model) {
  const std::string name =
      s.name.empty() ? fmt::format("stage {}", i + 1) : fmt::format("stage {}", shown(s.name));
  if (s.data.empty())
    return error(Code::kInvalidArgument, "{} has no data: name a folder or file of text", name);
  if (s.data.size() > kMaxSources)
    return error(Code::kInvalidArgument, "{} has {} sources of data, but may have {}", name, s.data.size(),
                 kMaxSources);
  for (const TrainData& data : s.data) {
    if (data.path.empty()) return error(Code::kInvalidArgument, "{} has data without a \"path\"", name);
  }
  TW_RETURN_IF_ERROR(check_objective(s, i, name));
  if (s.sequence > 0 && s.batch > 0 && s.sequence > s.batch)
    return error(Code::kInvalidArgument,
                 "{} has sequences of {} tokens, but steps of {}: make \"batch\" larger", name, s.sequence,
                 s.batch);
  if (s.sequence > 0 && s.micro_batch > 0 && s.sequence > s.micro_batch)
    return error(Code::kInvalidArgument,
                 "{} has sequences of {} tokens, but a micro-batch of {}: make \"micro-batch\" larger", name,
                 s.sequence, s.micro_batch);
  if (model.context > 0 && s.sequence > model.context)
    return error(Code::kInvalidArgument, "{} has sequences of {} tokens, but the model's context is {}", name,
                 s.sequence, model.context);
  if (i == 0 && s.start == "previous")
    return error(Code::kInvalidArgument, "{} is the first: there is no stage before to start from", name);
  if (i > 0 && s.start == "none")
    return error(Code::kInvalidArgument, "{} starts from none, which would throw away the stage before",
                 name);
  if (i > 0 && s.start != "auto" && s.start != "previous")
    return error(Code::kInvalidArgument,
                 "{} starts from {}, but only the first stage starts from a model: make it a run of its own",
                 name, shown(s.start));
  return Ok{};
}

/// A model to start from is what it is.
Status check_started(const TrainModel& m) {
  const std::pair<const char*, std::int64_t> shape[] = {{"layers", m.layers},
                                                        {"width", m.width},
                                                        {"heads", m.heads},
                                                        {"kv-heads", m.kv_heads},
                                                        {"ffn-width", m.ffn_width},
                                                        {"experts", m.experts},
                                                        {"experts-per-token", m.experts_per_token}};
  for (const auto& [key, value] : shape) {
    if (value > 0)
      return error(Code::kInvalidArgument,
                   "model.{} is given, but the model to start from has a shape: take one of them out", key);
  }
  return Ok{};
}

Status check_model(const TrainModel& m) {
  if ((m.layers > 0) != (m.width > 0))
    return error(Code::kInvalidArgument, "model.layers and model.width go together: give both or none");
  if (m.width == 0 && (m.heads > 0 || m.kv_heads > 0 || m.ffn_width > 0))
    return error(Code::kInvalidArgument,
                 "model.heads, model.kv-heads and model.ffn-width want model.layers and model.width");
  if (!m.mixture() && (m.experts > 0 || m.experts_per_token > 0))
    return error(
        Code::kInvalidArgument,
        "model.experts and model.experts-per-token want a family that has experts, mixtral, qwen2_moe or "
        "qwen3_moe, and not {}",
        m.family);
  if (m.family == "gpt2" && m.kv_heads > 0 && m.kv_heads != m.heads)
    return error(Code::kInvalidArgument,
                 "model.kv-heads is {}, but in the family gpt2 each of the {}heads has its own keys: take it "
                 "out",
                 m.kv_heads, m.heads > 0 ? fmt::format("{} ", m.heads) : "");
  if (m.family == "gpt2" && m.says("rope-theta", m.rope_theta != TrainModel().rope_theta))
    return error(Code::kInvalidArgument,
                 "model.rope-theta is given, but the family gpt2 has no rotary positions");
  return Ok{};
}

Status check_rotation(const TrainConfig& c) {
  for (std::size_t i = 0; i < c.stages.size(); ++i) {
    if (c.model.family == "gpt2" && c.stages[i].rope_theta > 0)
      return error(Code::kInvalidArgument,
                   "stage {} has a \"rope-theta\", but the family gpt2 has no rotary positions", i + 1);
  }
  return Ok{};
}

/// A flag for the teacher is given to all stages, of which some may have none.
Status check_teachers(const TrainConfig& c) {
  const auto taught = [](const TrainStage& s) { return !s.teacher.path.empty(); };
  if (std::any_of(c.stages.begin(), c.stages.end(), taught)) return Ok{};
  const TrainTeacher none;
  for (std::size_t i = 0; i < c.stages.size(); ++i) {
    const TrainTeacher& t = c.stages[i].teacher;
    if (t.top != none.top || t.weight != none.weight || t.temperature != none.temperature)
      return error(Code::kInvalidArgument,
                   "stage {} says how a teacher is learnt from, but has none: give it teacher.path", i + 1);
  }
  return Ok{};
}

Status check_adapter(const TrainConfig& c) {
  if (c.adapter.rank == 0) {
    if (c.adapter.alpha == 0 && c.adapter.dropout == 0 && c.adapter.targets == "all") return Ok{};
    return error(
        Code::kInvalidArgument,
        "adapter.alpha, adapter.dropout and adapter.targets are of an adapter, and there is none: give "
        "adapter.rank");
  }
  if (c.model.mup_base > 0)
    return error(Code::kInvalidArgument,
                 "model.mup-base is of a model all of whose weights are learnt: an adapter has no width");
  if (!c.model.name.empty())
    return error(Code::kInvalidArgument, "model.name is of a model that is written, and an adapter is none");
  for (std::size_t i = 0; i < c.stages.size(); ++i) {
    const bool path = c.stages[i].starts_from_path();
    if (i == 0 && !path)
      return error(Code::kInvalidArgument, "an adapter is learnt beside a model: give stage 1 a \"start\"");
    if (c.stages[i].pruning.ffn_width > 0)
      return error(Code::kInvalidArgument, "stage {} prunes a model that an adapter leaves as it is", i + 1);
    if (c.stages[i].rope_theta > 0)
      return error(Code::kInvalidArgument,
                   "stage {} changes the rotary base of a model that an adapter leaves as it is", i + 1);
    if (c.stages[i].expert_capacity > 0)
      return error(Code::kInvalidArgument,
                   "stage {} has an expert-capacity, but an adapter leaves the model's experts as they are",
                   i + 1);
  }
  return Ok{};
}

}  // namespace

bool TrainModel::says(const char* key, bool otherwise) const {
  return otherwise || std::find(given.begin(), given.end(), key) != given.end();
}

Status TrainConfig::validate() const {
  if (out.empty()) return error(Code::kInvalidArgument, "there is no output folder: give --out");
  if (stages.empty())
    return error(Code::kInvalidArgument, "there is no data to train on: give --data FOLDER or a recipe");
  if (stages.size() > kMaxStages)
    return error(Code::kInvalidArgument, "the recipe has {} stages, but may have {}", stages.size(),
                 kMaxStages);
  if (!cpus.empty()) {
    if (auto list = base::parse_cpu_list(cpus); !list.ok()) return list.error();
  }
  TW_RETURN_IF_ERROR(stages[0].starts_from_path() ? check_started(model) : check_model(model));
  TW_RETURN_IF_ERROR(check_rotation(*this));
  TW_RETURN_IF_ERROR(check_teachers(*this));
  if ((tokenizer.kind == "file") != !tokenizer.path.empty())
    return error(Code::kInvalidArgument,
                 "tokenizer.path and the kind file of tokenizer.kind go together: give both or none");
  for (std::size_t i = 0; i < stages.size(); ++i) TW_RETURN_IF_ERROR(check_stage(stages[i], i, model));
  TW_RETURN_IF_ERROR(check_adapter(*this));
  return Ok{};
}

}  // namespace tw::spec
