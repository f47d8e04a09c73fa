#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "cli/plan_inputs.h"
#include "cli/plan_report.h"
#include "cli/startup.h"
#include "cli/terminal.h"
#include "plan/search.h"

namespace tw::cli {
namespace {

struct Options {
  PlanInputs inputs;
  std::string counts, save, objective = "days";
  double max_days = 0, max_usd = 0, max_mwh = 0;
  int top = 5, threads = 0;
  bool json = false, csv = false;
};

/// The best plans for one number of accelerators.
struct Answer {
  plan::Setting setting;
  plan::SearchResult found;
  std::vector<plan::Estimate> best;
};

double figure(const plan::Estimate& e, std::string_view key) {
  for (const plan::Figure& f : e.figures) {
    if (f.key == key && f.value) return f.value->value;
  }
  return -1;  // not known
}

double usd(const plan::Estimate& e) {
  const double rent = figure(e, "rent_usd");
  return rent >= 0 ? rent : figure(e, "own_usd");
}

double objective(const Options& options, const plan::Estimate& e) {
  return options.objective == "usd"   ? usd(e)
         : options.objective == "mwh" ? figure(e, "megawatt_hours")
                                      : figure(e, "days");
}

/// Why it breaks a limit; empty: it does not.
std::string broken_limit(const Options& options, const plan::Estimate& e) {
  const std::tuple<const char*, double, double> limits[] = {
      {"days", figure(e, "days"), options.max_days},
      {"USD", usd(e), options.max_usd},
      {"MWh", figure(e, "megawatt_hours"), options.max_mwh}};
  for (const auto& [unit, value, most] : limits) {
    if (most <= 0) continue;
    if (value < 0) return fmt::format("its {} are not known", unit);
    if (value > most) return fmt::format("{:.4g} {} are more than {:.4g}", value, unit, most);
  }
  return {};
}

std::string remaining(double share, double seconds) {
  return share > 0.01 ? fmt::format("ETA {:.0f} s", seconds * (1 - share) / share) : "";
}

base::Result<Answer> search_one(plan::Setting setting, base::Team& team) {
  const auto start = std::chrono::steady_clock::now();
  plan::SearchOptions how;
  how.progress = [&](double share) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds > 0.5)
      draw_progress(
          fmt::format("{} accelerators, {}", setting.cluster.accelerators, remaining(share, seconds)), share);
  };
  TW_ASSIGN_OR_RETURN(plan::SearchResult found, plan::search(setting, how, team));
  clear_progress();
  Answer answer{std::move(setting), std::move(found), {}};
  for (const plan::FoundPlan& f : answer.found.best) {
    TW_ASSIGN_OR_RETURN(plan::Estimate e, plan::estimate(answer.setting, f.plan));
    answer.best.push_back(std::move(e));
  }
  // The search goes by the closed form; what it found is put in order by the simulated schedule.
  std::stable_sort(answer.best.begin(), answer.best.end(),
                   [](const plan::Estimate& a, const plan::Estimate& b) {
                     return a.simulated_seconds < b.simulated_seconds;
                   });
  return answer;
}

/// Where the time goes that another plan does not need.
std::string why_slower(const plan::Estimate& best, const plan::Estimate& other) {
  if (other.step_seconds <= best.step_seconds * (1 + 1e-9)) {
    const double more = other.stages[other.fullest].total() - best.stages[best.fullest].total();
    return more > 1e6
               ? fmt::format("as fast, and holds {} more", spec::measure_text(spec::Dimension::kBytes, more))
               : "as fast";
  }
  const auto mine = time_parts(best.step), theirs = time_parts(other.step);
  std::size_t worst = 0;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    if (theirs[i].second - mine[i].second > theirs[worst].second - mine[worst].second) worst = i;
  }
  return fmt::format(
      "{:+.2f} %, most by {}: {} more", 100 * (other.step_seconds / best.step_seconds - 1), mine[worst].first,
      spec::measure_text(spec::Dimension::kSeconds, theirs[worst].second - mine[worst].second));
}

std::string unfit_text(const Answer& a) {
  if (!a.found.fastest_unfit) return {};
  const auto e = plan::estimate(a.setting, a.found.fastest_unfit->plan);
  if (!e.ok()) return {};
  return fmt::format("{} would take {} a step, but {}", e->plan.text(),
                     spec::measure_text(spec::Dimension::kSeconds, e->step_seconds), e->memory_text());
}

void print_answer(const Options& options, const Answer& a) {
  std::printf(
      "\n%lld x %s: %.0f plans, %.0f computed, %.0f skipped by bounds, %.0f fit (%.2f s of one processor)\n",
      static_cast<long long>(a.setting.cluster.accelerators), a.setting.accelerator.name.c_str(),
      a.found.space, a.found.computed, a.found.skipped, a.found.fit, a.found.cpu_seconds);
  std::printf("  %-62s %10s %9s %9s %7s %9s  %s\n", "plan", "step", "memory", "days", "MFU %", "MWh",
              "against the first");
  for (std::size_t i = 0; i < a.best.size() && i < static_cast<std::size_t>(options.top); ++i) {
    const plan::Estimate& e = a.best[i];
    std::printf("  %-62s %10s %9s %9.4g %7.1f %9.4g  %s\n", e.plan.text().c_str(),
                spec::measure_text(spec::Dimension::kSeconds, e.step_seconds).c_str(),
                spec::measure_text(spec::Dimension::kBytes, e.stages[e.fullest].total()).c_str(),
                figure(e, "days"), figure(e, "mfu"), figure(e, "megawatt_hours"),
                i == 0 ? "" : why_slower(a.best[0], e).c_str());
  }
  if (const std::string text = unfit_text(a); !text.empty())
    std::printf("  the fastest that does not fit: %s\n", text.c_str());
  std::printf("  time against memory: ");
  const std::size_t points = a.found.front.size(), step = std::max<std::size_t>(1, (points + 5) / 6);
  for (std::size_t i = 0; i < points; i += step)
    std::printf("%s%s in %s", i == 0 ? "" : ", ",
                spec::measure_text(spec::Dimension::kSeconds, a.found.front[i].seconds).c_str(),
                spec::measure_text(spec::Dimension::kBytes, a.found.front[i].bytes).c_str());
  std::printf(" (%zu plans on the front)\n", points);
}

base::OrderedJson answer_json(const Options& options, const Answer& a) {
  base::OrderedJson j = {{"accelerators", a.setting.cluster.accelerators},
                         {"plans", a.found.space},
                         {"computed", a.found.computed},
                         {"skipped", a.found.skipped},
                         {"fit", a.found.fit},
                         {"cpu_seconds", a.found.cpu_seconds}};
  j["best"] = base::OrderedJson::array();
  for (std::size_t i = 0; i < a.best.size() && i < static_cast<std::size_t>(options.top); ++i) {
    j["best"].push_back(estimate_json(a.setting, a.best[i]));
    if (i > 0) j["best"].back()["against_the_first"] = why_slower(a.best[0], a.best[i]);
  }
  for (const plan::FoundPlan& f : a.found.front)
    j["front"].push_back({{"plan", base::OrderedJson::parse(spec::plan_file(f.plan))},
                          {"step_seconds", f.seconds},
                          {"bytes", f.bytes}});
  if (const std::string text = unfit_text(a); !text.empty()) j["fastest_unfit"] = text;
  return j;
}

/// Over the numbers of accelerators: none of the front is both slower and dearer than another.
bool on_front(const Options& options, const std::vector<Answer>& answers, const plan::Estimate& e) {
  for (const Answer& a : answers) {
    if (a.best.empty()) continue;
    const plan::Estimate& other = a.best[0];
    const bool no_worse = figure(other, "days") <= figure(e, "days") && usd(other) <= usd(e);
    const bool better = figure(other, "days") < figure(e, "days") || usd(other) < usd(e);
    if (no_worse && better && broken_limit(options, other).empty()) return false;
  }
  return true;
}

base::Result<std::vector<std::int64_t>> counts_of(const Options& options, std::int64_t own) {
  std::vector<std::int64_t> counts;
  std::size_t at = 0;
  while (at < options.counts.size()) {
    const std::size_t comma = std::min(options.counts.find(',', at), options.counts.size());
    TW_ASSIGN_OR_RETURN(const double count,
                        spec::parse_measure(spec::Dimension::kCount, options.counts.substr(at, comma - at)));
    counts.push_back(static_cast<std::int64_t>(count));
    at = comma + 1;
  }
  if (counts.empty()) counts.push_back(own);
  return counts;
}

base::Error nothing_found(const Options& options, const std::vector<Answer>& answers) {
  for (const Answer& a : answers) {
    if (!a.best.empty())
      return base::error(base::Code::kInvalidArgument,
                         "no plan keeps the limits: of the fastest on {} accelerators, {}",
                         a.setting.cluster.accelerators, broken_limit(options, a.best[0]));
  }
  return base::error(base::Code::kResourceExhausted, "no plan fits: {}", unfit_text(answers[0]));
}

void print_table(const Options& options, const std::vector<Answer>& answers, const plan::Estimate* best) {
  for (const Answer& a : answers) print_answer(options, a);
  if (answers.size() > 1) {
    std::printf("\n%12s %10s %12s %12s  %s\n", "accelerators", "days", "USD", "MWh", "");
    for (const Answer& a : answers) {
      if (a.best.empty()) {
        std::printf("%12lld %10s\n", static_cast<long long>(a.setting.cluster.accelerators), "none fits");
        continue;
      }
      const plan::Estimate& e = a.best[0];
      const std::string broken = broken_limit(options, e);
      std::printf("%12lld %10.4g %12.4g %12.4g  %s\n", static_cast<long long>(a.setting.cluster.accelerators),
                  figure(e, "days"), usd(e), figure(e, "megawatt_hours"),
                  !broken.empty()                 ? broken.c_str()
                  : on_front(options, answers, e) ? "on the front of days and money"
                                                  : "");
    }
  }
  std::printf("\nbest: %s on %lld accelerators\n", best->plan.text().c_str(),
              static_cast<long long>(best->plan.ranks()));
}

base::Result<std::vector<Answer>> answers_of(const Options& options) {
  PlanInputs inputs = options.inputs;
  if (!options.counts.empty())
    inputs.cluster.emplace_back("accelerators", options.counts.substr(0, options.counts.find(',')));
  TW_ASSIGN_OR_RETURN(const plan::Setting setting, inputs.setting());
  TW_ASSIGN_OR_RETURN(const std::vector<std::int64_t> counts,
                      counts_of(options, setting.cluster.accelerators));
  base::Team team(options.threads > 0 ? options.threads
                                      : static_cast<int>(std::thread::hardware_concurrency()));
  std::vector<Answer> answers;
  for (const std::int64_t count : counts) {
    plan::Setting one = setting;
    one.cluster.accelerators = count;
    TW_RETURN_IF_ERROR(one.cluster.validate());
    TW_ASSIGN_OR_RETURN(Answer answer, search_one(std::move(one), team));
    answers.push_back(std::move(answer));
  }
  return answers;
}

int run(const Options& options) {
  const auto answers = answers_of(options);
  if (!answers.ok()) return fail(answers.error());
  const plan::Estimate* best = nullptr;
  for (const Answer& a : *answers) {
    for (const plan::Estimate& e : a.best) {
      if (!broken_limit(options, e).empty() || objective(options, e) < 0) continue;
      if (best == nullptr || objective(options, e) < objective(options, *best)) best = &e;
    }
  }
  if (best == nullptr) return fail(nothing_found(options, *answers));
  if (options.json) {
    base::OrderedJson all = base::OrderedJson::array();
    for (const Answer& a : *answers) all.push_back(answer_json(options, a));
    std::printf("%s\n", base::dump_json(
                            base::OrderedJson{{"best", base::OrderedJson::parse(spec::plan_file(best->plan))},
                                              {"searches", all}})
                            .c_str());
  } else if (options.csv) {
    std::printf("accelerators,plan,step_seconds,bytes,days,usd,mwh\n");
    for (const Answer& a : *answers) {
      for (const plan::Estimate& e : a.best)
        std::printf("%lld,%s,%.6g,%.6g,%.6g,%.6g,%.6g\n",
                    static_cast<long long>(a.setting.cluster.accelerators), e.plan.text().c_str(),
                    e.step_seconds, e.stages[e.fullest].total(), figure(e, "days"), usd(e),
                    figure(e, "megawatt_hours"));
    }
  } else {
    print_table(options, *answers, best);
  }
  if (options.save.empty()) return 0;
  std::FILE* file = std::fopen(options.save.c_str(), "w");
  const std::string text = spec::plan_file(best->plan);
  const bool written = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file == nullptr || std::fclose(file) != 0 || !written)
    return fail(base::error(base::Code::kIo, "{} cannot be written", options.save));
  return 0;
}

}  // namespace

void add_plan_search(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand("search", "Find the best plans of training: every division is tried.");
  add_plan_inputs(*verb, options->inputs);
  verb->add_option("--counts", options->counts, "numbers of accelerators to try, such as 256,512,1024");
  verb->add_option("--objective", options->objective, "what is to be small: days, usd or mwh (default: days)")
      ->check(CLI::IsMember({"days", "usd", "mwh"}));
  verb->add_option("--max-days", options->max_days, "limit of wall-clock days")->check(CLI::PositiveNumber);
  verb->add_option("--max-usd", options->max_usd, "limit of money, to rent or else to own")
      ->check(CLI::PositiveNumber);
  verb->add_option("--max-mwh", options->max_mwh, "limit of energy")->check(CLI::PositiveNumber);
  verb->add_option("--top", options->top, "how many plans to print (default: 5)")->check(CLI::Range(1, 100));
  verb->add_option("--save", options->save, "write the best plan as a file for estimate and train")
      ->type_name("FILE");
  verb->add_option("--threads", options->threads, "workers (default: all processors)")
      ->check(CLI::Range(1, 1024));
  verb->add_flag("--json", options->json, "one JSON document");
  verb->add_flag("--csv", options->csv, "one line a plan, the hundred fastest");
  verb->footer(
      "Examples:\n  tokenworks plan search llama-2-7b --accelerator H100 --accelerators 8 --tokens 2T "
      "--batch 1024\n"
      "  tokenworks plan search llama-3-70b --accelerator H100 --counts 256,512,1024 --tokens 15T --batch "
      "1024 --rent "
      "\"2.5 USD/h\" --max-days 60 --objective usd");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
