#include "train/run_prepare.h"

#include <algorithm>
#include <map>

#include "base/cpu.h"
#include "train/run_start.h"
#include "train/run_teacher.h"

namespace tw::train {
namespace {

using base::Code;
using base::Error;
using base::error;
using base::Ok;
using base::Status;

constexpr std::int64_t kBatch = 8192, kContext = 256;
constexpr double kMinutes = 10, kWantedSteps = 2000;

std::int64_t context_of(const spec::TrainConfig& c) {
  if (c.model.context > 0) return c.model.context;
  std::int64_t longest = 0;
  for (const spec::TrainStage& stage : c.stages) longest = std::max(longest, stage.sequence);
  return longest > 0 ? longest : kContext;
}

/// Does the steps of prepare_run one after the other.
class Preparation {
 public:
  Preparation(const spec::TrainConfig& config, const PrepareOptions& options, base::Team& team,
              RunObserver& observer)
      : options_(options), team_(team), observer_(observer) {
    run_.config = config;
  }

  base::Result<PreparedRun> run() {
    TW_RETURN_IF_ERROR(open());
    TW_RETURN_IF_ERROR(make_tokenizer());
    TW_RETURN_IF_ERROR(check_teachers());
    TW_RETURN_IF_ERROR(make_data());
    TW_RETURN_IF_ERROR(choose_model());
    for (std::size_t i = 0; i < run_.config.stages.size(); ++i) TW_RETURN_IF_ERROR(fill_stage(i));
    TW_RETURN_IF_ERROR(check_memory());
    return std::move(run_);
  }

 private:
  Status open() {
    for (const spec::TrainStage& stage : run_.config.stages) {
      if (options_.kept_data) break;
      TW_ASSIGN_OR_RETURN(std::vector<SourceText> sources, open_sources(stage, run_.config.out));
      sources_.push_back(std::move(sources));
    }
    spec::TrainConfig& c = run_.config;
    TW_ASSIGN_OR_RETURN(run_.type, product_type(c.precision, c.isa));
    c.precision = run_.type == base::DType::kBF16 ? "bf16" : "fp32";
    TW_RETURN_IF_ERROR(load_teachers());
    if (!c.stages[0].starts_from_path()) return Ok{};
    TW_ASSIGN_OR_RETURN(run_.start, model::ModelFiles::open(c.stages[0].start));
    if (c.adapter.rank > 0) TW_RETURN_IF_ERROR(load_base());
    if (c.tokenizer.kind == "bpe" && c.tokenizer.vocab == 0) c.tokenizer = {"file", 0, c.stages[0].start};
    return Ok{};
  }

  base::Result<std::shared_ptr<const model::LoadedModel>> load(const std::string& path, const char* what) {
    model::LoadOptions options;
    options.isa = run_.config.isa;
    options.threads = team_.size();
    options.progress = [&](double done) { observer_.preparing(what, done); };
    return model::LoadedModel::load(path, options);
  }

  Status load_base() {
    spec::TrainConfig& c = run_.config;
    if (c.adapter.alpha == 0) c.adapter.alpha = 2 * static_cast<double>(c.adapter.rank);
    TW_ASSIGN_OR_RETURN(run_.base, load(c.stages[0].start, "loading the model"));
    return Ok{};
  }

  /// Each once. Who has no tokenizer yet takes that of the first.
  Status load_teachers() {
    spec::TrainConfig& c = run_.config;
    std::map<std::string, std::shared_ptr<const model::LoadedModel>> loaded;
    for (const spec::TrainStage& stage : c.stages) {
      std::shared_ptr<const model::LoadedModel> teacher;
      if (!stage.teacher.path.empty()) {
        auto& same = loaded[stage.teacher.path];
        if (same == nullptr) {
          TW_ASSIGN_OR_RETURN(same, load(stage.teacher.path, "loading the teacher"));
        }
        teacher = same;
        if (!c.stages[0].starts_from_path() && c.tokenizer.kind == "bpe" && c.tokenizer.vocab == 0)
          c.tokenizer = {"file", 0, stage.teacher.path};
      }
      run_.teachers.push_back(std::move(teacher));
    }
    return Ok{};
  }

  Status check_teachers() {
    for (const auto& teacher : run_.teachers) {
      if (teacher != nullptr) TW_RETURN_IF_ERROR(check_teacher_tokens(*teacher, *run_.tokenizer.tokenizer));
    }
    return Ok{};
  }

  /// Of the run's folder if it was made there before.
  Status make_tokenizer() {
    constexpr std::uint64_t kPlanBytes = 16 << 20;
    const std::string folder = options_.folder + "/tokenizer";
    if (!options_.folder.empty()) {
      TW_ASSIGN_OR_RETURN(auto kept, read_kept_tokenizer(folder));
      if (kept) {
        run_.tokenizer = *std::move(kept);
        return Ok{};
      }
    }
    std::vector<SourceText> all;
    for (const auto& stage : sources_) all.insert(all.end(), stage.begin(), stage.end());
    const std::uint64_t most =
        options_.folder.empty() ? kPlanBytes : std::numeric_limits<std::uint64_t>::max();
    TW_ASSIGN_OR_RETURN(run_.tokenizer, make_run_tokenizer(run_.config.tokenizer, all, team_.size(), most,
                                                           run_.base == nullptr, observer_));
    if (options_.folder.empty() || run_.tokenizer.json.empty()) return Ok{};
    return keep_tokenizer(run_.tokenizer, folder);
  }

  Status make_data() {
    const double share = run_.config.validation.share;
    const std::string data = options_.folder + "/data";
    for (std::size_t i = 0; options_.kept_data && i < run_.config.stages.size(); ++i) {
      TW_ASSIGN_OR_RETURN(std::vector<MixtureSource> files,
                          kept_tokens(run_.config.stages[i], run_.tokenizer, data));
      add_data(std::move(files), share);
    }
    for (const auto& sources : sources_) {
      if (options_.folder.empty()) {
        TW_ASSIGN_OR_RETURN(const std::int64_t tokens, estimate_tokens(sources, run_.tokenizer));
        run_.sizes.push_back({tokens, static_cast<std::int64_t>(static_cast<double>(tokens) * (1 - share))});
        continue;
      }
      TW_ASSIGN_OR_RETURN(std::vector<MixtureSource> files,
                          tokenize_sources(sources, run_.tokenizer, data, team_.size(), observer_));
      add_data(std::move(files), share);
    }
    return Ok{};
  }

  void add_data(std::vector<MixtureSource> files, double share) {
    run_.sizes.push_back(size_of(files, share));
    run_.data.push_back(std::move(files));
  }

  Status choose_model() {
    spec::TrainConfig& c = run_.config;
    auto vocab = static_cast<std::int64_t>(run_.tokenizer.tokenizer->size());
    if (run_.start != nullptr) return take_started_model(vocab);
    for (const auto& teacher : run_.teachers) {
      if (teacher != nullptr)
        vocab = std::max(vocab, teacher->config().vocab);  // some tables have spare rows
    }
    c.model.context = context_of(c);
    if (c.model.layers == 0) TW_RETURN_IF_ERROR(choose_size(vocab));
    TW_ASSIGN_OR_RETURN(run_.model, config_of(c.model, vocab, c.model.context));
    c.model.heads = run_.model.heads;
    c.model.kv_heads = run_.model.kv_heads;
    c.model.ffn_width = run_.model.ffn_width;
    c.model.experts = run_.model.experts.count;
    c.model.experts_per_token = run_.model.experts.chosen;
    return Ok{};
  }

  Status take_started_model(std::int64_t vocab) {
    spec::TrainConfig& c = run_.config;
    TW_ASSIGN_OR_RETURN(run_.model, run_.start->config());
    TW_RETURN_IF_ERROR(run_.model.runnable());
    if (vocab > run_.model.vocab) {
      return Error{
          Code::kInvalidArgument,
          fmt::format("the tokenizer does not fit: it has {} tokens and the model {}; take the model's own",
                      vocab, run_.model.vocab),
          c.stages[0].start};
    }
    TW_RETURN_IF_ERROR(check_start_tokens(*run_.start, c.stages[0].start, *run_.tokenizer.tokenizer));
    TW_RETURN_IF_ERROR(check_start(c, run_.model));
    c.model.context = c.model.context > 0 ? c.model.context : run_.model.context;
    c.model.rope_theta = run_.model.rope_theta;
    c.model.family = family_of(run_.model);
    c.model.tied = run_.model.tied_embeddings;
    if (!c.model.name.empty()) run_.model.name = c.model.name;
    return Ok{};
  }

  Status choose_size(std::int64_t vocab) {
    spec::TrainConfig& c = run_.config;
    SizeGoal goal{.vocab = vocab, .context = c.model.context, .model = c.model};
    for (std::size_t i = 0; i < c.stages.size(); ++i) {
      const spec::TrainStage& stage = c.stages[i];
      goal.seconds += 60 * minutes_of(stage);
      goal.tokens = std::max(goal.tokens, run_.sizes[i].training);
    }
    goal.memory = base::detect_machine().memory_available / 2;
    TrainerOptions options;
    options.isa = c.isa;
    options.type = run_.type;
    options.rows = std::max<std::int64_t>(goal.context, 2048 / goal.context * goal.context);
    options.optimizer.kind = c.stages[0].optimizer.kind;
    TW_ASSIGN_OR_RETURN(const SizedModel sized, choose_shape(goal, options, team_, [&](double done) {
                          observer_.preparing("measuring this machine", done);
                        }));
    c.model.layers = sized.layers;
    c.model.width = sized.width;
    run_.tokens_per_second = sized.tokens_per_second;
    return Ok{};
  }

  static double minutes_of(const spec::TrainStage& stage) {
    return stage.minutes > 0 ? stage.minutes : kMinutes;
  }

  Status measure(const spec::TrainStage& stage) {
    if (run_.tokens_per_second > 0) return Ok{};
    TrainerOptions options = run_.trainer_options(0);
    const std::int64_t least = options.objective.preference ? 2 * stage.sequence : stage.sequence;
    options.rows = std::max(least, 2048 / stage.sequence * stage.sequence);
    if (run_.base == nullptr) {
      const auto memory = trace_step(run_.model, options, team_.size());
      if (!memory.ok() || memory->all() > available()) return Ok{};  // check_memory says so
    }
    observer_.preparing("measuring this machine", 0);
    TW_ASSIGN_OR_RETURN(const auto trainer, run_.make_trainer(0, options, team_));
    if (trainer->objective().wants_reference()) {
      TW_ASSIGN_OR_RETURN(auto reference, load(run_.config.stages[0].start, "loading the model"));
      TW_RETURN_IF_ERROR(trainer->set_reference(std::move(reference)));
    }
    TW_ASSIGN_OR_RETURN(const double seconds, measure_step(*trainer, options.rows, stage.sequence));
    run_.tokens_per_second = static_cast<double>(options.rows) / seconds;
    return Ok{};
  }

  Status fill_stage(std::size_t i) {
    spec::TrainStage& s = run_.config.stages[i];
    if (s.attention_dropout < 0) s.attention_dropout = s.dropout;
    if (s.sequence == 0) s.sequence = run_.config.model.context;
    if (s.sequence > run_.config.model.context)
      return error(Code::kInvalidArgument,
                   "stage {} has sequences of {} tokens, but the model's context is {}", i + 1, s.sequence,
                   run_.config.model.context);
    if (run_.teachers[i] != nullptr)
      TW_RETURN_IF_ERROR(check_teacher_sizes(*run_.teachers[i], s, i, run_.model));
    if (s.pruning.ffn_width > 0 && (run_.model.ffn != spec::FfnKind::kGated || run_.model.experts.count > 0))
      return error(Code::kUnsupported,
                   "stage {} prunes, which gated feed-forward layers can be, and no others or experts",
                   i + 1);
    if (s.expert_capacity > 0 && run_.model.experts.count == 0)
      return error(Code::kInvalidArgument, "stage {} has an expert-capacity, but the model has no experts",
                   i + 1);
    if (s.pruning.ffn_width > 0 && s.pruning.ffn_width >= run_.model_of(i).ffn_width)
      return error(Code::kInvalidArgument,
                   "stage {} prunes the feed-forward layers to a width of {}, but they have {}", i + 1,
                   s.pruning.ffn_width, run_.model_of(i).ffn_width);
    if (s.steps == 0 && s.tokens == 0) s.minutes = minutes_of(s);
    if (options_.measure || (s.batch == 0 && s.minutes > 0)) TW_RETURN_IF_ERROR(measure(s));
    if (s.batch == 0) s.batch = default_batch(s, run_.sizes[i]);
    const std::int64_t least = s.of_pairs() ? 2 * s.sequence : s.sequence;
    if (s.of_pairs() && (s.batch < least || (s.micro_batch > 0 && s.micro_batch < least)))
      return error(
          Code::kInvalidArgument,
          "stage {} learns preferences with sequences of {} tokens: \"batch\" and \"micro-batch\" must "
          "have room for two",
          i + 1, s.sequence);
    const std::int64_t most = s.micro_batch > 0 ? s.micro_batch : std::max(kBatch, least);
    const std::int64_t passes = (s.batch + most - 1) / most;
    s.micro_batch = std::max(least, (s.batch + passes - 1) / passes);
    if (s.tokens > 0) {
      const std::int64_t steps = (s.tokens + s.batch - 1) / s.batch;
      s.steps = s.steps > 0 ? std::min(s.steps, steps) : steps;
    }
    s.tokens = 0;
    fill_rates(s, i);
    return Ok{};
  }

  /// Some two thousand steps of the time that there is; twenty steps an epoch at least.
  std::int64_t default_batch(const spec::TrainStage& s, const DataSize& size) const {
    auto tokens = static_cast<double>(kBatch);
    if (s.minutes > 0 && run_.tokens_per_second > 0)
      tokens = std::min(tokens, run_.tokens_per_second * 60 * s.minutes / kWantedSteps);
    tokens = std::min(tokens, static_cast<double>(size.training) / 20);
    return std::max<std::int64_t>(4, static_cast<std::int64_t>(tokens) / s.sequence) * s.sequence;
  }

  void fill_rates(spec::TrainStage& s, std::size_t i) const {
    constexpr double kPeak = 3e-3, kWidth = 256, kOfPairs = 0.03;
    constexpr double kRelative = 1e-2, kDecay = 0.1, kWholeDecay = 3.16e-4;
    // With muP the rates are those of its base, however wide the model is.
    const std::int64_t base = run_.config.model.mup_base;
    const auto width = static_cast<double>(base > 0 ? std::min(base, run_.model.width) : run_.model.width);
    const bool fresh = i == 0 && run_.start == nullptr;
    const double share = (fresh ? 1 : run_.base != nullptr ? 0.3 : 0.1) * (s.of_pairs() ? kOfPairs : 1);
    const bool relative = s.optimizer.kind == "adafactor";  // to the weights, however wide
    const double peak = relative ? kRelative : kPeak * std::min(1.0, kWidth / width);
    if (s.schedule.peak == 0) s.schedule.peak = peak * share;
    // That of arXiv 2407.21075 follows the schedule alone, and not its peak.
    const double decay = s.optimizer.kind == "rmsprop" ? kWholeDecay / s.schedule.peak : kDecay;
    if (s.optimizer.decay < 0) s.optimizer.decay = decay;
    if (s.optimizer.epsilon == 0) s.optimizer.epsilon = find_rule(s.optimizer.kind)->epsilon;
    if (s.schedule.warmup < 0) {
      s.schedule.warmup = s.minutes > 0 ? 20 : std::max<std::int64_t>(10, s.steps / 100);
      if (s.steps > 0) s.schedule.warmup = std::min(s.schedule.warmup, s.steps / 2);
    }
    // Where nothing may turn otherwise than it does, it stays unsaid: a recipe that says it is refused.
    if (s.rope_theta == 0 && run_.base == nullptr && !run_.model.learned_positions)
      s.rope_theta = i == 0 ? run_.config.model.rope_theta : run_.config.stages[i - 1].rope_theta;
  }

  static std::size_t available() {
    return static_cast<std::size_t>(0.9 * static_cast<double>(base::detect_machine().memory_available));
  }

  Status check_memory() {
    const std::size_t free = available();
    const auto memory = memory_of(run_, team_.size());
    if (!memory.ok() && memory.error().code != Code::kResourceExhausted) return memory.error();
    if (memory.ok() && memory->all() - memory->taken <= free) return Ok{};
    constexpr double kGib = 1 << 30;
    const auto gib = [](std::size_t bytes) { return static_cast<double>(bytes) / kGib; };
    std::string needs =
        memory.ok() ? fmt::format(
                          "a step needs {:.1f} GiB ({:.1f} of weights, gradients and moments, {:.1f} of "
                          "activations)",
                          gib(memory->all() - memory->taken),
                          gib(memory->masters + memory->gradients + memory->moments + memory->multiplied),
                          gib(memory->activations + memory->cache + memory->scratch))
                    : memory.error().message;
    return error(Code::kResourceExhausted, "{}, and {:.1f} GiB are free here; {}", needs, gib(free),
                 nearest(free));
  }

  std::string nearest(std::size_t free) const {
    if (run_.base != nullptr) return "make \"micro-batch\" or adapter.rank smaller, or \"recompute\" block";
    std::size_t worst = 0;
    for (std::size_t i = 0; i < run_.config.stages.size(); ++i) {
      if (run_.config.stages[i].micro_batch > run_.config.stages[worst].micro_batch) worst = i;
    }
    TrainerOptions options = run_.trainer_options(worst);
    const std::int64_t sequence = run_.config.stages[worst].sequence;
    const auto fits = [&] {
      const auto memory = trace_step(run_.model, options, team_.size());
      return memory.ok() && memory->all() <= free;
    };
    if (!options.recompute) {
      options.recompute = true;
      if (fits()) return "with \"recompute\" block it would fit, a third slower";
    }
    for (options.rows /= 2; options.rows >= sequence; options.rows /= 2) {
      if (fits())
        return fmt::format("a \"micro-batch\" of {} tokens and \"recompute\" block would fit", options.rows);
    }
    options.rows = sequence;
    SizeGoal goal{.memory = free, .vocab = run_.model.vocab, .context = run_.model.context};
    const spec::Experts& experts = run_.model.experts;
    goal.model.family = run_.model.learned_positions ? "gpt2" : "llama";
    if (experts.count > 0) goal.model.family = run_.model.architecture;
    goal.model.experts = experts.count, goal.model.experts_per_token = experts.chosen;
    goal.most_parameters = static_cast<std::size_t>(run_.model.parameter_count());
    const auto rung = fitting_rung(goal, options, team_.size());
    if (!rung) return "no model of that vocabulary and context fits";
    return fmt::format(
        "{} layers of width {} with a \"micro-batch\" of {} tokens and \"recompute\" block would fit",
        rung->layers, rung->width, sequence);
  }

  const PrepareOptions options_;
  base::Team& team_;
  RunObserver& observer_;
  PreparedRun run_;
  std::vector<std::vector<SourceText>> sources_;
};

}  // namespace

base::Result<PreparedRun> prepare_run(const spec::TrainConfig& config, const PrepareOptions& options,
                                      base::Team& team, RunObserver& observer) {
  TW_RETURN_IF_ERROR(config.validate());
  return Preparation(config, options, team, observer).run();
}

}  // namespace tw::train
