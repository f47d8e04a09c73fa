// One stage of a run: steps, validation, samples, checkpoints, and the way back when numbers explode.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "train/checkpoint_writer.h"
#include "train/run_checkpoint.h"
#include "train/run_log.h"
#include "train/run_observer.h"
#include "train/run_prepare.h"

namespace tw::train {

/// What a run's stages share.
struct RunParts {
  PreparedRun& run;
  base::Team& team;
  CheckpointWriter& writer;
  RunLog& log;
  RunObserver& observer;
  std::string checkpoints;  ///< their folder
  std::string reference;    ///< that of the model that preferences are held against
  double peak_flops = 0;
};

enum class StageEnd { kDone, kStopped };

/// For one thread. `place` is where the run is, kept up to date.
class RunStage {
 public:
  using Clock = std::chrono::steady_clock;

  /// Makes the trainer with its first weights. `begun`: from when on the stage's minutes count, unless it
  /// goes on.
  static base::Result<std::unique_ptr<RunStage>> make(const RunParts& parts, std::size_t number,
                                                      RunPlace& place, Clock::time_point begun);

  Trainer& trainer() { return *trainer_; }
  /// Its trainer has a larger model than the one that it leaves.
  bool prunes() const { return trainer_->mask() != nullptr; }
  /// Where preferences are learnt with all weights, those that the stage begins with are kept as a model, and
  /// loaded. After its weights are there. REQUIRES: before the first step.
  base::Status hold_reference();
  /// Puts it where a checkpoint of this stage was.
  base::Status resume(const Checkpoint& checkpoint);

  /// Until the end of the stage, or until the observer stops it: then the place is saved. At the end `place`
  /// is the next stage's beginning, and saved.
  base::Result<StageEnd> run();

  /// Mean loss of all validation text, or nothing where there is none (or no time).
  base::Result<std::optional<double>> validate_all();

 private:
  RunStage(const RunParts& parts, std::size_t number, RunPlace& place, Clock::time_point begun);
  double elapsed() const;
  double done(std::int64_t steps) const;
  double done() const { return done(place_.stage_step); }
  bool ended() const;
  double rate() const;
  base::Status draw();
  base::Status step();
  base::Status after_step(const StepReport& report, double rate);
  base::Status roll_back();
  base::Result<std::optional<Measures>> validate(std::int64_t most_tokens);
  void note_validation(const Measures& measures, bool whole);
  base::Result<bool> validate_now();
  base::Status sample_now();
  void took(const Checkpoint& checkpoint);
  base::Status save();
  base::Status save_and_wait();
  bool due(std::int64_t interval, double& parts_seen, int times) const;

  const RunParts parts_;
  const std::size_t number_;
  const spec::TrainStage& stage_;
  const spec::TrainConfig& config_;
  RunPlace& place_;
  std::unique_ptr<Trainer> trainer_;
  std::unique_ptr<BatchLoader> loader_;
  std::vector<TrainBatch> batches_;
  Clock::time_point begun_, saved_;
  double last_seconds_ = 0;
  double validations_ = 0, samples_ = 0;  ///< parts of the stage that have had theirs
  double validation_rate_ = 0;            ///< tokens a second
  std::optional<double> last_loss_;
  std::int64_t loss_step_ = -1;  ///< whose weights it is of
  int roll_backs_ = 0;
};

}  // namespace tw::train
