#include "cli/plan_page.h"

#include <algorithm>
#include <cmath>

#include "base/mmap.h"
#include "cli/plan_report.h"
#include "plan/schedule.h"
#include "plan/sensitivity.h"
#include "plan/serve_details.h"

namespace tw::cli {
namespace {

std::string seconds_text(double value) {
  if (value == 0) return "0 s";
  return spec::measure_text(spec::Dimension::kSeconds, value);
}
/// Along an axis, whose marks share a unit.
std::string axis_seconds(double value) {
  return fmt::format("{:g} s", value);
}
std::string bytes_text(double value) {
  return spec::measure_text(spec::Dimension::kBytes, value);
}
/// 2.15M reads better than 2.15e+06, and 3.94e+25 better than its millions.
std::string count_text(double value) {
  return value >= 1e6 && value < 1e15 ? spec::measure_text(spec::Dimension::kCount, value)
                                      : figure_text(value);
}
std::string days_text(double value) {
  return fmt::format("{:.4g} days", value);
}

void add_figures(HtmlPage& page, const std::vector<plan::Figure>& figures) {
  std::vector<std::vector<std::string>> rows;
  rows.reserve(figures.size());
  for (const plan::Figure& f : figures) {
    if (f.value)
      rows.push_back({f.title, count_text(f.value->value) + " " + f.value->unit,
                      f.value->low == f.value->high ? "exact"
                                                    : count_text(f.value->low) + " to " +
                                                          count_text(f.value->high) + " " + f.value->unit,
                      std::string(plan::provenance_name(f.value->provenance)), f.how});
    else
      rows.push_back({f.title, "-", "", "", f.missing});
  }
  page.table({"", "value", "range", "provenance", "how"}, rows);
}

template <typename Parts>
BarRow bar_of(std::string name, const Parts& parts) {
  BarRow row{std::move(name), {}};
  for (const auto& [part, value] : parts) row.values.push_back(value);
  return row;
}

template <typename Parts>
std::vector<std::string> names_of(const Parts& parts) {
  std::vector<std::string> names;
  names.reserve(parts.size());
  for (const auto& [part, value] : parts) names.emplace_back(part);
  return names;
}

void add_time(HtmlPage& page, const plan::Estimate& e) {
  page.heading("A step's time");
  const auto parts = time_parts(e.step);
  page.stacked_bars(names_of(parts), {bar_of(e.plan.text(), parts)}, e.step.total(), seconds_text);
}

void add_memory(HtmlPage& page, const plan::Estimate& e) {
  page.heading("Memory of a rank, by stage");
  double widest = e.capacity;
  for (const plan::PlacedStage& p : e.placed) widest = std::max(widest, p.capacity);
  page.paragraph(fmt::format("A full bar is the {}accelerator's {}.", e.placed.empty() ? "" : "larger ",
                             bytes_text(widest)));
  const std::size_t stages = e.stages.size(), step = (stages + 31) / 32;
  std::vector<BarRow> rows;
  for (std::size_t i = 0; i < stages; ++i) {
    const bool fullest = i == static_cast<std::size_t>(e.fullest);
    if (i % step != 0 && i + 1 != stages && !fullest) continue;
    rows.push_back(
        bar_of(fmt::format("stage {}{}", i, fullest ? " (fullest)" : ""), memory_parts(e.stages[i])));
  }
  page.stacked_bars(names_of(memory_parts(e.stages[0])), rows, widest, bytes_text);
  if (e.plan.offload == spec::Offload::kNone) return;
  page.paragraph(fmt::format("Memory of its host, for each accelerator. A full bar is {}.",
                             bytes_text(e.host_capacity)));
  page.stacked_bars(names_of(host_parts(e.stages[0])),
                    {bar_of(e.plan.text(), host_parts(e.stages[e.fullest]))}, e.host_capacity, bytes_text);
}

void add_placed(HtmlPage& page, const plan::Setting& s, const plan::Estimate& e) {
  if (e.placed.empty()) return;
  page.heading("Stages, of a micro-batch");
  std::vector<std::vector<std::string>> rows;
  rows.reserve(e.placed.size());
  for (std::size_t i = 0; i < e.placed.size(); ++i) {
    const plan::PlacedStage& p = e.placed[i];
    rows.push_back({fmt::format("{}", i), s.kinds[p.kind].accelerator.name,
                    fmt::format("{} ({} to {})", p.layers, p.first, p.first + p.layers - 1),
                    seconds_text(p.forward), seconds_text(p.backward),
                    fmt::format("{} of {}", bytes_text(p.memory.total()), bytes_text(p.capacity))});
  }
  page.table({"stage", "kind", "layers", "forward", "backward", "memory"}, rows);
}

base::Status add_pipeline(HtmlPage& page, const plan::Setting& s, const plan::Estimate& e) {
  if (e.plan.pipeline < 2) return base::Ok{};
  // Enough micro-batches to see it fill, run and drain, and no more boxes than a browser likes.
  const auto all = static_cast<int>(e.plan.micro_batches(s.job.batch));
  const int p = e.plan.pipeline, v = e.plan.interleave;
  const int most = std::max(p, 6000 / (2 * p * v) / p * p);
  const int drawn = std::min({all, most, v > 1 ? 2 * p : 3 * p});
  page.heading("The pipeline");
  page.paragraph(drawn < all ? fmt::format("{} stages; {} of a step's {} micro-batches.", p, drawn, all)
                             : fmt::format("{} stages, all {} micro-batches of a step.", p, all));
  std::vector<plan::ScheduleSpan> spans;
  if (e.placed.empty()) {
    TW_RETURN_IF_ERROR(plan::pipeline_spans(e.basis, s.stack.constants, drawn, spans));
  } else {
    constexpr auto kKind = plan::ScheduleKind::kOneForwardOneBackward;
    TW_RETURN_IF_ERROR(plan::simulate(plan::make_schedule(kKind, p, 1, drawn), 1, e.pipeline, &spans));
  }
  std::vector<std::string> kinds = {"forward", "backward"};
  if (e.plan.zero_bubble) kinds.emplace_back("weight gradients");
  const auto kind_of = [](plan::Act act) {
    return act == plan::Act::kForward ? 0 : act == plan::Act::kBackwardWeight ? 2 : 1;
  };
  std::vector<std::string> rows;
  rows.reserve(static_cast<std::size_t>(p));
  for (int i = 0; i < p; ++i)
    rows.push_back(e.placed.empty()
                       ? fmt::format("stage {}", i)
                       : fmt::format("stage {}, {}", i, s.kinds[e.placed[i].kind].accelerator.name));
  std::vector<TimelineSpan> boxes;
  boxes.reserve(spans.size());
  for (const plan::ScheduleSpan& span : spans)
    boxes.push_back({span.stage, kind_of(span.act), span.start, span.end,
                     fmt::format("{} of micro-batch {}, {}", kinds[kind_of(span.act)], span.micro_batch,
                                 seconds_text(span.end - span.start))});
  page.timeline(kinds, rows, boxes, axis_seconds);
  return base::Ok{};
}

base::Status add_sensitivity(HtmlPage& page, const plan::Setting& s, const plan::Estimate& e) {
  TW_ASSIGN_OR_RETURN(const std::vector<plan::Sensitivity> found, plan::sensitivity(s, e.plan));
  double days = 0;
  for (const plan::Figure& f : e.figures) {
    if (f.key == "days" && f.value) days = f.value->value;
  }
  page.heading("What the days hang on");
  page.paragraph(
      fmt::format("Wall-clock days with each input 20 % lower and 20 % higher, around {}.", days_text(days)));
  std::vector<RangeRow> rows;
  rows.reserve(found.size());
  for (const plan::Sensitivity& row : found) rows.push_back({row.input, row.days_lower, row.days_higher});
  page.ranges(rows, days, days_text);
  return base::Ok{};
}

std::string what(const plan::Setting& s) {
  return fmt::format(
      "{} parameters ({}), {} tokens in {} sequences a step, {}; software: {}, {}",
      spec::measure_text(spec::Dimension::kCount, static_cast<double>(s.model.config.parameter_count())),
      plan::provenance_name(s.model.provenance),
      count_text(static_cast<double>(s.job.batch * s.job.sequence)), s.job.batch, s.job.precision,
      s.stack.stack.name,
      s.stack.rows > 0 || s.accelerator.machine != nullptr
          ? fmt::format("{} measured runs", s.stack.rows)
          : "no measured runs: the median stack's constants");
}

base::Status add_plan(HtmlPage& page, const plan::Setting& s, const plan::Estimate& e) {
  page.heading(fmt::format("{} on {} accelerators", e.plan.text(), e.plan.ranks()));
  add_figures(page, e.figures);
  add_placed(page, s, e);
  add_time(page, e);
  add_memory(page, e);
  TW_RETURN_IF_ERROR(add_pipeline(page, s, e));
  return add_sensitivity(page, s, e);
}

/// The fastest plan for each number of accelerators.
void add_counts(HtmlPage& page, const std::vector<SearchPage>& searches) {
  std::vector<std::vector<std::string>> rows;
  std::vector<ScatterPoint> points;
  std::string money = "rent_usd";
  const auto of = [](const plan::Estimate& e, std::string_view key) -> const plan::Figure* {
    for (const plan::Figure& f : e.figures) {
      if (f.key == key) return &f;
    }
    return nullptr;
  };
  if (!searches[0].best->empty()) {
    const plan::Figure* rent = of((*searches[0].best)[0], money);
    if (rent == nullptr || !rent->value) money = "own_usd";
  }
  const auto text = [](const plan::Figure* f) {
    return f != nullptr && f->value ? count_text(f->value->value) + " " + f->value->unit : std::string("-");
  };
  for (const SearchPage& s : searches) {
    const std::string count = machines_text(*s.setting);
    if (s.best->empty()) {
      rows.push_back({count, "-", "-", "-", "none fits"});
      continue;
    }
    const plan::Estimate& e = (*s.best)[0];
    const plan::Figure *days = of(e, "days"), *usd = of(e, money);
    rows.push_back({count, text(days), text(usd), text(of(e, "megawatt_hours")), e.plan.text()});
    if (days != nullptr && days->value && usd != nullptr && usd->value)
      points.push_back(
          {days->value->value, usd->value->value, count + ": " + text(days) + ", " + text(usd), false});
  }
  page.heading("How many accelerators");
  page.table({"", "days", money == "rent_usd" ? "to rent" : "to own", "energy", "fastest plan"}, rows);
  std::sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.x < b.x; });
  page.scatter(
      "wall-clock days", "money", points, [](double v) { return fmt::format("{:g} days", v); },
      [](double v) { return count_text(v) + " USD"; });
}

void add_search(HtmlPage& page, const SearchPage& s) {
  page.heading(machines_text(*s.setting));
  page.paragraph(fmt::format("{:.0f} plans, {:.0f} computed, {:.0f} skipped by bounds, {:.0f} fit.",
                             s.found->space, s.found->computed, s.found->skipped, s.found->fit));
  if (!s.unfit.empty()) page.paragraph("The fastest that does not fit: " + s.unfit);
  if (s.best->empty()) return;
  const std::size_t shown = std::min(s.why.size(), s.best->size());
  std::vector<std::vector<std::string>> rows;
  std::vector<BarRow> times, memories;
  double slowest = 0;
  for (std::size_t i = 0; i < shown; ++i) {
    const plan::Estimate& e = (*s.best)[i];
    rows.push_back(
        {e.plan.text(), seconds_text(e.step_seconds), bytes_text(e.stages[e.fullest].total()), s.why[i]});
    times.push_back(bar_of(e.plan.text(), time_parts(e.step)));
    memories.push_back(bar_of(e.plan.text(), memory_parts(e.stages[e.fullest])));
    slowest = std::max(slowest, e.step.total());
  }
  page.table({"plan", "a step", "memory", "against the first"}, rows);
  page.paragraph("A step's time:");
  page.stacked_bars(names_of(time_parts((*s.best)[0].step)), times, slowest, seconds_text);
  page.paragraph(fmt::format("Memory of the fullest rank, of {}:", bytes_text((*s.best)[0].capacity)));
  page.stacked_bars(names_of(memory_parts((*s.best)[0].stages[0])), memories, (*s.best)[0].capacity,
                    bytes_text);
  std::vector<ScatterPoint> points;
  points.reserve(s.found->front.size());
  for (const plan::FoundPlan& f : s.found->front)
    points.push_back({f.seconds, f.bytes,
                      fmt::format("{}: {}, {}", f.plan.text(), seconds_text(f.seconds), bytes_text(f.bytes)),
                      f.plan.text() == (*s.best)[0].plan.text()});
  page.paragraph(
      fmt::format("The front of time against memory: none of its {} plans is beaten in both. Larger: the "
                  "first of the table.",
                  points.size()));
  page.scatter("a step", "memory", points, axis_seconds, bytes_text);
}

}  // namespace

base::Result<std::string> estimate_page(const plan::Setting& s, const plan::Estimate& e) {
  HtmlPage page(fmt::format("{} on {}", s.model.name, machines_text(s)));
  page.paragraph(what(s));
  TW_RETURN_IF_ERROR(add_plan(page, s, e));
  return page.text();
}

base::Result<std::string> search_page(const std::vector<SearchPage>& searches, const plan::Estimate& chosen,
                                      const plan::Setting& setting) {
  HtmlPage page(fmt::format("Plans for {}", setting.model.name));
  page.paragraph(what(setting));
  if (searches.size() > 1) add_counts(page, searches);
  for (const SearchPage& search : searches) add_search(page, search);
  TW_RETURN_IF_ERROR(add_plan(page, setting, chosen));
  return page.text();
}

namespace {

void add_serve_options(HtmlPage& page, const plan::ServeSetting& s, const plan::ServeAnswer& a, int others) {
  std::vector<plan::ServeOption> shown = {a.best};
  for (const plan::ServeOption& o : a.others) {
    if (static_cast<int>(shown.size()) <= others) shown.push_back(o);
  }
  const std::vector<std::string> parts = {"weights", "keys and values, on average", "room for more of them",
                                          "framework"};
  std::vector<std::vector<std::string>> rows;
  std::vector<BarRow> memories;
  for (const plan::ServeOption& o : shown) {
    rows.push_back({o.text(), count_text(std::round(o.tokens_per_second)), seconds_text(o.first_token),
                    seconds_text(o.output_token), bytes_text(o.weights), bytes_text(o.cache)});
    memories.push_back({o.text(),
                        {o.weights, o.cache, std::max(0.0, o.room - o.cache),
                         std::max(0.0, 0.9 * s.memory - o.weights - o.room)}});
  }
  page.heading("Divisions, the best batch of each");
  page.table({"", "tokens/s", "first token", "between tokens", "weights", "cache"}, rows);
  page.heading("Memory of a rank");
  page.paragraph(fmt::format("A full bar is the accelerator's {}, of which software leaves a tenth free.",
                             bytes_text(s.memory)));
  page.stacked_bars(parts, memories, s.memory, bytes_text);
}

void add_serve_front(HtmlPage& page, const plan::ServeAnswer& a) {
  std::vector<ScatterPoint> points;
  points.reserve(a.front.size());
  for (const plan::ServeOption& o : a.front)
    points.push_back({o.output_token * 1e3, o.tokens_per_second,
                      fmt::format("{}: {} tokens/s, {} between tokens", o.text(),
                                  count_text(std::round(o.tokens_per_second)), seconds_text(o.output_token)),
                      o.text() == a.best.text()});
  if (points.size() < 2) return;
  page.heading("Throughput against latency");
  page.paragraph(fmt::format(
      "Of all divisions and batches the {} that no other beats in both, in closed form. Larger: the plan.",
      points.size()));
  page.scatter(
      "between tokens", "tokens a second", points, [](double v) { return fmt::format("{:g} ms", v); },
      [](double v) { return count_text(v); });
}

}  // namespace

base::Result<std::string> serve_page(const plan::ServeSetting& s, const plan::ServeAnswer& a, int others) {
  HtmlPage page(
      fmt::format("{} served on {} x {}", s.model.name, s.cluster.accelerators, s.accelerator.name));
  const std::string runs =
      s.stack.rows > 0 ? fmt::format("{} measured runs", s.stack.rows) : std::string("no measured runs");
  page.paragraph(fmt::format("{} parameters ({}) in {}, up to {} tokens in and {} out; software: {}, {}",
                             count_text(static_cast<double>(s.model.config.parameter_count())),
                             plan::provenance_name(s.model.provenance), s.job.precision, s.job.input,
                             s.job.output, s.stack.stack.name, runs));
  page.heading(a.best.text());
  add_figures(page, a.figures);
  add_serve_front(page, a);
  add_serve_options(page, s, a, others);
  TW_ASSIGN_OR_RETURN(const auto parts, plan::token_parts(s, a.best));
  page.heading("A token's time");
  page.stacked_bars(names_of(parts), {bar_of(a.best.text(), parts)}, a.best.output_token, seconds_text);
  TW_ASSIGN_OR_RETURN(const auto found, plan::serve_sensitivity(s, a.best));
  if (found.empty()) return page.text();
  const auto speed_text = [](double v) { return count_text(std::round(v)) + "/s"; };
  page.heading("What the tokens a second hang on");
  page.paragraph(fmt::format("With each input 20 % lower and 20 % higher, around {}.",
                             speed_text(a.best.tokens_per_second)));
  std::vector<RangeRow> rows;
  rows.reserve(found.size());
  for (const plan::ServeSensitivity& row : found) rows.push_back({row.input, row.lower, row.higher});
  page.ranges(rows, a.best.tokens_per_second, speed_text);
  return page.text();
}

std::string network_page(const plan::NetworkPlan& p) {
  HtmlPage page(
      fmt::format("A network of {} endpoints of {}", p.endpoints, plan::line_rate_text(p.spec.nic.value)));
  page.paragraph(p.shape);
  std::vector<std::vector<std::string>> rows;
  rows.reserve(p.tiers.size());
  for (const plan::SwitchTier& t : p.tiers)
    rows.push_back({t.name, fmt::format("{}", t.switches),
                    fmt::format("{} x {}", t.radix, plan::line_rate_text(t.port_rate)),
                    fmt::format("{}", t.ports_used),
                    fmt::format("{} x {}", t.down, plan::line_rate_text(t.down_rate)),
                    t.up > 0 ? fmt::format("{} x {}", t.up, plan::line_rate_text(t.up_rate)) : "-"});
  if (!rows.empty()) {
    page.heading("Switches");
    page.table({"tier", "switches", "ports of one", "used", "down", "up"}, rows);
  }
  page.heading("Cables");
  rows.clear();
  for (const plan::CableRun& c : p.cables)
    rows.push_back({c.name, fmt::format("{}", c.count), plan::line_rate_text(c.rate),
                    fmt::format("{}", c.count * c.transceivers)});
  page.table({"run", "cables", "speed", "transceivers"}, rows);
  page.heading(p.non_blocking ? "Non-blocking: yes" : "Non-blocking: no");
  rows.clear();
  for (const plan::NetworkCheck& c : p.checks) rows.push_back({c.text, c.ok ? "ok" : "no"});
  page.table({"check", ""}, rows);
  page.heading("Numbers");
  add_figures(page, p.figures);
  return page.text();
}

base::Status write_page(const std::string& file, const std::string& text) {
  return base::write_file_atomically(file, text);
}

}  // namespace tw::cli
