#include "cli/chain_runs.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/dtype.h"
#include "cli/bench_run.h"
#include "cli/chain_model.h"
#include "cli/startup.h"
#include "plan/machine_rows.h"
#include "train/run_size.h"

namespace tw::cli {
namespace {

constexpr double kQuick = 2.5;  ///< seconds below which only the smallest shapes are run

/// None is a model's that people have, nor one that `plan validate` runs.
constexpr ChainShape kShapes[] = {{2, 96, 16, 256},  {6, 96, 16, 256},   {2, 256, 32, 768},
                                  {6, 256, 32, 768}, {2, 768, 64, 2048}, {6, 768, 64, 2048}};
constexpr std::int64_t kQuickShapes = 2;
/// Rounds over all steps, of which the mean counts: others on the machine slow parts of its seconds, as they
/// will when a plan is carried out.
constexpr int kRounds = 3;

/// Sequences at once, and their lengths. One alone is a prompt in one step and then answers. Numbers of rows
/// are some that ops were timed with, so that what is found lies between ops and not between points.
constexpr BenchLoad kLoads[] = {{16, 96, 1, 0}, {64, 64, 1, 0}, {256, 64, 1, 0}, {16, 96, 4, 0}};

struct TrainShape {
  std::int64_t layers, width, together;
};
constexpr TrainShape kTrainShapes[] = {{2, 192, 2}, {5, 192, 2}, {2, 192, 8}, {5, 192, 8},
                                       {2, 448, 2}, {5, 448, 2}, {2, 448, 8}, {5, 448, 8}};
constexpr std::int64_t kTrainVocab = 1536, kTrainSequence = 128, kMicroBatches = 2;

class Chains {
 public:
  Chains(std::shared_ptr<const plan::MachineCurves> curves, const ChainOptions& options,
         const kernels::Table& table, base::Team& team)
      : curves_(std::move(curves)),
        options_(options),
        usual_(table, options.seconds),
        team_(team),
        alone_({team.placement()[0]}) {
    usual_.set_usual(curves_->usual);
    for (std::size_t i = 0; i < options.types.size(); i += std::max<std::size_t>(1, options.types.size() / 3))
      types_.push_back(options.types[i]);
    types_.resize(std::min<std::size_t>(3, types_.size()));
    const bool quick = options.seconds < kQuick;
    shapes_ = std::span(kShapes).first(quick ? kQuickShapes : std::size(kShapes));
    train_shapes_ = std::span(kTrainShapes).first(quick ? kQuickShapes : std::size(kTrainShapes));
    const std::size_t serving = types_.size() * shapes_.size() * options.threads.size();
    rounds_ = quick ? 1 : kRounds;
    ticks_ = rounds_ * static_cast<double>(serving + train_shapes_.size());
    // Training takes what it takes; a half is for loads, of which each has a warm-up besides.
    budget_ = 0.5 * options.seconds / rounds_ /
              static_cast<double>(std::max<std::size_t>(1, serving * std::size(kLoads)));
  }

  base::Status run();
  std::vector<plan::ChainStep>& steps() { return steps_; }

 private:
  void add(const std::string& what, plan::StepKind kind, int threads, double seconds,
           const plan::StepSeconds& predict) {
    const auto known = std::ranges::find_if(
        steps_, [&](const plan::ChainStep& s) { return s.what == what && s.kind == kind; });
    if (known != steps_.end()) {
      rounds_of_[known - steps_.begin()].add(seconds, usual_.was_usual());
      return;
    }
    auto step = plan::chain_step(what, kind, threads, seconds, *curves_, predict);
    if (!step.ok()) return;
    steps_.push_back(*std::move(step));
    rounds_of_.emplace_back().add(seconds, usual_.was_usual());
  }
  void tick() {
    done_ += 1;
    if (options_.progress) options_.progress(done_ / ticks_);
  }
  base::Status round(const std::string& folder);
  base::Status serve(const std::string& file, const std::string& name, int threads);
  base::Status load(const std::shared_ptr<const model::LoadedModel>& model, infer::Engine& engine,
                    const std::string& name, BenchLoad load, int threads);
  base::Status train(const TrainShape& shape);

  std::shared_ptr<const plan::MachineCurves> curves_;
  const ChainOptions& options_;
  plan::UsualState usual_;
  base::Team& team_;
  base::Team alone_;  ///< of one worker
  std::vector<base::DType> types_;
  std::span<const ChainShape> shapes_;
  std::span<const TrainShape> train_shapes_;
  int rounds_ = 1;
  double budget_ = 0, ticks_ = 1, done_ = 0;
  std::vector<std::string> files_;  ///< of models, written in the first round
  std::vector<plan::ChainStep> steps_;
  std::vector<plan::Rounds> rounds_of_;  ///< of each step
};

base::Status Chains::load(const std::shared_ptr<const model::LoadedModel>& model, infer::Engine& engine,
                          const std::string& name, BenchLoad load, int threads) {
  const std::size_t vocab = model->card().tokenizer->size();
  const auto measure = [&] {
    return usual_.when_usual(threads == 1 ? alone_ : team_,
                             [&] { return measure_speeds(engine, vocab, load, {}); });
  };
  load.repeat = 1;  // to see how often there is time for
  auto speeds = measure();
  if (speeds.ok()) {
    const double once = load.batch * (load.prompt / speeds->prefill + load.generate / speeds->decode);
    load.repeat = static_cast<int>(std::clamp(budget_ / once, 1.0, 200.0));
    if (load.repeat > 1) speeds = measure();
  }
  // On a busy machine a tiny model's first sequences may end before the last one was handed in.
  if (!speeds.ok() && load.batch > 1) return base::Ok{};
  if (!speeds.ok()) return speeds.error();
  const plan::MachineLoad asked{threads, load.prompt, load.generate, load.batch};
  add(fmt::format("{}, {} answers after {}", name, load.batch, load.prompt), plan::StepKind::kGenerated,
      threads, load.batch / speeds->decode, [&](const plan::MachineCurves& curves) -> base::Result<double> {
        TW_ASSIGN_OR_RETURN(const double rate, plan::predict_decode(curves, *model, asked));
        return load.batch / rate;
      });
  if (load.batch > 1) return base::Ok{};  // several prompts share steps with answers
  add(fmt::format("{}, prompt of {}", name, load.prompt), plan::StepKind::kPrompt, threads,
      load.prompt / speeds->prefill, [&](const plan::MachineCurves& curves) -> base::Result<double> {
        TW_ASSIGN_OR_RETURN(const double rate, plan::predict_prefill(curves, *model, asked));
        return load.prompt / rate;
      });
  return base::Ok{};
}

base::Status Chains::serve(const std::string& file, const std::string& name, int threads) {
  StartOptions start;
  start.for_answers = false;
  start.isa = options_.isa;
  start.engine.threads = threads;
  TW_ASSIGN_OR_RETURN(const auto model, load_model(file, start));
  for (const BenchLoad& each : kLoads) {
    start.engine.max_running = each.batch;
    start.engine.decode_stretch = 1;  // prompts go whole: all of them are to decode at once soon
    start.engine.context = each.prompt + each.generate + 1;
    TW_ASSIGN_OR_RETURN(const auto engine, infer::Engine::create(model, start.engine));
    TW_RETURN_IF_ERROR(load(model, *engine, name, each, threads));
  }
  return base::Ok{};
}

base::Status Chains::train(const TrainShape& shape) {
  spec::TrainModel model;
  model.layers = shape.layers, model.width = shape.width;
  TW_ASSIGN_OR_RETURN(const spec::ModelConfig config, train::config_of(model, kTrainVocab, kTrainSequence));
  train::TrainerOptions options;
  options.isa = options_.isa;
  options.rows = shape.together * kTrainSequence;
  TW_ASSIGN_OR_RETURN(options.type, train::product_type("auto", options.isa));
  TW_ASSIGN_OR_RETURN(const auto trainer, train::Trainer::make(config, options, team_));
  const std::int64_t batch = kMicroBatches * shape.together;
  TW_ASSIGN_OR_RETURN(const double seconds, usual_.when_usual(team_, [&] {
    return train::measure_step(*trainer, batch * kTrainSequence, kTrainSequence);
  }));
  add(fmt::format("{} layers of {}, {} sequences at once: train", shape.layers, shape.width, shape.together),
      plan::StepKind::kTrain, team_.size(), seconds,
      [&](const plan::MachineCurves& curves) -> base::Result<double> {
        const auto asked = std::make_shared<const plan::MachineCurves>(curves);
        TW_ASSIGN_OR_RETURN(const double speed, plan::predict_training_speed(asked, config, kTrainSequence,
                                                                             batch, shape.together));
        return static_cast<double>(batch * kTrainSequence) / speed;
      });
  return base::Ok{};
}

base::Status Chains::round(const std::string& folder) {
  std::size_t next = 0;
  for (const base::DType type : types_) {
    for (const ChainShape& shape : shapes_) {
      if (next == files_.size()) {
        files_.emplace_back();
        TW_ASSIGN_OR_RETURN(files_.back(), write_chain_model(folder, shape, type, curves_->threads));
      }
      const std::string& file = files_[next++];
      for (const int threads : options_.threads) {
        const std::string name = fmt::format("{}, {} layers of {}, {} threads", base::dtype_name(type),
                                             shape.layers, shape.width, threads);
        TW_RETURN_IF_ERROR(serve(file, name, threads));
        tick();
      }
    }
  }
  const base::ThreadPin pin(team_.placement()[0]);
  for (const TrainShape& shape : train_shapes_) {
    TW_RETURN_IF_ERROR(train(shape));
    tick();
  }
  return base::Ok{};
}

base::Status Chains::run() {
  TW_ASSIGN_OR_RETURN(const ChainFolder folder, ChainFolder::make());
  for (int i = 0; i < rounds_; ++i) TW_RETURN_IF_ERROR(round(folder.path()));
  for (std::size_t i = 0; i < steps_.size(); ++i) steps_[i].seconds = rounds_of_[i].mean();
  return base::Ok{};
}

}  // namespace

base::Result<std::vector<plan::ChainStep>> run_chains(
    const std::shared_ptr<const plan::MachineCurves>& curves, const ChainOptions& options) {
  TW_ASSIGN_OR_RETURN(const kernels::Table table,
                      kernels::make_table(options.isa, kernels::detect_features()));
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(curves->threads, {}));
  base::Team team(std::move(placement));
  Chains chains(curves, options, table, team);
  TW_RETURN_IF_ERROR(chains.run());
  return std::move(chains.steps());
}

}  // namespace tw::cli
