// What stands before a run's first step: data and tokenizer, the model's shape, every default filled in, and
// whether it fits the machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/loaded_model.h"
#include "model/model_files.h"
#include "spec/train_config.h"
#include "train/run_data.h"
#include "train/run_size.h"

namespace tw::train {

/// A recipe with what it stands for.
struct PreparedRun {
  spec::TrainConfig config;  ///< without defaults left to fill in: shapes, batches, rates are numbers
  RunTokenizer tokenizer;
  std::vector<std::vector<MixtureSource>> data;  ///< by stage
  std::vector<DataSize> sizes;                   ///< by stage
  std::unique_ptr<model::ModelFiles> start;      ///< what the first stage starts from; null: nothing
  std::shared_ptr<const model::LoadedModel>
      base;  ///< the same where an adapter is learnt beside it; else null
  std::vector<std::shared_ptr<const model::LoadedModel>> teachers;  ///< by stage; null: it has none
  spec::ModelConfig model;
  base::DType type = base::DType::kF32;
  double tokens_per_second = 0;  ///< measured here; 0: was not

  /// The model of a stage, or with `over` the one that it leaves: their rotary base and width may be others.
  spec::ModelConfig model_of(std::size_t stage, bool over = false) const;
  TrainerOptions trainer_options(std::size_t stage) const;
  /// Of a stage, of all weights or of the adapter's.
  base::Result<std::unique_ptr<Trainer>> make_trainer(std::size_t stage, const TrainerOptions& options,
                                                      base::Team& team) const;
};

struct PrepareOptions {
  std::string
      folder;  ///< token files and tokenizer are kept in it; empty: nothing is written, sizes are estimates
  bool kept_data = false;  ///< the token files that are there are taken, whatever became of their text
  bool measure = false;    ///< measure the speed also where nothing asks for it
};

/// Fails in one line for data that is not there or no text, a tokenizer or model that does not fit, and a run
/// that does not fit the machine's memory (kResourceExhausted, with the nearest that does).
base::Result<PreparedRun> prepare_run(const spec::TrainConfig& config, const PrepareOptions& options,
                                      base::Team& team, RunObserver& observer);

/// Of the stage that takes most, with the models that stay loaded; prepare_run has seen that it fits.
base::Result<StepMemory> memory_of(const PreparedRun& run, int workers);

}  // namespace tw::train
