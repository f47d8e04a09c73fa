// Layers dealt to the stages of a pipeline that differ: so that the slowest stage is fastest, and then all
// together.
#pragma once

#include <functional>
#include <optional>
#include <vector>

namespace tw::plan {

/// Seconds that a stage takes with layers [first, first + count) of the model; infinite: it has no room for
/// them. REQUIRES: never less when a range grows at either end.
using StageCost = std::function<double(int stage, int first, int count)>;

struct LayerSplit {
  std::vector<int> layers;           ///< of each stage, at least one
  double slowest = 0, together = 0;  ///< the greatest cost, and the sum
};

/// The split whose slowest stage is fastest, and of such splits one of the least sum: exact but for a
/// billionth of the time. Nothing when stages cannot hold the model. REQUIRES: 1 <= stages <= layers.
std::optional<LayerSplit> split_layers(int layers, int stages, const StageCost& cost);

}  // namespace tw::plan
