// The folder of a run: what was asked for, what it became, and what lies where.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "io/file_lock.h"
#include "spec/train_config.h"

namespace tw::train {

/// FOLDER/run.json holds the recipe as asked and as filled in; beside it log.jsonl, tensorboard/,
/// checkpoints/, data/, tokenizer/, and in the end the model. Formats: docs/training.md.
class RunFolder {
 public:
  explicit RunFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string checkpoints() const { return path_ + "/checkpoints"; }
  std::string reference() const { return path_ + "/reference"; }

  /// The recipe that was asked for when the run began. Fails with kNotFound where no run is.
  base::Result<spec::TrainConfig> asked() const;

  /// Makes the folder ready for this recipe. The filled-in recipe of the run that is there, if it is a run of
  /// the same recipe (what cannot change a weight may differ, and is taken from `wanted`); nothing, if there
  /// is no run, or `anew`: then what an earlier run left is deleted. Fails with kInvalidArgument, naming the
  /// first difference, for a run of another recipe, and for a folder without a run that holds a model,
  /// checkpoints, or another name that a run deletes: nothing is deleted that run.json does not mark as ours.
  /// So it does for a start, teacher, tokenizer or data of `wanted` that is the folder, or lies in it.
  /// From then on, as long as this lives, the folder is this run's: another's open() fails with kUnavailable.
  base::Result<std::optional<spec::TrainConfig>> open(const spec::TrainConfig& wanted, bool anew);
  /// The first part of that, which writes nothing.
  base::Status check_apart(const spec::TrainConfig& config) const;
  /// Whether `path`, a folder of data, holds this one.
  bool lies_in(const std::string& path) const;

  base::Status write(const spec::TrainConfig& asked, const spec::TrainConfig& filled) const;

 private:
  base::Status make() const;
  base::Status hold();
  /// Whether there is a run that had its recipe filled in; without that it left nothing to go on from.
  base::Result<bool> begun() const;
  base::Status write(const base::OrderedJson& json) const;
  base::Status clear() const;
  std::string path_;
  std::optional<io::FileLock> lock_;
};

}  // namespace tw::train
