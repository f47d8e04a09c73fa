#include <cstdio>

#include "base/mmap.h"
#include "cli/plan_inputs.h"
#include "cli/plan_nearest.h"
#include "cli/plan_page.h"
#include "cli/plan_report.h"
#include "cli/startup.h"
#include "spec/field_file.h"

namespace tw::cli {
namespace {

struct Options {
  PlanInputs inputs;
  GivenFields plan;
  std::string plan_file, html;
  bool json = false, csv = false;
};

base::Result<spec::ParallelPlan> plan_of(const Options& options, const plan::Setting& setting) {
  spec::ParallelPlan plan;
  if (!options.plan_file.empty()) {
    TW_ASSIGN_OR_RETURN(const std::string text, read_small_file(options.plan_file));
    TW_RETURN_IF_ERROR(spec::read_plan(text, options.plan_file, plan));
  }
  bool replicas_given = !options.plan_file.empty();
  for (const auto& [name, text] : options.plan) {
    TW_RETURN_IF_ERROR(spec::set_by_name(plan, name, text));
    replicas_given = replicas_given || name == "dp";
  }
  if (!setting.job.recompute.empty()) {
    TW_ASSIGN_OR_RETURN(plan.recompute, spec::parse_recompute(setting.job.recompute));
  }
  // Nobody multiplies in the head: what is left of the accelerators are replicas.
  std::int64_t left = replicas_given ? 0 : setting.accelerators();
  for (const int size : {plan.tensor, plan.pipeline, plan.context})
    left = size > 0 && left % size == 0 ? left / size : 0;
  if (left > 0) plan.data = static_cast<int>(left);
  return plan;
}

/// Without the sizes that would do: they divide, and were not tried. After it stands a plan that was.
std::string without_sizes(const std::string& message) {
  const std::size_t at = message.rfind(": ");
  const bool advice = at != std::string::npos && message.find(" would", at) != std::string::npos;
  return advice ? message.substr(0, at) : message;
}

int run(const Options& options) {
  const auto setting = options.inputs.setting();
  if (!setting.ok()) return fail(setting.error());
  const auto plan = plan_of(options, *setting);
  if (!plan.ok()) return fail(plan.error());
  const auto answer = plan::estimate(*setting, *plan);
  if (!answer.ok()) {
    base::Error error = answer.error();
    if (error.code == base::Code::kInvalidArgument) {
      const std::string nearest = nearest_that_works(*setting, *plan, error);
      error.message = (nearest.empty() ? error.message : without_sizes(error.message)) + nearest;
    }
    return fail(error);
  }
  if (!answer->fits()) {
    return fail(base::error(base::Code::kResourceExhausted, "the plan {} does not fit: {}{}", plan->text(),
                            answer->memory_text(), nearest_that_fits(*setting, *plan)));
  }
  if (!options.html.empty()) {
    const auto page = estimate_page(*setting, *answer);
    if (!page.ok()) return fail(page.error());
    if (auto written = write_page(options.html, *page); !written.ok()) return fail(written.error());
  }
  if (options.json)
    std::printf("%s\n", base::dump_json(estimate_json(*setting, *answer)).c_str());
  else if (options.csv)
    print_estimate_csv(*answer);
  else
    print_estimate(*setting, *answer);
  return 0;
}

}  // namespace

void add_plan_estimate(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand(
      "estimate", "Say what one plan takes: time, memory, power, energy and money of a training run.");
  add_plan_inputs(*verb, options->inputs);
  verb->add_option("--plan", options->plan_file, "JSON file with fields of the plan; flags win")
      ->type_name("FILE");
  // --recompute is the job's flag already.
  add_field_flags<spec::ParallelPlan>(*verb, options->plan, "Plan (what is left over becomes dp)",
                                      "recompute");
  verb->add_flag("--json", options->json,
                 "one JSON document: value, range, unit and provenance of each number");
  verb->add_flag("--csv", options->csv, "one line a number")->excludes("--json");
  verb->add_option("--html", options->html, "write a page with tables and charts")->type_name("FILE");
  verb->footer(
      "Examples:\n  tokenworks plan estimate llama-2-7b --accelerator H100 --accelerators 8 --tokens 100B "
      "--batch "
      "512 --zero 3\n  tokenworks plan estimate llama-3-405b --job examples/plan/405b-job.json --cluster "
      "examples/plan/405b-cluster.json --plan examples/plan/405b-plan.json");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
