#include <cstdio>

#include "cli/plan_inputs.h"
#include "cli/plan_page.h"
#include "cli/plan_report.h"
#include "cli/startup.h"
#include "cli/this_machine.h"
#include "plan/serve_plan.h"

namespace tw::cli {
namespace {

struct Options {
  PlanInputs inputs;  ///< whose job is a ServeJob's
  std::string html;
  bool json = false, csv = false;
  int others = 5;
};

base::Result<plan::ServeSetting> setting_of(const PlanInputs& inputs) {
  TW_ASSIGN_OR_RETURN(plan::PlannedModel model, plan::find_model(inputs.model));
  spec::ServeJob job;
  TW_RETURN_IF_ERROR(fill_fields(inputs.job_file, inputs.job, job));
  spec::ClusterSpec cluster;
  TW_RETURN_IF_ERROR(fill_fields(inputs.cluster_file, inputs.cluster, cluster));
  TW_RETURN_IF_ERROR(complete_this_machine(cluster));
  return plan::make_serve_setting(std::move(model), std::move(job), std::move(cluster));
}

void print_options(const plan::ServeAnswer& a, int count) {
  std::printf("\n%-52s %10s %9s %9s %8s %8s\n", "divisions, the best batch of each", "tokens/s", "TTFT ms",
              "ITL ms", "weights", "cache");
  std::vector<plan::ServeOption> shown = {a.best};
  for (const plan::ServeOption& o : a.others) {
    if (static_cast<int>(shown.size()) <= count) shown.push_back(o);
  }
  for (const plan::ServeOption& o : shown)
    std::printf("%-52s %10.0f %9.0f %9.2f %5.1f GB %5.1f GB\n", o.text().c_str(), o.tokens_per_second,
                o.first_token * 1e3, o.output_token * 1e3, o.weights / 1e9, o.cache / 1e9);
}

void print(const plan::ServeSetting& s, const plan::ServeAnswer& a, int others) {
  std::printf("%s in %s on %lld x %s\n", s.model.name.c_str(), s.job.precision.c_str(),
              static_cast<long long>(s.cluster.accelerators), s.accelerator.name.c_str());
  std::printf("plan: %s\n", a.best.text().c_str());
  if (const std::int64_t longest = s.job.input + s.job.output;
      s.model.config.context > 0 && longest > s.model.config.context)
    std::printf("warning: a request has up to %lld tokens, more than the %lld of the model's configuration\n",
                static_cast<long long>(longest), static_cast<long long>(s.model.config.context));
  if (!a.not_tried.empty())
    std::printf("warning: divisions that need it were not tried: %s\n", a.not_tried.c_str());
  print_software(s.accelerator, {s.stack.stack.name, s.stack.rows, s.stack.error, {}});
  std::printf("\n");
  print_figures(a.figures);
  std::printf(
      "\nMemory of a rank, of %.1f GB: weights %.1f GB, keys and values %.1f GB on average of %.1f GB that "
      "are left\n",
      s.memory / 1e9, a.best.weights / 1e9, a.best.cache / 1e9, a.best.room / 1e9);
  print_options(a, others);
}

/// The sizes that were chosen, and what is computed of them.
base::OrderedJson option_json(const plan::ServeSetting& s, const plan::ServeOption& o) {
  base::OrderedJson j = {{"tp", o.split.tensor},       {"pp", o.split.pipeline},
                         {"ep", o.split.expert},       {"attention_dp", o.split.attention},
                         {"replicas", o.replicas()},   {"batch", o.batch},
                         {"idle_accelerators", o.idle}};
  j.update(figures_json(o.figures(s)));
  return j;
}

base::OrderedJson json_of(const plan::ServeSetting& s, const plan::ServeAnswer& a) {
  base::OrderedJson j = {{"model", s.model.name},
                         {"accelerator", s.accelerator.name},
                         {"accelerator_source", s.accelerator.source},
                         {"accelerators", s.cluster.accelerators},
                         {"precision", s.job.precision},
                         {"stack", s.stack.stack.name},
                         {"stack_rows", s.stack.rows},
                         {"plan", option_json(s, a.best)}};
  if (!a.not_tried.empty()) j["not_tried"] = a.not_tried;
  j["figures"] = figures_json(a.figures);
  j["others"] = base::OrderedJson::array();
  for (const plan::ServeOption& o : a.others) j["others"].push_back(option_json(s, o));
  j["front"] = base::OrderedJson::array();
  for (const plan::ServeOption& o : a.front) j["front"].push_back(option_json(s, o));
  return j;
}

void print_csv(const plan::ServeAnswer& a) {
  print_figures_csv(a.figures);
  const plan::ServeOption& o = a.best;
  const std::pair<const char*, double> sizes[] = {
      {"tp", o.split.tensor},       {"pp", o.split.pipeline},
      {"ep", o.split.expert},       {"attention_dp", o.split.attention},
      {"replicas", o.replicas()},   {"batch", o.batch},
      {"idle_accelerators", o.idle}};
  for (const auto& [name, size] : sizes)
    std::printf("%s,%.0f,%.0f,%.0f,,extrapolated\n", name, size, size, size);
}

int run(const Options& options) {
  const auto setting = setting_of(options.inputs);
  if (!setting.ok()) return fail(setting.error());
  const auto answer = plan::plan_serving(*setting);
  if (!answer.ok()) return fail(answer.error());
  if (!options.html.empty()) {
    const auto page = serve_page(*setting, *answer, options.others);
    if (!page.ok()) return fail(page.error());
    if (auto written = write_page(options.html, *page); !written.ok()) return fail(written.error());
  }
  if (options.json)
    std::printf("%s\n", base::dump_json(json_of(*setting, *answer)).c_str());
  else if (options.csv)
    print_csv(*answer);
  else
    print(*setting, *answer, options.others);
  return 0;
}

}  // namespace

void add_plan_serve(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand(
      "serve",
      "Say what a cluster serves of a model: tokens a second, latency, money, the best division and batch.");
  add_plan_files(*verb, options->inputs);
  add_field_flags<spec::ServeJob>(*verb, options->inputs.job, "Job");
  verb->add_option("--others", options->others, "how many other divisions to print (default: 5)")
      ->check(CLI::Range(0, 1000));
  verb->add_flag("--json", options->json,
                 "one JSON document: value, range, unit and provenance of each number");
  verb->add_flag("--csv", options->csv, "one line a number")->excludes("--json");
  verb->add_option("--html", options->html, "write a page with tables and charts")->type_name("FILE");
  verb->footer(
      "Examples:\n  tokenworks plan serve llama-3-70b --accelerator H100 --accelerators 8 --precision fp8 "
      "--input 1024 --output 1024 --tpot \"30 ms\" --rent \"2.5 USD/h\"\n  tokenworks plan serve deepseek-v3 "
      "--job "
      "examples/plan/serve-job.json --cluster examples/plan/serve-cluster.json");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
