// Models in fewer bits: which type each tensor gets, and the GGUF file of them.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/team.h"
#include "model/save.h"

namespace tw::model {

/// How important each column of a linear layer's weight is, by the weight's name: the mean square of what the
/// layer is multiplied with there. Weights without an entry are quantized as if all columns were alike.
using Importance = std::map<std::string, std::vector<float>>;

struct QuantizeOptions {
  base::Team* team = nullptr;                 ///< null: this thread alone
  const Importance* importance = nullptr;     ///< null: none is known
  std::function<void(double done)> progress;  ///< 0 to 1, on the calling thread; may be empty
};

/// The names that save_quantized knows: "f16", "q8_0", "q4_k_m", ...
std::vector<std::string> quantization_names();

/// The type that each of the model's tensors gets by llama.cpp's published rule: most have the type of the
/// name, the head has more bits, and in the mixes (_s, _m, _l) so have values and outputs of some layers.
/// Rows that are no multiple of a type's block get one with smaller blocks. Fails with kInvalidArgument for a
/// name that there is not, telling those there are.
base::Result<std::vector<base::DType>> quantized_types(const ModelToSave& model, const std::string& name);

/// Writes the model so, whole or not at all. Tensors that have their type already are copied. Errors as
/// save_gguf's.
base::Status save_quantized(const std::string& file, const ModelToSave& model, const std::string& name,
                            const QuantizeOptions& options);

/// Writes a folder of our own kind, in which the layers' matrices are palettized (palette.h) and all else is
/// F16, whole or not at all. `bits` a weight, 2 to 4: in between, matrices whose outputs lose the least by it
/// have 2 bits and the others 4, so that the mean is at most that; tables are not counted. Rows that do not
/// fill whole bytes stay F16. All codes are in memory at a time. Errors as save_folder's, and kUnsupported
/// for a family whose files join layers.
base::Status save_palettized(const std::string& folder, const ModelToSave& model, double bits,
                             const QuantizeOptions& options);

}  // namespace tw::model
