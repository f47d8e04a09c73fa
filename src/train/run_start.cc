#include "train/run_start.h"

namespace tw::train {
namespace {

using base::Code;
using base::error;
using base::Ok;
using base::Status;

Status check_rotation(const spec::TrainModel& m, const spec::ModelConfig& start) {
  if (!m.says("rope-theta", m.rope_theta != spec::TrainModel().rope_theta)) return Ok{};
  if (start.learned_positions)
    return error(Code::kInvalidArgument,
                 "model.rope-theta is given, but the model to start from has no rotary positions");
  if (m.rope_theta == start.rope_theta) return Ok{};
  return error(Code::kInvalidArgument,
               "model.rope-theta is {}, but the model to start from has {}: give the stage's \"rope-theta\" "
               "to change it",
               m.rope_theta, start.rope_theta);
}

/// They are as many as they are, and are not turned.
Status check_learned_positions(const spec::TrainConfig& config, const spec::ModelConfig& start) {
  const std::int64_t context = config.model.context;
  if (context > 0 && context != start.context)
    return error(Code::kInvalidArgument,
                 "model.context is {}, but the model to start from has learned {} positions: take it out",
                 context, start.context);
  for (const spec::TrainStage& stage : config.stages) {
    if (stage.rope_theta > 0)
      return error(Code::kInvalidArgument,
                   "a stage has a \"rope-theta\", but the model to start from has no rotary positions");
  }
  return Ok{};
}

}  // namespace

std::string family_of(const spec::ModelConfig& model) {
  if (model.learned_positions) return "gpt2";
  if (model.experts.count == 0) return "llama";
  return model.architecture == "qwen3_moe" ? "qwen3_moe" : "mixtral";
}

Status check_start(const spec::TrainConfig& config, const spec::ModelConfig& start) {
  const spec::TrainModel &m = config.model, none;
  if (m.says("family", m.family != none.family) && m.family != family_of(start))
    return error(Code::kInvalidArgument,
                 "model.family is {}, but the model to start from is of the family {}: take it out", m.family,
                 start.architecture);
  if (m.says("tied", m.tied != none.tied) && m.tied != start.tied_embeddings)
    return error(Code::kInvalidArgument, "model.tied is {}, but the model to start from has {}: take it out",
                 m.tied, m.tied ? "an output head of its own" : "its embedding table for an output head");
  TW_RETURN_IF_ERROR(check_rotation(m, start));
  return start.learned_positions ? check_learned_positions(config, start) : Status(Ok{});
}

}  // namespace tw::train
