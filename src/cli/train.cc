#include <chrono>
#include <cstdio>

#include "base/affinity.h"
#include "cli/startup.h"
#include "cli/train_flags.h"
#include "cli/train_plot.h"
#include "cli/train_screen.h"
#include "kernels/probe.h"
#include "plan/estimate.h"
#include "train/run_folder.h"
#include "train/run_prepare.h"
#include "train/train_run.h"

namespace tw::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  TrainFlags flags;
  bool dry_run = false, fresh = false, kept_data = false, peak = true, keys = false;
};

std::string count_text(double n) {
  if (n < 1e4) return fmt::format("{:.0f}", n);
  if (n < 1e6) return fmt::format("{:.1f} k", n / 1e3);
  if (n < 1e9) return fmt::format("{:.2f} M", n / 1e6);
  if (n < 1e12) return fmt::format("{:.2f} G", n / 1e9);
  return n < 1e15 ? fmt::format("{:.2f} T", n / 1e12) : fmt::format("{:.3g} P", n / 1e15);
}

std::string mib(std::size_t bytes) {
  return fmt::format("{:.1f}", static_cast<double>(bytes) / (1 << 20));
}

std::string shape_text(const train::PreparedRun& run) {
  const spec::ModelConfig& m = run.model;
  return fmt::format(
      "{} layers of width {}, {} heads, feed-forward {}{}, vocabulary {}, context {}: {} parameters",
      m.layers, m.width, m.heads, m.experts.count > 0 ? m.experts.width : m.ffn_width,
      m.experts.count > 0
          ? fmt::format(" ({} experts, {} a token{})", m.experts.count, m.experts.chosen,
                        m.experts.shared > 0 ? fmt::format(", and {} for all", m.experts.shared_ffn()) : "")
          : "",
      m.vocab, run.config.model.context,
      count_text(static_cast<double>(m.parameter_count())) +
          (run.base == nullptr
               ? ""
               : fmt::format(", frozen, beside an adapter of rank {}", run.config.adapter.rank)));
}

/// Of training, as `plan` counts them. Where weights are frozen, 4·P + 6·L·d·T.
base::Result<double> flops_per_token(const train::PreparedRun& run, const spec::TrainStage& stage) {
  const spec::ModelConfig& m = run.model;
  if (run.base == nullptr) {
    TW_ASSIGN_OR_RETURN(const double flops, plan::model_flops(m, {stage.sequence, 1, {}}));
    return flops / static_cast<double>(stage.sequence);
  }
  const double table = m.tied_embeddings ? 0 : static_cast<double>(m.vocab * m.width);
  return 4 * (static_cast<double>(m.active_parameter_count()) - table) +
         6 * static_cast<double>(m.layers * m.q_width() * stage.sequence);
}

base::Status print_stage(const train::PreparedRun& run, std::size_t i, double& seconds, double& flops) {
  const spec::TrainStage& s = run.config.stages[i];
  const double speed = run.tokens_per_second;
  const auto by_steps = static_cast<double>(s.steps * s.batch), by_time = speed * 60 * s.minutes;
  const bool by_clock = s.steps == 0 || (s.minutes > 0 && by_time < by_steps);  // whichever is over first
  const double tokens = by_clock ? by_time : by_steps;
  const auto learnt = static_cast<double>(run.sizes[i].training);
  std::printf("stage %zu      %s steps of %lld tokens (sequences of %lld): %s tokens, %.1f times the data\n",
              i + 1,
              by_clock ? fmt::format("about {:.0f}", tokens / static_cast<double>(s.batch)).c_str()
                       : std::to_string(s.steps).c_str(),
              static_cast<long long>(s.batch), static_cast<long long>(s.sequence), count_text(tokens).c_str(),
              tokens / std::max(1.0, learnt));
  seconds += by_clock ? 60 * s.minutes : tokens / speed;
  TW_ASSIGN_OR_RETURN(const double each, flops_per_token(run, s));
  flops += tokens * each;
  return base::Ok{};
}

/// By category, in MiB; the last three only some runs have.
std::string memory_text(const train::StepMemory& m) {
  std::string text = fmt::format(
      "master weights {}, gradients {}, moments {}, weights as multiplied {}, activations {}, keys and "
      "values "
      "{}, kernels' scratch {}",
      mib(m.masters), mib(m.gradients), mib(m.moments), mib(m.multiplied), mib(m.activations), mib(m.cache),
      mib(m.scratch));
  if (m.masks > 0) text += fmt::format(", pruning's masks and masked weights {}", mib(m.masks));
  if (m.frozen > 0) text += fmt::format(", asking the teacher or the reference {}", mib(m.frozen));
  if (m.loaded > 0) text += fmt::format(", weights of the teacher or the base {}", mib(m.loaded));
  return text;
}

base::Status print_plan(const train::PreparedRun& run, int workers) {
  TW_ASSIGN_OR_RETURN(const train::StepMemory m, train::memory_of(run, workers));
  std::printf("model        %s\n", shape_text(run).c_str());
  double seconds = 0, flops = 0;
  for (std::size_t i = 0; i < run.config.stages.size(); ++i) {
    std::printf("data         about %s tokens, of which %s to learn from\n",
                count_text(static_cast<double>(run.sizes[i].tokens)).c_str(),
                count_text(static_cast<double>(run.sizes[i].training)).c_str());
    TW_RETURN_IF_ERROR(print_stage(run, i, seconds, flops));
  }
  std::printf("FLOPs        %sFLOP\n", count_text(flops).c_str());
  std::printf("memory       %s MiB: %s\n", mib(m.all()).c_str(), memory_text(m).c_str());
  std::printf("time         %s here: %d threads, %s, %.0f tokens/s measured\n",
              duration_text(seconds).c_str(), workers, run.config.precision.c_str(), run.tokens_per_second);
  return base::Ok{};
}

/// That the plan is for another model; empty: it is not.
std::string other_model(const std::optional<TrainPlan>& plan, const train::PreparedRun& run) {
  if (!plan || plan->parameters == 0 || plan->parameters == run.model.parameter_count()) return {};
  return fmt::format("the plan is for a model of {} parameters, and this one has {}: its figures are others",
                     plan->parameters, run.model.parameter_count());
}

base::Status dry_run(const spec::TrainConfig& config, const std::optional<TrainPlan>& plan, base::Team& team,
                     TrainScreen& screen) {
  TW_RETURN_IF_ERROR(train::RunFolder(config.out).check_apart(config));
  const train::PrepareOptions options{.folder = {}, .measure = true};
  auto run = train::prepare_run(config, options, team, screen);
  clear_progress();
  if (!run.ok()) return run.error();
  if (const std::string other = other_model(plan, *run); !other.empty()) screen.note(other);
  return print_plan(*run, team.size());
}

/// FLOPs a second of the best matrix product in this type; takes half a second.
double peak_of(const std::string& precision, int threads) {
  const kernels::Ceilings ceilings = kernels::probe_ceilings(threads, 1);
  return ceilings.best(precision == "bf16" ? "bf16" : "fp32").flops_per_second;
}

/// A folder's name as a shell takes it.
std::string quoted(const std::string& path) {
  const bool plain =
      path.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+=:@,%") ==
      std::string::npos;
  if (plain) return path;
  std::string out = "'";
  for (const char c : path) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

base::Status train_now(const spec::TrainConfig& config, const Options& options,
                       const std::optional<TrainPlan>& plan, Clock::time_point begun, base::Team& team,
                       TrainScreen& screen) {
  train::RunOptions run;
  run.fresh = options.fresh;
  run.kept_data = options.kept_data;
  run.begun = begun;
  if (options.peak) {
    TW_ASSIGN_OR_RETURN(const base::DType type, train::product_type(config.precision, config.isa));
    run.peak_flops = peak_of(type == base::DType::kBF16 ? "bf16" : "fp32", team.size());
  }
  run.prepared = [&](const train::PreparedRun& prepared) {
    screen.note(fmt::format("{}; {} data tokens; {}, {} threads", shape_text(prepared),
                            count_text(static_cast<double>(prepared.sizes[0].tokens)),
                            prepared.config.precision, team.size()));
    if (const std::string other = other_model(plan, prepared); !other.empty()) screen.note(other);
  };
  auto report = train::train_run(config, team, run, screen);
  clear_progress();
  if (!report.ok()) return report.error();
  if (!report->finished) {
    std::printf("saved at step %lld; go on with\n  tokenworks train --resume %s\n",
                static_cast<long long>(report->step), quoted(config.out).c_str());
    return base::Ok{};
  }
  if (report->validation_loss) {
    std::printf("trained %lld steps; validation loss %.4f (weights of step %lld)\n",
                static_cast<long long>(report->step), *report->validation_loss,
                static_cast<long long>(report->model_step));
  } else {
    std::printf("trained %lld steps\n", static_cast<long long>(report->step));
  }
  if (config.adapter.rank > 0) {
    std::printf("serve it with\n  tokenworks serve %s --lora adapter=%s\n",
                quoted(config.stages[0].start).c_str(), quoted(config.out).c_str());
  } else {
    std::printf("serve it with\n  tokenworks serve %s\n", quoted(config.out).c_str());
  }
  return base::Ok{};
}

base::Result<spec::TrainConfig> config_of(const TrainFlags& flags, std::optional<TrainPlan>& plan) {
  if (flags.resume().empty()) return flags.config(plan);
  if (flags.names_work())
    return base::error(base::Code::kInvalidArgument,
                       "--resume goes on by the recipe that the run began with: give it, or a recipe, a "
                       "plan or data, but not both");
  TW_ASSIGN_OR_RETURN(spec::TrainConfig config, train::RunFolder(flags.resume()).asked());
  const std::string out = config.out;
  TW_RETURN_IF_ERROR(flags.apply(config));
  if (config.out != out && config.out != flags.resume())
    return base::error(base::Code::kInvalidArgument,
                       "--resume goes on in the folder that it names: leave --out away");
  config.out = flags.resume();
  return config;
}

base::Status run_verb(const Options& options) {
  const Clock::time_point begun = Clock::now();
  std::optional<TrainPlan> plan;
  TW_ASSIGN_OR_RETURN(spec::TrainConfig config, config_of(options.flags, plan));
  TW_RETURN_IF_ERROR(config.validate());
  config.isa = wanted_isa(config.isa);
  std::vector<int> cpus;
  if (!config.cpus.empty()) cpus = base::parse_cpu_list(config.cpus).value();  // validated
  TW_ASSIGN_OR_RETURN(const base::Placement placement,
                      base::place_threads(static_cast<int>(config.threads), cpus));
  base::Team team(placement);
  const base::ThreadPin pin(placement[0]);
  TrainScreen screen;
  if (options.dry_run) return dry_run(config, plan, team, screen);
  return train_now(config, options, plan, begun, team, screen);
}

int train_verb(const Options& options) {
  if (options.keys) {
    std::fputs(spec::recipe_table().c_str(), stdout);
    return 0;
  }
  const base::Status status = run_verb(options);
  return status.ok() ? 0 : fail(options.flags.named(status.error()));
}

}  // namespace

void add_train(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("train", "Train a model on text and write a folder that `serve` serves.");
  options->flags.add(*verb);
  verb->add_flag("--dry-run", options->dry_run,
                 "say what the run would be, take and need on this machine, and write nothing");
  CLI::Option* fresh =
      verb->add_flag("--fresh", options->fresh, "forget the run that the output folder holds");
  verb->add_flag("--kept-data", options->kept_data,
                 "go on with the tokens that the run began with, though their text has changed, or is gone")
      ->excludes(fresh);
  verb->add_flag("--peak,!--no-peak", options->peak, "measure the machine's matrix peak first (default)");
  verb->add_flag("--keys", options->keys, "print the table of a recipe's keys");
  verb->footer(
      "Examples:\n  tokenworks train --data notes/ --minutes 10 --out mine\n  tokenworks train --data notes/ "
      "--dry-run\n"
      "  tokenworks train recipe.json\n  tokenworks train --resume mine\n"
      "  tokenworks train plot mine");
  add_train_plot(*verb, exit_code);
  verb->callback([options, verb, &exit_code] {
    if (verb->get_subcommands().empty()) exit_code = train_verb(*options);
  });
}

}  // namespace tw::cli
