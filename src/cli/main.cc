#include <csignal>
#include <cstdio>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace {

bool is_verb(const CLI::App& app, const std::string& word) {
  return !app.get_subcommands([&](const CLI::App* verb) { return verb->get_name() == word; }).empty();
}

int run_verb(int argc, char** argv) {
  tw::base::init_logging("info", tw::base::LogFormat::kText);
  CLI::App app("Tokenworks serves, trains and plans language models.", "tokenworks");
  app.set_version_flag("--version", TW_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Start here:\n  tokenworks serve           serve the default model at http://127.0.0.1:8080\n"
      "  tokenworks run             chat with it in this terminal\n"
      "  tokenworks VERB --help     flags and examples of a verb");
  int exit_code = 0;
  tw::cli::add_serve(app, exit_code);
  tw::cli::add_run(app, exit_code);
  tw::cli::add_pull(app, exit_code);
  tw::cli::add_list(app, exit_code);
  tw::cli::add_rm(app, exit_code);
  tw::cli::add_inspect(app, exit_code);
  tw::cli::add_tokenize(app, exit_code);
  tw::cli::add_info(app, exit_code);
  tw::cli::add_bench(app, exit_code);
  tw::cli::add_train(app, exit_code);
  tw::cli::add_eval(app, exit_code);
  tw::cli::add_quantize(app, exit_code);
  tw::cli::add_plan(app, exit_code);
  app.failure_message([](const CLI::App* from, const CLI::Error& error) {
    std::string verb;
    for (const CLI::App* chosen : from->get_subcommands()) verb += " " + chosen->get_name();
    // CLI11 counts words where a person wrote a flag twice.
    std::string what = error.what();
    constexpr std::string_view kTwice = "At Most 1 required but received ";
    if (const std::size_t at = what.find(kTwice); at != std::string::npos)
      what = what.substr(0, at) + "given " + what.substr(at + kTwice.size()) + " times, but once is enough";
    return fmt::format("tokenworks: {}; see tokenworks{} --help\n", what, verb);
  });
  if (argc < 2) {
    std::fputs(app.help().c_str(), stdout);
    return 2;
  }
  if (argv[1][0] != '-' && !is_verb(app, argv[1])) {
    std::fprintf(stderr, "tokenworks: there is no verb '%s'; see tokenworks --help\n", argv[1]);
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    // Help and version come this way too, with exit code 0; wrong usage is 2 for every verb.
    return app.exit(e) == 0 ? 0 : 2;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ,
              SIG_IGN);  // a limit of file sizes is then an error of the write, with a name and a reason
  return tw::cli::finish_output(run_verb(argc, argv));
}
