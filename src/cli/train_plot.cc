#include "cli/train_plot.h"

#include <cstdio>
#include <filesystem>

#include "base/mmap.h"
#include "cli/run_curves.h"
#include "cli/startup.h"

namespace tw::cli {
namespace {

struct Options {
  std::string run, out;
  std::vector<std::string> fields = {"loss", "validation_loss"};
  bool log = false;
};

base::Status draw(Options& options) {
  const std::filesystem::path run = options.run;
  std::error_code ignored;  // reading the log says it
  const bool folder = std::filesystem::is_directory(run, ignored);
  const std::string log = folder ? (run / "log.jsonl").string() : options.run;
  TW_ASSIGN_OR_RETURN(const std::vector<ChartLine> lines, run_curves(log, options.fields));
  if (options.out.empty()) options.out = (folder ? run : run.parent_path()) / (options.fields[0] + ".svg");
  const bool loss = options.fields[0].ends_with("loss");
  const std::filesystem::path whole = std::filesystem::absolute(log, ignored).lexically_normal();
  return base::write_file_atomically(
      options.out, line_chart(lines, {.title = whole.parent_path().filename().string(),
                                      .x_label = "step",
                                      .y_label = loss ? "loss, nats per token" : options.fields[0],
                                      .log_y = options.log}));
}

int plot(Options& options) {
  const base::Status status = draw(options);
  if (!status.ok()) return fail(status.error());
  std::printf("%s\n", options.out.c_str());
  return 0;
}

}  // namespace

void add_train_plot(CLI::App& train, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      train.add_subcommand("plot", "Draw the loss of a run, or other numbers of its log, as SVG.");
  verb->add_option("run", options->run, "the run's folder, or its log.jsonl")->required();
  verb->add_option("-o,--out", options->out, "the picture's file; without it loss.svg in the run's folder");
  verb->add_option("--field", options->fields, "numbers of the log to draw, several are drawn together")
      ->capture_default_str()
      ->delimiter(',');
  verb->add_flag("--log", options->log, "a logarithmic axis");
  verb->footer(
      "Examples:\n  tokenworks train plot my-run\n"
      "  tokenworks train plot my-run --field tokens_per_second -o speed.svg");
  verb->callback([options, &exit_code] { exit_code = plot(*options); });
}

}  // namespace tw::cli
