#include <cstdio>
#include <filesystem>

#include "cli/plan.h"
#include "cli/startup.h"
#include "cli/this_machine.h"
#include "io/atomic_file.h"
#include "plan/calibrate.h"

namespace tw::cli {
namespace {

struct Options {
  std::string out, isa;
  std::vector<int> threads;
  std::vector<std::string> types;
  double seconds = 90;
};

base::Status write_file(const std::string& path, const std::string& text) {
  std::error_code ignored;  // what cannot be made is told by create()
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty())
    std::filesystem::create_directories(folder, ignored);
  TW_ASSIGN_OR_RETURN(io::AtomicFile file, io::AtomicFile::create(path));
  TW_RETURN_IF_ERROR(file.write(text));
  return file.commit();
}

base::Status run(const Options& options) {
  std::string path = options.out;
  if (path.empty()) {
    TW_ASSIGN_OR_RETURN(path, calibration_path());
  }
  plan::CalibrateOptions wanted;
  wanted.isa = wanted_isa(options.isa);
  wanted.threads = options.threads;
  wanted.seconds = options.seconds;
  for (const std::string& name : options.types) {
    TW_ASSIGN_OR_RETURN(const base::DType type, plan::weight_type(name));
    wanted.types.push_back(type);
  }
  wanted.progress = [](double done) { draw_progress("calibrating", done); };
  const auto curves = plan::calibrate(wanted);
  clear_progress();
  if (!curves.ok()) return curves.error();
  TW_RETURN_IF_ERROR(write_file(path, curves->text()));
  std::printf("%s, %s kernels, %d thread%s: %.2f TFLOP/s, %.1f GB/s, %zu measurements\n",
              curves->processor.c_str(), curves->kernels.c_str(), curves->threads,
              curves->threads == 1 ? "" : "s", curves->teraflops, curves->bandwidth_gbs,
              curves->points().size());
  std::printf("written: %s\n", path.c_str());
  return base::Ok{};
}

}  // namespace

void add_plan_calibrate(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand(
      "calibrate",
      "Measure this machine with the kernels' own benchmarks, so that plans can be made for it.");
  verb->add_option("--out", options->out, "where to write (default: calibration.json in the store)")
      ->type_name("FILE");
  verb->add_option("--threads", options->threads,
                   "numbers of workers; plans take the largest (default: one, and all)")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  verb->add_option("--types", options->types, "weight types, such as Q8_0,Q4_K (default: the usual ones)")
      ->delimiter(',');
  verb->add_option("--seconds", options->seconds,
                   "about how long it may take; below 10, small shapes alone are measured")
      ->check(CLI::Range(0.0, 86400.0))
      ->capture_default_str();
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
