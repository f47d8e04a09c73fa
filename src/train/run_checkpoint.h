// What a run saves and goes on from: a trainer's weights and moments, the position in the data, and counters.
#pragma once

#include <cstdint>
#include <optional>

#include "io/tensor_file.h"
#include "model/model_files.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

namespace tw::train {

/// Where a run is: what the state of a checkpoint holds besides the data's position.
struct RunPlace {
  std::int64_t step = 0;        ///< of the run, in all stages
  std::size_t stage = 0;        ///< the one that goes on; as many as there are: the run is finished
  std::int64_t stage_step = 0;  ///< steps done of it
  double elapsed = 0;           ///< seconds spent on it
  std::int64_t skipped = 0;     ///< steps in a row up to here
  /// The smallest validation loss of this stage, and the checkpoint of that step.
  struct Best {
    double loss = 0;
    std::int64_t step = 0;
  };
  std::optional<Best> best = {};
};

/// The checkpoint of a place; tensors point into the trainer. Without moments (and position) where
/// `stage_step` is 0: a stage begins with weights alone.
CheckpointData checkpoint_of(const Trainer& trainer, const BatchLoader& loader, const RunPlace& place,
                             std::optional<double> validation_loss);

/// Reads the place. Fails with kCorrupt.
base::Result<RunPlace> place_of(const Checkpoint& checkpoint);

/// Puts weights, and within a stage moments, counters and position, where they were. Fails with kCorrupt or
/// kInvalidArgument when the checkpoint is of another model or other data.
base::Status restore(const Checkpoint& checkpoint, Trainer& trainer, BatchLoader& loader);
/// The weights alone.
base::Status restore_weights(const Checkpoint& checkpoint, Trainer& trainer);
/// The same of a model's files. Fails, naming the tensor, when they are of another shape.
base::Status load_weights(const model::ModelFiles& files, Trainer& trainer);

/// The fp32 weights of a trainer, named as in Hugging Face's files.
std::vector<io::TensorEntry> weights_of(const Trainer& trainer);

}  // namespace tw::train
