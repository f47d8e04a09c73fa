#include "cli/plan.h"

#include "cli/commands.h"

namespace tw::cli {

void add_plan(CLI::App& app, int& exit_code) {
  CLI::App* verb = app.add_subcommand("plan",
                                      "Say what a model costs on machines one does not have: training and "
                                      "serving plans, networks.");
  verb->require_subcommand(1);
  add_plan_estimate(*verb, exit_code);
  add_plan_search(*verb, exit_code);
  add_plan_serve(*verb, exit_code);
  add_plan_network(*verb, exit_code);
  add_plan_claims(*verb, exit_code);
  add_plan_catalog(*verb, exit_code);
  add_plan_calibrate(*verb, exit_code);
  add_plan_validate(*verb, exit_code);
  verb->footer(
      "Examples:\n  tokenworks plan estimate llama-2-7b --accelerator H100 --accelerators 8 --tokens 2T "
      "--batch 1024 --zero "
      "3\n  tokenworks plan calibrate\n  tokenworks plan catalog\n  tokenworks plan catalog H100 --json\n  "
      "tokenworks plan "
      "validate");
}

}  // namespace tw::cli
