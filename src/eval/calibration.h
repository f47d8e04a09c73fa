// Which columns of a model's weights matter, by a text that it reads.
#pragma once

#include <functional>
#include <string_view>

#include "model/loaded_model.h"
#include "model/quantize.h"

namespace tw::eval {

struct CalibrationOptions {
  int threads = 0;            ///< 0: what the machine and the cgroup allow
  std::int64_t window = 512;  ///< tokens read at a time; less for models with less context
  std::size_t limit = 128;    ///< the first so many windows
  std::function<void(double done)> progress = {};  ///< 0 to 1; may be empty
};

/// Runs the model over the text, window by window as measure_perplexity does, and returns the mean square of
/// what each linear layer was multiplied with, by column (model::save_quantized). The output matrix is not
/// among them. Errors: kInvalidArgument for a text of fewer than two tokens or a model whose numbers run
/// away; kResourceExhausted.
base::Result<model::Importance> measure_importance(const model::LoadedModel& model, std::string_view text,
                                                   const CalibrationOptions& options);

}  // namespace tw::eval
