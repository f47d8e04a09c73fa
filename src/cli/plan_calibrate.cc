#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "cli/chain_runs.h"
#include "cli/plan.h"
#include "cli/startup.h"
#include "cli/this_machine.h"
#include "infer/sampler.h"
#include "io/atomic_file.h"
#include "plan/calibrate.h"

namespace tw::cli {
namespace {

struct Options {
  std::string out, isa;
  std::vector<int> threads;
  std::vector<std::string> types;
  double seconds = 90;
  bool show_steps = false;
};

/// Of the time, what whole steps take; the rest is for ops by themselves.
constexpr double kStepsShare = 0.25;

/// One bar over both parts, with the time that is left by what the parts are meant to take, and by what
/// passed where that is longer.
std::function<void(double)> bar(double from, double share, double seconds) {
  const auto start = std::chrono::steady_clock::now();
  return [=](double done) {
    const double all = from + share * done;
    const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double own = done > 0.05 ? passed / done * (1 - done) : share * seconds;
    const double left = own + std::max(0.0, 1 - from - share) * seconds;
    draw_progress(fmt::format("calibrating, ETA {:.0f} s", left), all);
  };
}

/// Before anything is measured: what cannot be written is told at once.
base::Result<io::AtomicFile> create_file(const std::string& path) {
  std::error_code ignored;  // what cannot be made is told by create()
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty())
    std::filesystem::create_directories(folder, ignored);
  return io::AtomicFile::create(path);
}

/// As an engine picks when nothing is drawn.
std::function<void(std::span<float>)> greedy() {
  auto workspace = std::make_shared<infer::SamplerWorkspace>();
  auto params = std::make_shared<infer::SamplingParams>();
  params->temperature = 0;
  return [=](std::span<float> logits) {
    infer::SampleInput input;
    input.logits = logits, input.params = params.get();
    static_cast<void>(infer::sample(input, *workspace));
  };
}

double mean_error(const std::vector<plan::ChainStep>& steps, const plan::MachineCurves& curves) {
  double sum = 0;
  for (const plan::ChainStep& s : steps)
    sum += std::fabs(s.predicted(curves.between(s.kind, s.threads)) / s.seconds - 1);
  return 100 * sum / static_cast<double>(std::max<std::size_t>(1, steps.size()));
}

void print_steps(const std::vector<plan::ChainStep>& steps, const plan::MachineCurves& curves) {
  std::printf("%11s %11s %11s %7s %10s\n", "measured us", "ops us", "sum us", "ops", "bytes");
  for (const plan::ChainStep& s : steps) {
    std::printf("%11.1f %11.1f %11.1f %7.0f %10.0f  %s\n", 1e6 * s.seconds, 1e6 * s.ops,
                1e6 * s.predicted(curves.between(s.kind, s.threads)), s.gaps, s.bytes, s.what.c_str());
  }
}

/// Runs whole steps and fits what lies between their ops; says how well.
base::Result<std::string> add_between(const Options& options, const plan::CalibrateOptions& wanted,
                                      plan::MachineCurves& curves) {
  ChainOptions chains;
  chains.isa = wanted.isa;
  chains.threads = curves.thread_counts();
  chains.types = wanted.types.empty() ? plan::usual_types() : wanted.types;
  chains.seconds = kStepsShare * options.seconds;
  chains.progress = bar(1 - kStepsShare, kStepsShare, options.seconds);
  const auto before = std::make_shared<const plan::MachineCurves>(curves);
  const auto steps = run_chains(before, chains);
  clear_progress();
  if (!steps.ok()) return steps.error();
  plan::set_between(*steps, curves);
  if (options.show_steps) print_steps(*steps, curves);
  return fmt::format("{} whole steps: their ops alone miss {:.1f} % of them, with what lies between {:.1f} %",
                     steps->size(), mean_error(*steps, *before), mean_error(*steps, curves));
}

base::Status run(const Options& options) {
  if (!std::isfinite(options.seconds))  // no range holds it, and none refuses it
    return base::error(base::Code::kInvalidArgument, "--seconds is no number: give seconds, such as 90");
  std::string path = options.out;
  if (path.empty()) {
    TW_ASSIGN_OR_RETURN(path, calibration_path());
  }
  plan::CalibrateOptions wanted;
  wanted.isa = wanted_isa(options.isa);
  wanted.threads = options.threads;
  for (const std::string& name : options.types) {
    TW_ASSIGN_OR_RETURN(const base::DType type, plan::weight_type(name));
    wanted.types.push_back(type);
  }
  TW_ASSIGN_OR_RETURN(io::AtomicFile file, create_file(path));
  wanted.seconds = (1 - kStepsShare) * options.seconds;
  wanted.pick = greedy();
  wanted.progress = bar(0, 1 - kStepsShare, options.seconds);
  auto curves = plan::calibrate(wanted);
  clear_progress();
  if (!curves.ok()) return curves.error();
  TW_ASSIGN_OR_RETURN(const std::string fit, add_between(options, wanted, *curves));
  TW_RETURN_IF_ERROR(file.write(curves->text()));
  TW_RETURN_IF_ERROR(file.commit());
  std::printf("%s\n", fit.c_str());
  std::printf("%s, %s kernels, %d thread%s: %.2f TFLOP/s, %.1f GB/s, %zu measurements\n",
              curves->processor.c_str(), curves->kernels.c_str(), curves->threads,
              curves->threads == 1 ? "" : "s", curves->teraflops, curves->bandwidth_gbs,
              curves->points().size());
  std::printf("usual: %.0f ns for the workers to meet, %.0f GFLOP/s each\n", 1e9 * curves->usual.barrier,
              curves->usual.flops / 1e9);
  std::printf("written: %s\n", path.c_str());
  return base::Ok{};
}

}  // namespace

void add_plan_calibrate(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand(
      "calibrate",
      "Measure this machine with the kernels' own benchmarks and whole steps, so that plans can be made for "
      "it.");
  verb->add_option("--out", options->out, "where to write (default: calibration.json in the store)")
      ->type_name("FILE");
  verb->add_option("--threads", options->threads,
                   "numbers of workers; plans take the largest (default: one, and all)")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  verb->add_option("--types", options->types, "weight types, such as Q8_0,Q4_K (default: the usual ones)")
      ->delimiter(',');
  verb->add_option(
          "--seconds", options->seconds,
          "for samples; large shapes and whole steps take their time besides. Below 10, small shapes "
          "alone are measured")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
  verb->add_flag("--show-steps", options->show_steps, "list the whole steps that were run");
  verb->add_option("--isa", options->isa, "kernel set (default: the best of this machine)");
  verb->footer(
      "Nothing else should run meanwhile.\nExamples:\n  tokenworks plan calibrate\n  tokenworks plan serve "
      "model.gguf --accelerator this-machine --precision fp8\n  tokenworks plan validate --this-machine");
  verb->callback([options, &exit_code] {
    const auto done = run(*options);
    exit_code = done.ok() ? 0 : fail(done.error());
  });
}

}  // namespace tw::cli
