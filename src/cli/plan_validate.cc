#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "base/mmap.h"
#include "cli/plan.h"
#include "cli/plan_validate_serving.h"
#include "cli/startup.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "plan/shipped.h"
#include "plan/validate.h"

namespace tw::cli {
namespace {

struct Options {
  std::string training, inference;
  bool json = false, this_machine = false;
  int worst = 15;
  MachineRuns runs;
};

void print_scores(const std::vector<plan::SetScore>& scores, bool json) {
  if (!json)
    std::printf("\n%-22s %5s %11s  %-44s %8s %7s\n", "set", "rows", "unpredicted", "metric", "value",
                "target");
  for (const plan::SetScore& s : scores) {
    // Of what could not be predicted there is no error, and 0 would be the best of all.
    const bool known = s.unpredicted < s.rows;
    if (json) {
      const base::OrderedJson line = {{"set", s.set},
                                      {"rows", s.rows},
                                      {"unpredicted", s.unpredicted},
                                      {"metric", s.metric},
                                      {"value", known ? base::OrderedJson(s.value) : base::OrderedJson()},
                                      {"target", s.target},
                                      {"met", s.met}};
      std::printf("%s\n", base::dump_json(line).c_str());
    } else {
      std::printf("%-22s %5d %11d  %-44s %8s %7.2f  %s\n", s.set.c_str(), s.rows, s.unpredicted,
                  s.metric.c_str(), known ? fmt::format("{:.2f}", s.value).c_str() : "-", s.target,
                  s.met ? "met" : "MISSED");
    }
  }
}

void print_worst(std::vector<const plan::Prediction*> rows, int count) {
  std::sort(rows.begin(), rows.end(),
            [](const auto* a, const auto* b) { return std::fabs(a->error()) > std::fabs(b->error()); });
  rows.resize(std::min<std::size_t>(rows.size(), count));
  std::printf("Worst rows: step time, measured and predicted with constants fitted on other models\n");
  for (const plan::Prediction* p : rows) {
    const plan::TrainingRow& r = *p->row;
    std::printf("  row %4d %+6.1f %% %9.3f s %9.3f s  %s: %s on %.0f %s, %s\n", r.number, 100 * p->error(),
                r.seconds, p->seconds, r.system.c_str(), r.model_name.c_str(), r.gpus, r.accelerator.c_str(),
                r.plan.text().c_str());
  }
}

void print_systems(const std::vector<const plan::Prediction*>& rows) {
  std::map<std::string, std::vector<double>> systems;
  for (const plan::Prediction* p : rows)
    systems[p->row->system + ", " + p->row->accelerator + (p->typical ? " (median constants)" : "")]
        .push_back(100 * std::fabs(p->error()));
  std::printf("\n%-74s %5s %8s %8s\n", "system", "rows", "median %", "mean %");
  for (auto& [name, errors] : systems) {
    std::sort(errors.begin(), errors.end());
    double sum = 0;
    for (const double e : errors) sum += e;
    std::printf("%-74s %5zu %8.1f %8.1f\n", name.c_str(), errors.size(), errors[errors.size() / 2],
                sum / static_cast<double>(errors.size()));
  }
}

void print_unpredicted(const std::vector<plan::Prediction>& predictions) {
  std::map<std::string, int> reasons;
  for (const plan::Prediction& p : predictions) {
    if (!p.problem.empty())
      ++reasons[(p.row->scored ? "" : "not scored: ") + p.row->system + ": " + p.problem];
  }
  if (!reasons.empty()) std::printf("\nRows without a prediction\n");
  for (const auto& [reason, count] : reasons) std::printf("  %3d  %s\n", count, reason.c_str());
}

/// The shipped rows, and those that are to be predicted: a file's, or the shipped ones again.
template <typename Row>
struct Rows {
  std::vector<Row> known, asked;
};

template <typename Row, typename Read>
base::Result<Rows<Row>> rows_of(const std::string& file, const char* shipped, Read read) {
  Rows<Row> rows;
  TW_ASSIGN_OR_RETURN(rows.known, read(plan::shipped(shipped), shipped));
  if (file.empty()) {
    rows.asked = rows.known;
    return rows;
  }
  TW_ASSIGN_OR_RETURN(const std::string text, base::read_file(file));
  TW_ASSIGN_OR_RETURN(rows.asked, read(text, file));
  return rows;
}

void print_training(const std::vector<plan::Prediction>& predictions, int worst) {
  std::vector<const plan::Prediction*> scored;
  for (const plan::Prediction& p : predictions) {
    if (p.problem.empty() && p.row->scored) scored.push_back(&p);
  }
  print_worst(scored, worst);
  print_systems(scored);
  print_unpredicted(predictions);
}

int validate_this_machine(const Options& options) {
  auto ran = run_this_machine(options.runs);
  if (!ran.ok()) return fail(ran.error());
  std::vector<plan::MachineRow>& rows = ran->rows;
  const plan::SetScore score = plan::score_machine(rows);
  if (!options.json) {
    std::sort(rows.begin(), rows.end(),
              [](const auto& a, const auto& b) { return std::fabs(a.error()) > std::fabs(b.error()); });
    std::printf("tokens a second: measured, and predicted by the calibration\n");
    for (const plan::MachineRow& r : rows) {
      if (r.problem.empty())
        std::printf("  %+6.1f %% %10.1f %10.1f  %s\n", 100 * r.error(), r.measured, r.predicted,
                    r.what.c_str());
      else
        std::printf("         - %10.1f          -  %s: %s\n", r.measured, r.what.c_str(), r.problem.c_str());
    }
    if (ran->waited >= 1)
      std::printf("%.0f s went by with waiting for the machine to be as it was when it was calibrated.\n",
                  ran->waited);
    if (ran->unusual > 0)
      std::printf(
          "In all runs of %.0f %% of the rows the machine was slower than when it was calibrated: its "
          "workers were "
          "far apart or shared a core. `tokenworks plan calibrate` says what is usual now.\n",
          100 * ran->unusual);
  }
  print_scores({score}, options.json);
  return score.met ? 0 : 1;
}

int validate(const Options& options) {
  if (options.this_machine) return validate_this_machine(options);
  const auto training =
      rows_of<plan::TrainingRow>(options.training, "training_measured.csv", plan::read_training_rows);
  if (!training.ok()) return fail(training.error());
  const auto serving =
      rows_of<plan::ServingRow>(options.inference, "inference_measured.csv", plan::read_serving_rows);
  if (!serving.ok()) return fail(serving.error());
  const auto trained = plan::predict_training(training->asked, training->known);
  const auto served = plan::predict_serving(serving->asked, serving->known);
  std::vector<plan::SetScore> scores = plan::score_training(trained);
  if (scores.empty())
    return fail(
        base::Error{base::Code::kInvalidArgument,
                    "no row states layers, a catalogued accelerator and their number: see docs/planning.md "
                    "for what a row must say",
                    options.training});
  const std::vector<plan::SetScore> of_serving = plan::score_serving(served);
  if (of_serving.empty())
    return fail(
        base::Error{base::Code::kInvalidArgument,
                    "no row states a known model, a catalogued accelerator, lengths and a result: see "
                    "docs/planning.md for what a row must say",
                    options.inference});
  scores.insert(scores.end(), of_serving.begin(), of_serving.end());
  if (!options.json) {
    print_training(trained, options.worst);
    print_serving(served, options.worst);
  }
  // Rows of one's own say nothing of the search.
  if (options.training.empty() && options.inference.empty()) {
    for (plan::SetScore& score : plan::score_search()) scores.push_back(std::move(score));
  }
  print_scores(scores, options.json);
  return std::all_of(scores.begin(), scores.end(), [](const auto& s) { return s.met; }) ? 0 : 1;
}

}  // namespace

void add_plan_validate(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      plan.add_subcommand("validate", "Compare predictions with measured training and serving runs.");
  verb->add_option("--training", options->training,
                   "CSV with the columns of data/planner/training_measured.csv")
      ->type_name("FILE");
  verb->add_option("--inference", options->inference,
                   "CSV with the columns of data/planner/inference_measured.csv")
      ->type_name("FILE");
  verb->add_option("--worst", options->worst, "how many of the worst rows to print")
      ->check(CLI::Range(0, 100000));
  CLI::Option* here = verb->add_flag("--this-machine", options->this_machine,
                                     "the set of this machine alone: runs of bench and train, against what "
                                     "`plan calibrate` lets expect of them; nothing else should run");
  const auto of_here = [&](CLI::Option* option) { option->needs(here)->group("With --this-machine"); };
  of_here(verb->add_option("--calibration", options->runs.calibration,
                           "file of `plan calibrate` (default: the store's)")
              ->type_name("FILE"));
  of_here(verb->add_option("--model", options->runs.models,
                           "file, folder or name in the store, and more (default: all in the store, the "
                           "repository's stories260K where it is found, and 144M random weights)"));
  of_here(verb->add_option("--prompt", options->runs.prompt, "tokens")->check(CLI::Range(1, 512)));
  of_here(verb->add_option("--generate", options->runs.generate, "tokens")->check(CLI::Range(1, 4096)));
  of_here(verb->add_option("--batch", options->runs.batch, "sequences of the runs with several; 1: none")
              ->check(CLI::Range(1, 64)));
  of_here(verb->add_option("--repeat", options->runs.repeat, "rounds over all runs, of which the mean counts")
              ->check(CLI::Range(1, 1000)));
  verb->add_flag("--json", options->json, "one JSON line a set and metric");
  verb->footer(
      "Exit status 0: every target is met.\nExamples:\n  tokenworks plan validate\n"
      "  tokenworks plan validate --training mine.csv --json\n  tokenworks plan validate "
      "--this-machine --model model.gguf");
  verb->callback([options, &exit_code] { exit_code = validate(*options); });
}

}  // namespace tw::cli
