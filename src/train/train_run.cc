#include "train/train_run.h"

#include <filesystem>

#include "train/run_folder.h"
#include "train/run_save.h"
#include "train/run_sources.h"
#include "train/run_stage.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::Status;

/// What the run reads is there: seen before a folder is made, or one that is there is emptied.
Status open_all(const spec::TrainConfig& config, bool data) {
  for (const spec::TrainStage& stage : config.stages) {
    if (data) TW_RETURN_IF_ERROR(open_sources(stage, config.out));
    if (stage.starts_from_path()) TW_RETURN_IF_ERROR(model::ModelFiles::open(stage.start));
    if (!stage.teacher.path.empty()) TW_RETURN_IF_ERROR(model::ModelFiles::open(stage.teacher.path));
  }
  return Ok{};
}

/// Data that is not to be read from its text must have been read before.
Status begin_folder(const spec::TrainConfig& config, const RunOptions& options, RunFolder& folder,
                    RunObserver& observer, std::optional<spec::TrainConfig>& filled) {
  if (options.kept_data) TW_RETURN_IF_ERROR(folder.asked());
  TW_ASSIGN_OR_RETURN(filled, folder.open(config, options.fresh));
  for (const spec::TrainStage& stage : config.stages) {
    for (const spec::TrainData& data : stage.data) {
      if (!folder.lies_in(data.path)) continue;
      observer.note(
          fmt::format("the output folder {} lies in {}, and is left out of it", folder.path(), data.path));
      return Ok{};
    }
  }
  return Ok{};
}

/// The run, once it is prepared.
class Run {
 public:
  Run(PreparedRun& run, const RunFolder& folder, const RunOptions& options, RunLog& log, base::Team& team,
      RunObserver& observer)
      : folder_(folder),
        options_(options),
        observer_(observer),
        writer_({.root = folder.checkpoints(),
                 .keep_last = static_cast<int>(run.config.checkpoints.keep_last),
                 .keep_best = static_cast<int>(run.config.checkpoints.keep_best)}),
        parts_{
            run, team, writer_, log, observer, folder.checkpoints(), folder.reference(), options.peak_flops} {
  }

  /// `from`: the checkpoint to go on from; null: the beginning.
  base::Result<RunReport> go(std::optional<Checkpoint> from, const RunPlace& place) {
    place_ = place;
    const std::size_t stages = parts_.run.config.stages.size();
    auto begun = options_.begun;
    std::unique_ptr<RunStage> stage;
    while (true) {
      const std::size_t i = std::min(place_.stage, stages - 1);
      stage.reset();  // its memory goes before the next one's comes
      TW_ASSIGN_OR_RETURN(stage, RunStage::make(parts_, i, place_, begun));
      TW_RETURN_IF_ERROR(begin(*stage, i, from));
      TW_RETURN_IF_ERROR(stage->hold_reference());
      if (place_.stage > i) break;  // it was finished before
      TW_ASSIGN_OR_RETURN(const StageEnd end, stage->run());
      if (end == StageEnd::kStopped) return RunReport{.step = place_.step};
      if (i + 1 == stages && !stage->prunes()) break;
      TW_ASSIGN_OR_RETURN(from, newest());
      begun = RunStage::Clock::now();
    }
    return finish(*stage);
  }

 private:
  base::Result<std::optional<Checkpoint>> newest() {
    std::vector<std::string> damaged;
    TW_ASSIGN_OR_RETURN(Checkpoint checkpoint, latest_checkpoint(folder_.checkpoints(), damaged));
    return std::optional(std::move(checkpoint));
  }

  Status begin(RunStage& stage, std::size_t i, std::optional<Checkpoint>& from) {
    if (from) {
      const Status status = place_.stage == i && place_.stage_step > 0
                                ? stage.resume(*from)
                                : restore_weights(*from, stage.trainer());
      from.reset();
      return status;
    }
    if (i > 0 || parts_.run.start == nullptr || parts_.run.base != nullptr) return Ok{};
    const Status loaded = load_weights(*parts_.run.start, stage.trainer());
    if (loaded.ok() || !loaded.error().where.empty()) return loaded;
    return base::Error{loaded.error().code, loaded.error().message, parts_.run.config.stages[0].start};
  }

  /// The weights with the smallest validation loss of the last stage, if those were kept.
  Status take_best(RunStage& stage, RunReport& report) {
    report.model_step = place_.step;
    if (parts_.run.config.checkpoints.keep_best == 0 || !place_.best || place_.best->step == place_.step)
      return Ok{};
    auto best = Checkpoint::open(fmt::format("{}/step-{:08d}", folder_.checkpoints(), place_.best->step));
    if (!best.ok()) {
      observer_.note("the best checkpoint cannot be read, and the last weights are written: " +
                     best.error().text());
      return Ok{};
    }
    report.model_step = place_.best->step;
    return restore_weights(*best, stage.trainer());
  }

  base::Result<RunReport> finish(RunStage& stage) {
    RunReport report{.finished = true, .step = place_.step};
    TW_RETURN_IF_ERROR(take_best(stage, report));
    TW_ASSIGN_OR_RETURN(report.validation_loss, stage.validate_all());
    TW_RETURN_IF_ERROR(save_model(parts_.run, stage.trainer(), folder_.path()));
    return report;
  }

  const RunFolder& folder_;
  const RunOptions& options_;
  RunObserver& observer_;
  CheckpointWriter writer_;
  RunParts parts_;
  RunPlace place_;
};

}  // namespace

base::Result<RunReport> train_run(const spec::TrainConfig& config, base::Team& team,
                                  const RunOptions& options, RunObserver& observer) {
  TW_RETURN_IF_ERROR(config.validate());
  TW_RETURN_IF_ERROR(open_all(config, !options.kept_data));
  RunFolder folder(config.out);
  std::optional<spec::TrainConfig> filled;
  TW_RETURN_IF_ERROR(begin_folder(config, options, folder, observer, filled));
  const PrepareOptions preparing{.folder = folder.path(), .kept_data = options.kept_data && filled};
  TW_ASSIGN_OR_RETURN(const RunSources sources, sources_of(config, !preparing.kept_data));
  TW_RETURN_IF_ERROR(filled ? check_sources(sources, folder.path())
                            : note_sources(sources, folder.path(), observer));
  TW_ASSIGN_OR_RETURN(PreparedRun run, prepare_run(filled.value_or(config), preparing, team, observer));
  if (!filled) TW_RETURN_IF_ERROR(folder.write(config, run.config));
  if (options.prepared) options.prepared(run);
  std::vector<std::string> damaged;
  std::optional<Checkpoint> from;
  RunPlace place;
  if (auto newest = latest_checkpoint(folder.checkpoints(), damaged); newest.ok()) {
    TW_ASSIGN_OR_RETURN(place, place_of(*newest));
    from = std::move(*newest);
  } else if (const base::Error& why = newest.error(); why.code != Code::kNotFound) {
    for (const std::string& line : damaged) observer.note(line);
    return base::Error{why.code, why.message + ": start the run anew with --fresh", why.where};
  }
  for (const std::string& line : damaged) observer.note(line);
  if (place.step > 0 || !damaged.empty()) observer.note(fmt::format("goes on from step {}", place.step));
  TW_ASSIGN_OR_RETURN(RunLog log, RunLog::open(folder.path(), place.step, observer));
  return Run(run, folder, options, log, team, observer).go(std::move(from), place);
}

}  // namespace tw::train
