#include "cli/this_machine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <mutex>

#include "cli/bench_run.h"
#include "cli/chain_model.h"
#include "cli/startup.h"
#include "hub/store.h"
#include "plan/machine_step.h"
#include "train/run_size.h"

namespace tw::cli {
namespace {

/// Of a load in a round, after a warm-up: short runs are repeated for so long, and their median counts.
constexpr double kSecondsOfRound = 0.5;
constexpr int kMostRuns = 100;
constexpr double kPatience =
    24;  ///< seconds of a round, in which to wait for the machine that was calibrated
constexpr const char* kRepositorysOwn = "tests/data/models/stories260K.gguf";
/// A model of a size that people run, so that the set has one whatever the store holds: 144M weights.
constexpr ChainShape kMade = {12, 1024, 64, 2816};

struct RunModel {
  std::string argument;  ///< for find_model()
  std::string what;      ///< for people
  int generate;          ///< tokens
};

std::vector<RunModel> models_of(const MachineRuns& runs) {
  std::vector<std::string> names = runs.models;
  if (names.empty()) {
    std::error_code ignored;
    if (std::filesystem::exists(kRepositorysOwn, ignored)) names.emplace_back(kRepositorysOwn);
    if (const auto store = hub::Store::open_default(); store.ok()) {
      for (const hub::Manifest& manifest : store->list().models) names.push_back(manifest.name);
    }
  }
  std::vector<RunModel> models;
  models.reserve(names.size());
  for (std::string& name : names) {
    std::string what = std::filesystem::path(name).filename().string();
    models.push_back({std::move(name), std::move(what), runs.generate});
  }
  return models;
}

/// Writes kMade with random weights into `folder`, in the first and in the last of the quantized types that
/// were calibrated. Its tokens take longer than a tiny model's: half as many are enough.
base::Result<std::vector<RunModel>> make_models(const plan::MachineCurves& curves, const MachineRuns& runs,
                                                const std::string& folder) {
  std::vector<base::DType> types;
  for (int i = 0; i < base::kDTypeCount; ++i) {
    const auto type = static_cast<base::DType>(i);
    if (base::is_quantized(type) &&
        curves.has(plan::Measured::kGeneratedProduct, base::dtype_name(type), curves.threads))
      types.push_back(type);
  }
  if (types.size() > 2) types = {types.front(), types.back()};
  std::vector<RunModel> models;
  models.reserve(types.size());
  for (const base::DType type : types) {
    draw_progress("random weights", static_cast<double>(models.size()) / static_cast<double>(types.size()));
    TW_ASSIGN_OR_RETURN(std::string file, write_chain_model(folder, kMade, type, curves.threads));
    models.push_back({std::move(file), fmt::format("{} layers of {}", kMade.layers, kMade.width),
                      std::max(1, runs.generate / 2)});
  }
  clear_progress();
  return models;
}

/// What was run in rounds: the mean of their seconds counts, as it does of what was calibrated.
class Rows {
 public:
  void add(std::string what, double measured, bool usual, const base::Result<double>& predicted) {
    auto known = std::ranges::find(rows_, what, &plan::MachineRow::what);
    if (known == rows_.end()) {
      plan::MachineRow row{std::move(what), 0, 0, {}};
      if (predicted.ok())
        row.predicted = *predicted;
      else
        row.problem = predicted.error().text();
      known = rows_.insert(rows_.end(), std::move(row));
      seconds_.emplace_back();
    }
    seconds_[known - rows_.begin()].add(1 / measured, usual);
  }
  /// Share of the rows without a run on the machine that was calibrated.
  double unusual_share() const {
    const auto unusual = std::ranges::count_if(seconds_, [](const plan::Rounds& r) { return !r.usual(); });
    return static_cast<double>(unusual) / static_cast<double>(std::max<std::size_t>(1, rows_.size()));
  }
  std::vector<plan::MachineRow> result() && {
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i].measured = 1 / seconds_[i].mean();
    return std::move(rows_);
  }

 private:
  std::vector<plan::MachineRow> rows_;
  std::vector<plan::Rounds> seconds_;  ///< of a token, of each row
};

/// What all runs share.
struct Runner {
  std::shared_ptr<const plan::MachineCurves> curves;
  const MachineRuns& runs;
  base::Team& team;  ///< of as many as plans are made for
  base::Team& alone;
  plan::UsualState& usual;
  Rows rows;
};

base::Status bench_model(const RunModel& model, int threads, int batch, Runner& r) {
  const MachineRuns& runs = r.runs;
  const plan::MachineCurves& curves = *r.curves;
  TW_ASSIGN_OR_RETURN(const FoundModel found, find_model(model.argument, false));
  // Several decode together once the last prompt is computed: short ones, and answers that are still written.
  const int prompt = batch > 1 ? std::min(runs.prompt, 64) : runs.prompt;
  const int generate = batch > 1 ? 2 * model.generate : model.generate;
  StartOptions start;
  start.for_answers = false;
  start.isa = curves.kernels;
  start.packed.write_after = std::chrono::hours(24);  // at the end: it would be measured
  start.engine.threads = threads;
  start.engine.max_running = batch;
  start.engine.context = prompt + generate + 1;
  TW_ASSIGN_OR_RETURN(const Started started, start_engine(found, start));
  BenchLoad load{prompt, generate, batch, 1};
  const auto measure = [&] {
    return measure_speeds(*started.engine, started.model->card().tokenizer->size(), load, [&](double done) {
      draw_progress(fmt::format("{}, {} threads", model.what, threads), done);
    });
  };
  base::Team& team = threads == 1 ? r.alone : r.team;
  TW_ASSIGN_OR_RETURN(Speeds speeds, r.usual.when_usual(team, measure));
  const double once = batch * (prompt / speeds.prefill + generate / speeds.decode);
  load.repeat = static_cast<int>(std::clamp(std::ceil(kSecondsOfRound / once), 1.0, 1.0 * kMostRuns));
  if (load.repeat > 1) {
    TW_ASSIGN_OR_RETURN(speeds, r.usual.when_usual(team, measure));
  }
  clear_progress();
  started.engine->stop();
  const plan::MachineLoad asked{threads, prompt, generate, batch};
  const std::string what =
      fmt::format("{} {}, {} thread{}, batch {}", model.what, started.model->card().quantization, threads,
                  threads == 1 ? "" : "s", batch);
  // Several prompts share steps with answers: their speed is the scheduler's as much as the machine's.
  if (batch == 1) {
    r.rows.add(what + ": prefill", speeds.prefill, r.usual.was_usual(),
               plan::predict_prefill(curves, *started.model, asked));
  }
  r.rows.add(what + ": decode", speeds.decode, r.usual.was_usual(),
             plan::predict_decode(curves, *started.model, asked));
  return base::Ok{};
}

/// A few small shapes of `train`, with all workers.
base::Status train_shapes(Runner& r) {
  constexpr std::int64_t kVocab = 2048, kSequence = 256, kTogether = 4, kBatch = 8;
  const base::ThreadPin pin(r.team.placement()[0]);
  train::TrainerOptions options;
  options.isa = r.curves->kernels;
  options.rows = kTogether * kSequence;
  TW_ASSIGN_OR_RETURN(options.type, train::product_type("auto", options.isa));
  for (const train::Rung& shape : {train::Rung{4, 128}, {6, 256}, {8, 512}}) {
    draw_progress("training", 0);
    spec::TrainModel model;
    model.layers = shape.layers, model.width = shape.width;
    TW_ASSIGN_OR_RETURN(const spec::ModelConfig config, train::config_of(model, kVocab, kSequence));
    TW_ASSIGN_OR_RETURN(const auto trainer, train::Trainer::make(config, options, r.team));
    TW_ASSIGN_OR_RETURN(const double seconds, r.usual.when_usual(r.team, [&] {
      return train::measure_step(*trainer, kBatch * kSequence, kSequence);
    }));
    clear_progress();
    r.rows.add(fmt::format("{} layers of {}, {} threads: train", shape.layers, shape.width, r.team.size()),
               kBatch * kSequence / seconds, r.usual.was_usual(),
               plan::predict_training_speed(r.curves, config, kSequence, kBatch, kTogether));
  }
  return base::Ok{};
}

}  // namespace

base::Result<std::string> calibration_path() {
  TW_ASSIGN_OR_RETURN(const hub::Store store, hub::Store::open_default());
  return store.root() + "/calibration.json";
}

base::Status complete_this_machine(spec::ClusterSpec& cluster) {
  if (cluster.accelerator != plan::kThisMachine) return base::Ok{};
  if (cluster.accelerators == 0) cluster.accelerators = 1;
  if (!cluster.calibration.empty()) return base::Ok{};
  TW_ASSIGN_OR_RETURN(cluster.calibration, calibration_path());
  return base::Ok{};
}

namespace {

plan::StageMemory stage_of(const train::StepMemory& m) {
  plan::StageMemory stage;
  const auto bytes = [](std::size_t size) { return static_cast<double>(size); };
  stage.weights = bytes(m.masters + m.multiplied);
  stage.gradients = bytes(m.gradients);
  stage.optimizer = bytes(m.moments);
  stage.activations = bytes(m.activations);
  stage.buffers = bytes(m.cache + m.scratch);
  return stage;
}

/// Traces each size of a pass once; workers of a search ask at the same time.
class TrainersMemory {
 public:
  TrainersMemory(spec::ModelConfig model, train::TrainerOptions options, std::int64_t sequence, int workers)
      : model_(std::move(model)), options_(std::move(options)), sequence_(sequence), workers_(workers) {}

  base::Result<plan::StageMemory> of(const spec::ParallelPlan& p) {
    const std::scoped_lock lock(mutex_);
    // Its attention keeps no scores, so that to recompute those alone changes nothing.
    const std::pair key(p.micro_batch, p.recompute == spec::Recompute::kFull);
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    train::TrainerOptions options = options_;
    options.rows = p.micro_batch * sequence_;
    if (options.rows > spec::kMaxTrainRows)
      return base::error(base::Code::kInvalidArgument,
                         "a pass of the trainer has at most {} tokens: --micro-batch {} would do",
                         spec::kMaxTrainRows, std::max<std::int64_t>(1, spec::kMaxTrainRows / sequence_));
    options.recompute = key.second;
    TW_ASSIGN_OR_RETURN(const train::StepMemory memory, train::trace_step(model_, options, workers_));
    return known_[key] = stage_of(memory);
  }

 private:
  const spec::ModelConfig model_;
  const train::TrainerOptions options_;
  const std::int64_t sequence_;
  const int workers_;
  std::mutex mutex_;
  std::map<std::pair<int, bool>, plan::StageMemory> known_;
};

}  // namespace

base::Status use_trainers_memory(plan::Setting& s) {
  const plan::MachineCurves* const machine = s.accelerator.machine.get();
  if (machine == nullptr) return base::Ok{};
  TW_RETURN_IF_ERROR(s.model.config.runnable());
  train::TrainerOptions options;
  options.isa = machine->kernels;
  options.type = plan::machine_train_type(*machine);
  options.objective.balance = spec::TrainOptimizer().balance_loss;
  const auto memory =
      std::make_shared<TrainersMemory>(s.model.config, options, s.job.sequence, machine->threads);
  s.own_memory = [memory](const spec::ParallelPlan& p) { return memory->of(p); };
  return base::Ok{};
}

base::Result<MachineScore> run_this_machine(const MachineRuns& runs) {
  std::string path = runs.calibration;
  if (path.empty()) {
    TW_ASSIGN_OR_RETURN(path, calibration_path());
  }
  TW_ASSIGN_OR_RETURN(const auto curves, plan::MachineCurves::load(path));
  TW_ASSIGN_OR_RETURN(const kernels::Table table,
                      kernels::make_table(curves->kernels, kernels::detect_features()));
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(curves->threads, {}));
  base::Team alone({placement[0]}), team(std::move(placement));
  plan::UsualState usual(table, kPatience * runs.repeat);
  usual.set_usual(curves->usual);
  Runner runner{curves, runs, team, alone, usual, {}};
  TW_ASSIGN_OR_RETURN(const ChainFolder folder, ChainFolder::make());
  std::vector<RunModel> models = models_of(runs);
  if (runs.models.empty()) {
    TW_ASSIGN_OR_RETURN(const std::vector<RunModel> made, make_models(*curves, runs, folder.path()));
    models.insert(models.end(), made.begin(), made.end());
  }
  for (int round = 0; round < runs.repeat; ++round) {
    for (const RunModel& model : models) {
      for (const int threads : curves->thread_counts())
        TW_RETURN_IF_ERROR(bench_model(model, threads, 1, runner));
      if (runs.batch > 1) TW_RETURN_IF_ERROR(bench_model(model, curves->threads, runs.batch, runner));
    }
    TW_RETURN_IF_ERROR(train_shapes(runner));
  }
  const double unusual = runner.rows.unusual_share();
  return MachineScore{std::move(runner.rows).result(), usual.spent(), unusual};
}

}  // namespace tw::cli
