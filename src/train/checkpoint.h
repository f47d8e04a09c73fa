// Checkpoints on disk: folders of safetensors files and a state, whole or not there. Format:
// docs/formats/checkpoint.md. Not here: what is saved (Trainer).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/safetensors.h"
#include "io/tensor_file.h"

namespace tw::train {

/// Named tensors that become one file.
struct CheckpointShard {
  std::string name;  ///< "weights": the file is weights.safetensors
  std::vector<io::TensorEntry> tensors;
};

struct CheckpointData {
  std::int64_t step = 0;
  std::int64_t stage = 0;  ///< losses of other stages are of other data
  std::optional<double> validation_loss;
  base::Json state;  ///< position in the data, random counters, ...
  std::vector<CheckpointShard> shards;
};

/// Writes ROOT/step-NNNNNNNN beside one of that step that is there, and takes its place when it is whole.
base::Status write_checkpoint(const std::string& root, const CheckpointData& data);

/// An opened checkpoint whose every byte has matched its checksum. Owns the mappings.
class Checkpoint {
 public:
  /// Fails with kCorrupt, naming the file that is damaged, or kNotFound.
  static base::Result<Checkpoint> open(const std::string& folder);

  const std::string& folder() const { return folder_; }
  std::int64_t step() const { return step_; }
  std::optional<double> validation_loss() const { return validation_loss_; }
  const base::Json& state() const { return state_; }
  /// Fails with kNotFound.
  base::Result<const io::SafetensorsFile*> shard(const std::string& name) const;

 private:
  base::Status read();

  std::string folder_;
  std::int64_t step_ = 0;
  std::optional<double> validation_loss_;
  base::Json state_;
  std::vector<std::pair<std::string, io::SafetensorsFile>> shards_;
};

/// The newest checkpoint that is whole; `damaged` gets one line for each newer one that is not. Fails with
/// kNotFound if there is nothing to go on from, with kCorrupt if there are checkpoints, but none is whole.
base::Result<Checkpoint> latest_checkpoint(const std::string& root, std::vector<std::string>& damaged);

/// Deletes all but the `keep_last` newest and the `keep_best` of the newest one's stage with the smallest
/// validation losses, and what a crash has left half written. REQUIRES: nobody writes below root.
base::Status prune_checkpoints(const std::string& root, int keep_last, int keep_best);

}  // namespace tw::train
