#include "train/run_stage.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/hash64.h"
#include "train/run_sample.h"
#include "train/run_save.h"
#include "train/schedule.h"

namespace tw::train {
namespace {

using base::Code;
using base::error;
using base::Ok;
using base::Status;

constexpr int kMostRollBacks = 3;
constexpr int kMostDraws = 1000;  ///< of a step's batches in a row that have nothing to learn from
constexpr int kValidations = 20, kSamples = 5;  ///< in a stage, where no interval is given
constexpr std::int64_t kValidationTokens = 1 << 16;

double seconds(RunStage::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

Schedule schedule_of(const spec::TrainStage& stage) {
  Schedule s;
  const std::string& kind = stage.schedule.kind;
  s.decay = kind == "cosine"   ? Decay::kCosine
            : kind == "linear" ? Decay::kLinear
            : kind == "wsd"    ? Decay::kWarmupStableDecay
                               : Decay::kConstant;
  s.peak = stage.schedule.peak;
  s.last = stage.schedule.last;
  s.falling = stage.schedule.falling;
  s.steps = stage.steps;
  s.warmup = stage.schedule.warmup;
  return s;
}

}  // namespace

RunStage::RunStage(const RunParts& parts, std::size_t number, RunPlace& place, Clock::time_point begun)
    : parts_(parts),
      number_(number),
      stage_(parts.run.config.stages[number]),
      config_(parts.run.config),
      place_(place),
      begun_(begun),
      saved_(Clock::now()) {}

base::Result<std::unique_ptr<RunStage>> RunStage::make(const RunParts& parts, std::size_t number,
                                                       RunPlace& place, Clock::time_point begun) {
  std::unique_ptr<RunStage> stage(new RunStage(parts, number, place, begun));
  const spec::TrainStage& s = stage->stage_;
  TrainerOptions options = parts.run.trainer_options(number);
  options.peak_flops = parts.peak_flops;
  if (place.stage > number) options.pruning = {};  // what it has left is trained no more
  TW_ASSIGN_OR_RETURN(stage->trainer_, parts.run.make_trainer(number, options, parts.team));
  const BatchLoaderOptions loading{.batch_tokens = s.micro_batch,
                                   .sequence = s.sequence,
                                   .seed = stage->config_.seed + number,
                                   .validation = stage->config_.validation.share,
                                   .pairs = s.of_pairs()};
  TW_ASSIGN_OR_RETURN(BatchLoader loader, BatchLoader::create(parts.run.data[number], loading));
  stage->loader_ = std::make_unique<BatchLoader>(std::move(loader));
  stage->batches_.resize((s.batch + s.micro_batch - 1) / s.micro_batch);
  return stage;
}

Status RunStage::hold_reference() {
  if (!trainer_->objective().wants_reference()) return Ok{};
  if (place_.stage == number_ && place_.stage_step == 0)
    TW_RETURN_IF_ERROR(save_model(parts_.run, *trainer_, parts_.reference));
  model::LoadOptions options;
  options.isa = trainer_->table().name;
  options.threads = parts_.team.size();
  TW_ASSIGN_OR_RETURN(auto reference, model::LoadedModel::load(parts_.reference, options));
  return trainer_->set_reference(std::move(reference));
}

Status RunStage::resume(const Checkpoint& checkpoint) {
  begun_ = Clock::now() -
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(place_.elapsed));
  trainer_->set_pruned(done());
  TW_RETURN_IF_ERROR(restore(checkpoint, *trainer_, *loader_));
  validations_ = std::floor(done() * kValidations + 1e-9);
  samples_ = std::floor(done() * kSamples + 1e-9);
  took(checkpoint);
  return Ok{};
}

double RunStage::elapsed() const {
  return seconds(Clock::now() - begun_);
}

/// Where steps and minutes are given, by what is nearer to its end.
double RunStage::done(std::int64_t steps) const {
  const double by_steps =
      stage_.steps > 0 ? static_cast<double>(steps) / static_cast<double>(stage_.steps) : 0;
  return std::max(by_steps, stage_.minutes > 0 ? std::min(1.0, elapsed() / (60 * stage_.minutes)) : 0);
}

/// With minutes: what comes after the last step must fit in as well.
bool RunStage::ended() const {
  if (stage_.steps > 0 && place_.stage_step >= stage_.steps) return true;
  if (stage_.minutes == 0) return false;
  const double left = 60 * stage_.minutes - elapsed();
  const auto validation =
      static_cast<double>(parts_.run.sizes[number_].tokens - parts_.run.sizes[number_].training);
  const double last = validation_rate_ > 0 ? validation / validation_rate_ : 0;
  return left < 1 + 2 * last_seconds_ + 1.2 * last;
}

double RunStage::rate() const {
  Schedule schedule = schedule_of(stage_);
  if (stage_.minutes == 0 || place_.stage_step < schedule.warmup) return rate_at(schedule, place_.stage_step);
  constexpr std::int64_t kParts = 1'000'000;  // of the time
  schedule.warmup = 0;
  schedule.steps = kParts;
  return rate_at(schedule, std::llround(done() * kParts));
}

/// Every so many steps, or so many times in the stage.
bool RunStage::due(std::int64_t interval, double& parts_seen, int times) const {
  if (interval != 0) return interval > 0 && place_.stage_step % interval == 0;
  const double part = std::floor(done() * times + 1e-9);  // steps over steps is not exact
  if (part <= parts_seen) return false;
  parts_seen = part;
  return true;
}

/// A checkpoint that is written again must not lose the loss that it is kept for.
void RunStage::took(const Checkpoint& checkpoint) {
  last_loss_ = checkpoint.validation_loss();
  loss_step_ = checkpoint.step();
}

Status RunStage::save() {
  place_.elapsed = elapsed();
  saved_ = Clock::now();
  const std::optional<double> loss = loss_step_ == place_.step ? last_loss_ : std::nullopt;
  CheckpointData data = checkpoint_of(*trainer_, *loader_, place_, loss);
  std::vector<std::vector<float>> pruned;  // is copied when it is saved
  if (prunes() && place_.stage > number_) data.shards = {{"weights", trainer_->mask()->pruned(pruned)}};
  const Status before = parts_.writer.save(data);
  if (!before.ok()) parts_.observer.note("a checkpoint was not written: " + before.error().text());
  return Ok{};
}

/// What comes next, another stage or the end, hangs on this checkpoint.
Status RunStage::save_and_wait() {
  TW_RETURN_IF_ERROR(save());
  const Status written = parts_.writer.wait();
  if (written.ok()) return written;
  const base::Error& why = written.error();
  return base::Error{why.code,
                     why.message +
                         "; once that is mended, the run goes on from the checkpoint before by the same "
                         "command",
                     why.where};
}

base::Result<std::optional<Measures>> RunStage::validate(std::int64_t most_tokens) {
  if (config_.validation.share == 0) return std::optional<Measures>();
  const Clock::time_point begin = Clock::now();
  loader_->restart_validation();
  Measures sums;
  double weights = 0;
  std::int64_t tokens = 0;
  TrainBatch batch;
  while (tokens < most_tokens) {
    TW_RETURN_IF_ERROR(loader_->next_validation(batch));
    if (batch.rows() == 0) break;
    TW_ASSIGN_OR_RETURN(const double weight, trainer_->objective().weight(batch));
    tokens += batch.rows();
    if (weight == 0) continue;
    TW_ASSIGN_OR_RETURN(const Measures mean, trainer_->measure({&batch, 1}));
    sums.add(mean, weight);
    weights += weight;
  }
  loader_->restart_validation();
  validation_rate_ = static_cast<double>(tokens) / std::max(1e-6, seconds(Clock::now() - begin));
  if (weights == 0) return std::optional<Measures>();
  return std::optional(sums.over(weights));
}

void RunStage::note_validation(const Measures& measures, bool whole) {
  base::OrderedJson line = {{"step", place_.step}};
  if (!whole) line["stage"] = number_;
  line["validation_loss"] = measures.loss;
  if (trainer_->objective().of_pairs()) line["validation_accuracy"] = measures.accuracy;
  if (whole) line["whole"] = true;
  parts_.log.add(line);
  parts_.observer.validated(place_.step, measures.loss, whole);
}

base::Result<std::optional<double>> RunStage::validate_all() {
  TW_ASSIGN_OR_RETURN(const std::optional<Measures> found,
                      validate(std::numeric_limits<std::int64_t>::max()));
  if (!found) return std::optional<double>();
  note_validation(*found, true);
  return std::optional(found->loss);
}

/// True: none of the stage was smaller.
base::Result<bool> RunStage::validate_now() {
  const std::int64_t most = config_.validation.tokens > 0 ? config_.validation.tokens : kValidationTokens;
  TW_ASSIGN_OR_RETURN(const std::optional<Measures> found, validate(most));
  last_loss_ = found ? std::optional(found->loss) : std::nullopt;
  loss_step_ = place_.step;
  if (!found) return false;
  note_validation(*found, false);
  if (!std::isfinite(found->loss) || (place_.best && place_.best->loss <= found->loss)) return false;
  place_.best = {found->loss, place_.step};
  return true;
}

Status RunStage::sample_now() {
  TW_ASSIGN_OR_RETURN(const std::string text,
                      draw_sample(*trainer_, *parts_.run.tokenizer.tokenizer, config_.samples,
                                  static_cast<std::uint64_t>(place_.step) + config_.seed));
  parts_.log.add({{"step", place_.step}, {"sample", text}});
  parts_.observer.sampled(place_.step, text);
  return Ok{};
}

/// To the weights of the last checkpoint; the data goes on, past what broke them.
Status RunStage::roll_back() {
  const Status written = parts_.writer.wait();
  if (!written.ok()) parts_.observer.note("a checkpoint was not written: " + written.error().text());
  std::vector<std::string> damaged;
  const auto checkpoint = latest_checkpoint(parts_.checkpoints, damaged);
  if (!checkpoint.ok() || ++roll_backs_ > kMostRollBacks) {
    return error(Code::kInvalidArgument,
                 "{} steps in a row had to be skipped at step {} (gradients not finite, or spikes){}: lower "
                 "schedule.peak, or raise optimizer.spike",
                 place_.skipped, place_.step,
                 checkpoint.ok() ? ", again and again after going back to a checkpoint"
                                 : " before there was a checkpoint");
  }
  const base::Json position = loader_->position();
  TW_ASSIGN_OR_RETURN(RunPlace back, place_of(*checkpoint));
  if (back.stage != number_) return error(Code::kInternal, "the last checkpoint is of another stage");
  const std::int64_t from = place_.step;
  back.elapsed = elapsed();
  back.skipped = 0;
  place_ = back;
  trainer_->set_pruned(done());
  TW_RETURN_IF_ERROR(restore(*checkpoint, *trainer_, *loader_));
  TW_RETURN_IF_ERROR(loader_->seek(position));
  took(*checkpoint);
  parts_.log.add({{"step", place_.step}, {"event", "roll back"}, {"from", from}});
  parts_.observer.note(fmt::format(
      "too many steps were skipped: went back from step {} to the checkpoint of step {}", from, place_.step));
  return Ok{};
}

Status RunStage::after_step(const StepReport& report, double rate) {
  StepLine line;
  line.step = place_.step;
  line.stage = number_;
  line.loss = report.loss;
  line.rate = rate;
  line.gradient_norm = report.gradient_norm;
  line.skipped = report.skipped;
  line.tokens = report.tokens;
  line.seconds = report.seconds;
  line.tokens_per_second = report.tokens_per_second;
  // Nothing is faster than the peak: it was measured while something else used the machine.
  line.peak_share = report.peak_share <= 1 ? report.peak_share : 0;
  line.done = done();
  line.elapsed = elapsed();
  const Measures& m = report.measures;
  if (trainer_->objective().taught()) line.more = {{"label_loss", m.label_loss}};
  if (trainer_->objective().of_pairs())
    line.more = {{"reward_accuracy", m.accuracy},
                 {"reward_margin", m.margin()},
                 {"reward_chosen", m.chosen},
                 {"reward_rejected", m.rejected}};
  parts_.log.step(line);
  parts_.observer.stepped(line);
  if (place_.skipped >= config_.skip_limit) return roll_back();
  if (ended()) return Ok{};
  bool best = false;
  if (due(config_.validation.interval, validations_, kValidations)) {
    TW_ASSIGN_OR_RETURN(best, validate_now());
  }
  if (due(config_.samples.interval, samples_, kSamples)) TW_RETURN_IF_ERROR(sample_now());
  const spec::TrainCheckpoints& c = config_.checkpoints;
  const bool save_now =
      (best && c.keep_best > 0 && !ended()) ||
      (c.steps > 0 ? place_.stage_step % c.steps == 0 : seconds(Clock::now() - saved_) >= 60 * c.minutes);
  return save_now ? save() : Status(Ok{});
}

/// The batches of the next step that has a token to learn: of conversations only the answers are learnt, and
/// where prompts are long, a step may have none.
Status RunStage::draw() {
  for (int draws = 0; draws < kMostDraws; ++draws) {
    double weight = 0;
    for (TrainBatch& batch : batches_) {
      TW_RETURN_IF_ERROR(loader_->next(batch));
      for (const float w : batch.weights) weight += w;
    }
    if (weight > 0) return Ok{};
  }
  return error(Code::kInvalidArgument,
               "{} steps in a row have no token to learn from at step {}: of conversations only the answers "
               "are learnt, and none begins within {} tokens: make \"sequence\" longer",
               kMostDraws, place_.step, stage_.sequence);
}

Status RunStage::step() {
  const double rate = this->rate();
  TW_RETURN_IF_ERROR(draw());
  trainer_->set_pruned(done(place_.stage_step + 1));
  TW_ASSIGN_OR_RETURN(const StepReport report, trainer_->step(batches_, rate));
  last_seconds_ = report.seconds;
  ++place_.step;
  ++place_.stage_step;
  place_.skipped = report.skipped ? place_.skipped + 1 : 0;
  return after_step(report, rate);
}

base::Result<StageEnd> RunStage::run() {
  while (!ended()) {
    if (parts_.observer.stops()) {
      TW_RETURN_IF_ERROR(save_and_wait());
      return StageEnd::kStopped;
    }
    TW_RETURN_IF_ERROR(step());
  }
  if (place_.stage_step > 0) {
    if (const auto best = validate_now(); !best.ok()) return best.error();
  }
  const std::optional<RunPlace::Best> best = place_.best;
  place_ = {.step = place_.step, .stage = number_ + 1};
  // The next stage has other data, and a smaller model another loss.
  if (place_.stage == config_.stages.size() && !prunes()) place_.best = best;
  TW_RETURN_IF_ERROR(save_and_wait());
  return StageEnd::kDone;
}

}  // namespace tw::train
