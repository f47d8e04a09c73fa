// Structured pruning of feed-forward width: a mask over the units of each layer is learnt with the weights,
// and in the end those that it keeps are a smaller model (soft top-k masks as in arXiv 2407.21075).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/tensor_file.h"
#include "model/trainable.h"
#include "spec/model_config.h"

namespace tw::train {

struct PruningOptions {
  std::int64_t width = 0;  ///< of the feed-forward layers in the end; 0: nothing is pruned
  double falling = 0.5;    ///< share of the stage in which the width falls to that; then masks harden
  double speed = 30;       ///< scores move so many times as fast as weights
};

/// A unit's mask multiplies its column of down_proj, which is what multiplying the unit comes to: no op knows
/// of masks. Outside of an optimizer step the masters of down_proj are what is multiplied with, masked; the
/// weights themselves lie here. The scores are parameters, "model.layers.0.mlp.mask".
class WidthMask {
 public:
  /// Declares the scores. REQUIRES: before memory is bound to the store, and a gated layer as the config
  /// says.
  static void declare(model::ParamStore& store, const spec::ModelConfig& config);
  /// Whether it is the name of a layer's scores.
  static bool is_mask(const std::string& parameter) { return parameter.ends_with(".mlp.mask"); }

  WidthMask(model::Trainable& params, const PruningOptions& options);
  /// Memory of the masks and of the weights that they are multiplied into, beside the parameters.
  static std::size_t bytes_for(const spec::ModelConfig& config);
  std::size_t bytes() const;

  /// How much of the stage is done, 0 to 1: from then on fold() makes masks of that.
  void set_done(double done);
  /// After the masters were changed: takes the weights out of them, and masks them. Ends with a barrier.
  void fold(ops::Exec& ex);
  /// Puts the weights back, for the optimizer. Ends with a barrier.
  void unfold(ops::Exec& ex);
  /// Of gradients by masked weights makes those by the weights and by the scores. Ends with a barrier.
  void gradients(ops::Exec& ex);

  /// Where the numbers of parameter i are, unmasked.
  const float* numbers(std::size_t i) const;
  /// All parameters of the smaller model: of each layer the units with the largest masks, in their order.
  /// Views into `memory`.
  std::vector<io::TensorEntry> pruned(std::vector<std::vector<float>>& memory) const;

 private:
  struct Layer {
    std::size_t gate, up, down, scores;  ///< numbers of parameters
    std::int64_t outputs, units;         ///< of down_proj
    std::vector<float> weights, mask;
  };
  const Layer* layer_with(std::size_t i) const;

  model::Trainable& params_;
  const PruningOptions options_;
  double units_ = 0, temperature_ = 1;
  std::vector<Layer> layers_;
};

}  // namespace tw::train
