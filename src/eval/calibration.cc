#include "eval/calibration.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/affinity.h"
#include "eval/perplexity.h"
#include "infer/step_runner.h"
#include "ops/input_squares.h"

namespace tw::eval {
namespace {

using base::Code;

/// A column that the text left at zero is not worth nothing: what else the model reads may use it.
constexpr float kLeastShare = 1e-4F;

base::Result<model::Importance> importance_of(const model::ParamStore& params,
                                              const ops::InputSquares& squares) {
  model::Importance importance;
  for (const model::Param& param : params.params()) {
    if (!param.multiplied()) continue;
    std::vector<float> means = squares.means(param.matrix);
    if (means.empty()) continue;
    const float mean = std::accumulate(means.begin(), means.end(), 0.0F) / static_cast<float>(means.size());
    if (!std::isfinite(mean))
      return base::error(Code::kInvalidArgument, "what {} is multiplied with is no finite number",
                         param.name);
    if (mean == 0) continue;
    for (float& one : means) one = std::max(one, kLeastShare * mean);
    importance.emplace(param.name, std::move(means));
  }
  return importance;
}

}  // namespace

base::Result<model::Importance> measure_importance(const model::LoadedModel& model, std::string_view text,
                                                   const CalibrationOptions& options) {
  const std::int64_t window = std::min(options.window, model.config().context);
  if (window < 2)
    return base::error(Code::kInvalidArgument, "a context of {} token is too short to calibrate with",
                       window);
  const TextWindows cut = cut_text(*model.card().tokenizer, text, {.window = window, .limit = options.limit});
  if (cut.windows.empty()) return base::error(Code::kInvalidArgument, "is too short to calibrate with");
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(window / infer::kBlockTokens + 1));
  std::iota(blocks.begin(), blocks.end(), 0);
  TW_ASSIGN_OR_RETURN(const infer::PagedKv kv,
                      infer::PagedKv::create(model.config(), std::ssize(blocks), window, base::DType::kF32));
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(options.threads, {}));
  base::Team team(std::move(placement));
  TW_ASSIGN_OR_RETURN(const auto runner,
                      infer::StepRunner::create(model, kv, team, static_cast<int>(window)));
  ops::InputSquares squares;
  for (const model::Param& param : model.params().params()) {
    if (param.multiplied()) squares.watch(param.matrix);
  }
  runner->observe(&squares);
  model::Batch batch;
  for (std::size_t i = 0; i < cut.windows.size(); ++i) {
    const Passage passage = cut.passage(i);
    batch.clear();
    batch.add(passage.tokens, 0, blocks.data(), false);
    runner->run(batch, {}, kv.view());
    if (options.progress)
      options.progress(static_cast<double>(i + 1) / static_cast<double>(cut.windows.size()));
  }
  return importance_of(model.params(), squares);
}

}  // namespace tw::eval
