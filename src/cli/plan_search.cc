#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <tuple>

#include "base/affinity.h"
#include "base/mmap.h"
#include "cli/plan_inputs.h"
#include "cli/plan_nearest.h"
#include "cli/plan_page.h"
#include "cli/plan_report.h"
#include "cli/startup.h"
#include "cli/terminal.h"
#include "plan/search.h"

namespace tw::cli {
namespace {

struct Options {
  PlanInputs inputs;
  std::string counts, save, html, objective = "days";
  double max_days = 0, max_usd = 0, max_mwh = 0;
  int top = 5, threads = 0;
  bool json = false, csv = false, zero_bubble = false;
};

/// The best plans for one number of accelerators.
struct Answer {
  plan::Setting setting;
  plan::SearchResult found;
  std::vector<plan::Estimate> best;
};

/// Nothing: it is not known.
std::optional<plan::Quantity> quantity(const plan::Estimate& e, std::string_view key) {
  for (const plan::Figure& f : e.figures) {
    if (f.key == key && f.value) return *f.value;
  }
  return {};
}

std::optional<double> figure(const plan::Estimate& e, std::string_view key) {
  const auto q = quantity(e, key);
  return q ? std::optional(q->value) : std::nullopt;
}

std::string_view usd_key(const plan::Estimate& e) {
  return figure(e, "rent_usd") ? "rent_usd" : "own_usd";
}
std::optional<double> usd(const plan::Estimate& e) {
  return figure(e, usd_key(e));
}

/// A column of the table; "-": not known.
std::string cell(std::optional<double> value) {
  return value ? fmt::format("{:.4g}", *value) : "-";
}

/// Three columns of CSV, value, low and high; empty: not known.
std::string csv_range(const std::optional<plan::Quantity>& q) {
  return q ? fmt::format("{:.6g},{:.6g},{:.6g}", q->value, q->low, q->high) : ",,";
}

/// All plans that were kept, with the provenance of their days.
void print_csv(const std::vector<Answer>& answers) {
  std::string header = "accelerators,plan";
  for (const char* name : {"step_seconds", "bytes", "days", "usd", "mwh"})
    header += fmt::format(",{0},{0}_low,{0}_high", name);
  std::printf("%s,provenance\n", header.c_str());
  for (const Answer& a : answers) {
    for (const plan::Estimate& e : a.best) {
      const plan::Quantity bytes = plan::Quantity::around(e.stages[e.fullest].total(), plan::kMemorySpread,
                                                          "B", plan::Provenance::kExtrapolated);
      const auto days = quantity(e, "days");
      std::printf("%lld,%s,%s,%s,%s,%s,%s,%s\n", static_cast<long long>(a.setting.accelerators()),
                  e.plan.text().c_str(), csv_range(quantity(e, "step_seconds")).c_str(),
                  csv_range(bytes).c_str(), csv_range(days).c_str(),
                  csv_range(quantity(e, usd_key(e))).c_str(),
                  csv_range(quantity(e, "megawatt_hours")).c_str(),
                  days ? std::string(plan::provenance_name(days->provenance)).c_str() : "");
    }
  }
}

std::optional<double> objective(const Options& options, const plan::Estimate& e) {
  return options.objective == "usd"   ? usd(e)
         : options.objective == "mwh" ? figure(e, "megawatt_hours")
                                      : figure(e, "days");
}

/// Why it breaks a limit; empty: it does not.
std::string broken_limit(const Options& options, const plan::Estimate& e) {
  const std::tuple<const char*, std::optional<double>, double> limits[] = {
      {"days", figure(e, "days"), options.max_days},
      {"USD", usd(e), options.max_usd},
      {"MWh", figure(e, "megawatt_hours"), options.max_mwh}};
  for (const auto& [unit, value, most] : limits) {
    if (most <= 0) continue;
    if (!value) return fmt::format("its {} are not known", unit);
    if (*value > most) return fmt::format("{:.4g} {} are more than {:.4g}", *value, unit, most);
  }
  return {};
}

std::string remaining(double share, double seconds) {
  return share > 0.01 ? fmt::format("ETA {:.0f} s", seconds * (1 - share) / share) : "";
}

base::Result<Answer> search_one(plan::Setting setting, bool zero_bubble, base::Team& team) {
  const auto start = std::chrono::steady_clock::now();
  plan::SearchOptions how;
  how.zero_bubble = zero_bubble;
  how.progress = [&](double share) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds > 0.5)
      draw_progress(fmt::format("{} accelerators, {}", setting.accelerators(), remaining(share, seconds)),
                    share);
  };
  TW_ASSIGN_OR_RETURN(plan::SearchResult found, plan::search(setting, how, team));
  clear_progress();
  Answer answer{std::move(setting), std::move(found), {}};
  // The search goes by the closed form; what it found is put in order by the simulated schedule, and equal
  // ones stay in the order of the search.
  std::vector<std::tuple<double, std::size_t, plan::Estimate>> timed;
  for (const plan::FoundPlan& f : answer.found.best) {
    TW_ASSIGN_OR_RETURN(plan::Estimate e, plan::estimate(answer.setting, f.plan));
    const double seconds = e.step_seconds;
    timed.emplace_back(seconds, timed.size(), std::move(e));
  }
  std::sort(timed.begin(), timed.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  for (auto& [seconds, index, e] : timed) answer.best.push_back(std::move(e));
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
  std::printf("\n%s: %.0f plans, %.0f computed, %.0f skipped by bounds, %.0f fit (%.2f s of one processor)\n",
              machines_text(a.setting).c_str(), a.found.space, a.found.computed, a.found.skipped, a.found.fit,
              a.found.cpu_seconds);
  if (a.best.empty()) {
    std::printf("  none fits: %s\n", unfit_text(a).c_str());
    return;
  }
  std::printf("  %-62s %10s %9s %9s %7s %9s  %s\n", "plan", "step", "memory", "days", "MFU %", "MWh",
              "against the first");
  for (std::size_t i = 0; i < a.best.size() && i < static_cast<std::size_t>(options.top); ++i) {
    const plan::Estimate& e = a.best[i];
    const auto mfu = figure(e, "mfu");
    std::printf("  %-62s %10s %9s %9s %7s %9s  %s\n", e.plan.text().c_str(),
                spec::measure_text(spec::Dimension::kSeconds, e.step_seconds).c_str(),
                spec::measure_text(spec::Dimension::kBytes, e.stages[e.fullest].total()).c_str(),
                cell(figure(e, "days")).c_str(), mfu ? fmt::format("{:.1f}", *mfu).c_str() : "-",
                cell(figure(e, "megawatt_hours")).c_str(), i == 0 ? "" : why_slower(a.best[0], e).c_str());
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
  base::OrderedJson j = {{"accelerators", a.setting.accelerators()},
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
  const double spread = a.best.empty() ? 0.5 : a.setting.spread(a.best[0].curves);
  for (const plan::FoundPlan& f : a.found.front)
    j["front"].push_back({{"plan", base::OrderedJson::parse(spec::plan_file(f.plan))},
                          {"step_seconds", to_json(extrapolated(f.seconds, spread, "s"))},
                          {"bytes", to_json(memory_quantity(f.bytes))}});
  if (const std::string text = unfit_text(a); !text.empty()) j["fastest_unfit"] = text;
  return j;
}

/// Over the numbers of accelerators: none of the front is both slower and dearer than another. What has no
/// price is no part of it.
bool on_front(const Options& options, const std::vector<Answer>& answers, const plan::Estimate& e) {
  const auto days = figure(e, "days"), money = usd(e);
  if (!days || !money) return false;
  for (const Answer& a : answers) {
    if (a.best.empty()) continue;
    const plan::Estimate& other = a.best[0];
    const auto other_days = figure(other, "days"), other_money = usd(other);
    if (!other_days || !other_money) continue;
    const bool no_worse = *other_days <= *days && *other_money <= *money;
    const bool better = *other_days < *days || *other_money < *money;
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
    if (a.best.empty()) continue;
    const std::string broken = broken_limit(options, a.best[0]);
    if (broken.empty())
      return base::error(base::Code::kInvalidArgument, "the {} of the plans are not known",
                         options.objective);
    return base::error(base::Code::kInvalidArgument,
                       "no plan keeps the limits: of the fastest on {} accelerators, {}",
                       a.setting.accelerators(), broken);
  }
  // From the largest number on, of those that were tried.
  const Answer& most =
      *std::ranges::max_element(answers, {}, [](const Answer& a) { return a.setting.accelerators(); });
  base::Result<base::Placement> placement = base::place_threads(options.threads, {});
  std::string more;
  if (placement.ok()) {
    base::Team team(std::move(*placement));
    more = nearest_number(most.setting, team);
  }
  return base::error(base::Code::kResourceExhausted, "no plan fits {} accelerators: {}{}",
                     most.setting.accelerators(), unfit_text(most), more);
}

void print_table(const Options& options, const std::vector<Answer>& answers, const plan::Estimate* best) {
  print_software(answers[0].setting);
  for (const Answer& a : answers) print_answer(options, a);
  if (answers.size() > 1) {
    std::printf("\n%12s %10s %12s %12s  %s\n", "accelerators", "days", "USD", "MWh", "");
    for (const Answer& a : answers) {
      if (a.best.empty()) {
        std::printf("%12lld %10s\n", static_cast<long long>(a.setting.accelerators()), "none fits");
        continue;
      }
      const plan::Estimate& e = a.best[0];
      const std::string broken = broken_limit(options, e);
      std::printf("%12lld %10s %12s %12s  %s\n", static_cast<long long>(a.setting.accelerators()),
                  cell(figure(e, "days")).c_str(), cell(usd(e)).c_str(),
                  cell(figure(e, "megawatt_hours")).c_str(),
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
  const auto given =
      std::ranges::find(inputs.cluster, "accelerators", &std::pair<std::string, std::string>::first);
  if (!options.counts.empty() && given != inputs.cluster.end())
    return base::error(base::Code::kInvalidArgument,
                       "--accelerators {} and --counts {} say how many there are: give one of them",
                       given->second, options.counts);
  if (!options.counts.empty())
    inputs.cluster.emplace_back("accelerators", options.counts.substr(0, options.counts.find(',')));
  TW_ASSIGN_OR_RETURN(const plan::Setting setting, inputs.setting());
  TW_ASSIGN_OR_RETURN(const std::vector<std::int64_t> counts, counts_of(options, setting.accelerators()));
  if (setting.mixed() && !options.counts.empty())
    return base::error(base::Code::kInvalidArgument,
                       "--counts is for one kind of accelerator: of two, give --accelerators and "
                       "--second-accelerators");
  TW_ASSIGN_OR_RETURN(base::Placement placement, base::place_threads(options.threads, {}));
  base::Team team(std::move(placement));
  std::vector<Answer> answers;
  for (const std::int64_t count : counts) {
    plan::Setting one = setting;
    if (!one.mixed()) one.cluster.accelerators = count;
    TW_RETURN_IF_ERROR(one.cluster.validate());
    TW_RETURN_IF_ERROR(one.check_slices());
    TW_ASSIGN_OR_RETURN(Answer answer, search_one(std::move(one), options.zero_bubble, team));
    answers.push_back(std::move(answer));
  }
  return answers;
}

base::Status write_html(const Options& options, const std::vector<Answer>& answers,
                        const plan::Estimate& best) {
  std::vector<SearchPage> pages;
  const plan::Setting* chosen = &answers[0].setting;
  for (const Answer& a : answers) {
    SearchPage page{&a.setting, &a.found, &a.best, unfit_text(a), {}};
    for (std::size_t i = 0; i < a.best.size() && i < static_cast<std::size_t>(options.top); ++i)
      page.why.push_back(i == 0 ? "" : why_slower(a.best[0], a.best[i]));
    pages.push_back(std::move(page));
    if (a.setting.accelerators() == best.plan.ranks()) chosen = &a.setting;
  }
  TW_ASSIGN_OR_RETURN(const std::string text, search_page(pages, best, *chosen));
  return write_page(options.html, text);
}

int run(const Options& options) {
  for (const auto& [flag, limit] :
       {std::pair("--max-days", options.max_days), std::pair("--max-usd", options.max_usd),
        std::pair("--max-mwh", options.max_mwh)}) {
    if (!std::isfinite(limit))
      return fail(base::error(base::Code::kInvalidArgument, "{} is no number: give one above 0", flag));
  }
  const auto answers = answers_of(options);
  if (!answers.ok()) return fail(answers.error());
  const plan::Estimate* best = nullptr;
  for (const Answer& a : *answers) {
    for (const plan::Estimate& e : a.best) {
      const auto value = objective(options, e);
      if (!broken_limit(options, e).empty() || !value) continue;
      if (best == nullptr || *value < *objective(options, *best)) best = &e;
    }
  }
  if (best == nullptr) return fail(nothing_found(options, *answers));
  if (!options.html.empty()) {
    if (auto written = write_html(options, *answers, *best); !written.ok()) return fail(written.error());
  }
  if (options.json) {
    base::OrderedJson all = base::OrderedJson::array();
    for (const Answer& a : *answers) all.push_back(answer_json(options, a));
    std::printf("%s\n", base::dump_json(
                            base::OrderedJson{{"best", base::OrderedJson::parse(spec::plan_file(best->plan))},
                                              {"searches", all}})
                            .c_str());
  } else if (options.csv) {
    print_csv(*answers);
  } else {
    print_table(options, *answers, best);
  }
  if (options.save.empty()) return 0;
  const auto saved = base::write_file_atomically(options.save, spec::plan_file(best->plan));
  return saved.ok() ? 0 : fail(saved.error());
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
  verb->add_flag(
      "--zero-bubble", options->zero_bubble,
      "try ZB-H1 schedules too, which fill bubbles with weight gradients (one kind of accelerator)");
  verb->add_option("--top", options->top, "how many plans to print (default: 5)")->check(CLI::Range(1, 100));
  verb->add_option("--save", options->save, "write the best plan as a file for plan estimate")
      ->type_name("FILE");
  verb->add_option("--html", options->html, "write a page with tables and charts")->type_name("FILE");
  verb->add_option("--threads", options->threads, "workers (default: all processors)")
      ->check(CLI::Range(1, 1024));
  verb->add_flag("--json", options->json, "one JSON document");
  verb->add_flag("--csv", options->csv, "one line a plan, the hundred fastest")->excludes("--json");
  verb->footer(
      "Examples:\n  tokenworks plan search llama-2-7b --accelerator H100 --accelerators 8 --tokens 2T "
      "--batch 1024\n"
      "  tokenworks plan search llama-3-70b --accelerator H100 --counts 256,512,1024 --tokens 15T --batch "
      "1024 --rent "
      "\"2.5 USD/h\" --max-days 150 --objective usd");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
