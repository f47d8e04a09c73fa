// What a run takes: shapes of models, memory by category, FLOPs, and the shape that suits machine, time and
// data.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "spec/model_config.h"
#include "spec/train_config.h"
#include "train/trainer.h"

namespace tw::train {

/// The decoder that a recipe's model is, with its defaults filled in. REQUIRES: layers and width are given.
/// Fails as ModelConfig::validate does.
base::Result<spec::ModelConfig> config_of(const spec::TrainModel& model, std::int64_t vocab,
                                          std::int64_t context);

/// Of one training step, in bytes, as the Trainer allocates it.
struct StepMemory {
  std::size_t masters = 0, gradients = 0, moments = 0;  ///< moments: all that the optimizer keeps
  std::size_t multiplied = 0;                           ///< the weights as they are multiplied with
  std::size_t activations = 0;                          ///< and gradients of activations
  std::size_t cache = 0;                                ///< keys and values of one layer
  std::size_t scratch = 0;                              ///< of all workers
  std::size_t masks = 0;   ///< of pruning, with the weights that they are multiplied into
  std::size_t frozen = 0;  ///< a teacher's activations; a reference's, with its weights
  std::size_t loaded = 0;  ///< weights of teachers, and of an adapter's base: of a run, not of a step
  std::size_t taken = 0;   ///< of `loaded`, what the process has taken from the free memory
  double flops = 0;        ///< of one pass over all rows, forward and backward, as the ops count them

  std::size_t all() const {
    return masters + gradients + moments + multiplied + activations + cache + scratch + masks + frozen +
           loaded;
  }
};

/// By tracing a pass of options.rows tokens; memory is reserved, but not touched. Fails if even that fails.
base::Result<StepMemory> trace_step(const spec::ModelConfig& config, const TrainerOptions& options,
                                    int workers);

/// Of a trainer that there is: what it has allocated, but for its workers' scratch. FLOPs are not counted.
StepMemory memory_of(const Trainer& trainer);

/// The type that `precision` means here: auto is bf16 where the kernel set multiplies it by tiles or lanes of
/// its own.
base::Result<base::DType> product_type(const std::string& precision, const std::string& isa);

/// Seconds of a step of `tokens` tokens (random ones), passes of its options' rows each: the mean of two.
/// Weights stay, but moments do not.
base::Result<double> measure_step(Trainer& trainer, std::int64_t tokens, std::int64_t sequence);

/// What a shape is chosen for.
struct SizeGoal {
  double seconds = 0;       ///< there are so many to train
  std::int64_t tokens = 0;  ///< of the data, to learn from
  std::size_t memory = 0;   ///< bytes that a step may take
  std::int64_t vocab = 0, context = 0;
  spec::TrainModel model = {};      ///< its family, and what else is told of it but layers and width
  std::size_t most_parameters = 0;  ///< 0: any
};

/// A shape, and how fast it trains here.
struct SizedModel {
  std::int64_t layers = 0, width = 0;
  double tokens_per_second = 0;
};

/// What a shape should see: 20 tokens a parameter of its layers (Hoffmann et al. 2022, arXiv 2203.15556), of
/// experts those that a token takes.
double tokens_wanted(const spec::ModelConfig& config);

/// THE RULE: of a ladder of shapes the largest that sees tokens_wanted in the time, by its speed measured
/// here, whose layers have at most 4 parameters a token of the data, all experts counted (more learn it by
/// heart), and that fits the memory; the smallest if none does.
base::Result<SizedModel> choose_shape(const SizeGoal& goal, const TrainerOptions& options, base::Team& team,
                                      const std::function<void(double done)>& progress);

/// The ladder: layers and width, ascending.
struct Rung {
  std::int64_t layers, width;
};
const std::vector<Rung>& shape_ladder();

/// The largest rung at most this large whose step fits `memory`; none: nothing does.
std::optional<Rung> fitting_rung(const SizeGoal& goal, const TrainerOptions& options, int workers);

}  // namespace tw::train
