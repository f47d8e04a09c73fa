#include "cli/plan_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "plan/csv.h"
#include "plan/machine_step.h"

namespace tw::cli {
namespace {

std::string bytes_text(double bytes) {
  return spec::measure_text(spec::Dimension::kBytes, bytes);
}

void print_parts(const char* title, double total, const std::vector<std::pair<const char*, double>>& parts,
                 bool bytes) {
  std::printf("\n%s\n", title);
  for (const auto& [name, value] : parts) {
    if (value <= 1e-9 * total) continue;  // rounding leaves a little of nothing
    std::printf("  %-28s %10s %6.1f %%\n", name,
                (bytes ? bytes_text(value) : spec::measure_text(spec::Dimension::kSeconds, value)).c_str(),
                100 * value / total);
  }
}

void print_csv_line(const std::string& key, const plan::Quantity& q) {
  std::printf("%s,%.6g,%.6g,%.6g,%s,%s\n", key.c_str(), q.value, q.low, q.high,
              plan::csv_field(q.unit).c_str(), std::string(plan::provenance_name(q.provenance)).c_str());
}

}  // namespace

plan::Quantity extrapolated(double value, double spread, const char* unit) {
  return plan::Quantity::around(value, spread, unit, plan::Provenance::kExtrapolated);
}

plan::Quantity memory_quantity(double bytes) {
  return extrapolated(bytes, plan::kMemorySpread, "B");
}

/// Buffers of a host take up to half as much again.
plan::Quantity host_quantity(double bytes) {
  return {bytes, bytes, 1.5 * bytes, "B", plan::Provenance::kExtrapolated};
}

std::string figure_text(double value) {
  const double size = std::fabs(value);
  if (value == std::round(value) && size < 1e6) return fmt::format("{:.0f}", value);
  if (size >= 1e6) return fmt::format("{:.3g}", value);
  return size >= 1000 ? fmt::format("{:.0f}", value)
                      : fmt::format("{:.{}f}", value,
                                    size >= 100 ? 1
                                    : size >= 1 ? 2
                                                : 4);
}

std::vector<std::pair<const char*, double>> time_parts(const plan::StepTime& t) {
  return {{"products and rows", t.compute},
          {"recomputation", t.recompute},
          {"tp, cp, ep, ZeRO-3 exchange", t.communication},
          {"waiting stages (bubble)", t.bubble},
          {"sends between stages", t.sends},
          {"gradients", t.gradients},
          {"optimizer", t.optimizer},
          {"transfers to the host", t.host},
          {"other (stack)", t.other}};
}

std::vector<std::pair<const char*, double>> memory_parts(const plan::StageMemory& m) {
  return {{"weights", m.weights},
          {"gradients", m.gradients},
          {"optimizer", m.optimizer},
          {"activations", m.activations},
          {"logits", m.logits},
          {"communication buffers", m.buffers},
          {"framework and fragmentation", m.overhead}};
}

std::vector<std::pair<const char*, double>> host_parts(const plan::StageMemory& m) {
  return {{"weights", m.host_weights}, {"gradients", m.host_gradients}, {"optimizer", m.host_optimizer}};
}

void print_figures(const std::vector<plan::Figure>& figures) {
  std::size_t width = 22;
  for (const plan::Figure& f : figures) width = std::max(width, f.title.size());
  const auto title = static_cast<int>(width);
  std::printf("%-*s %10s %10s %10s  %-18s %-13s %s\n", title, "", "value", "low", "high", "unit",
              "provenance", "how");
  for (const plan::Figure& f : figures) {
    if (!f.value) {
      std::printf("%-*s %10s  %s\n", title, f.title.c_str(), "-", f.missing.c_str());
      continue;
    }
    std::printf("%-*s %10s %10s %10s  %-18s %-13s %s\n", title, f.title.c_str(),
                figure_text(f.value->value).c_str(), figure_text(f.value->low).c_str(),
                figure_text(f.value->high).c_str(), f.value->unit.c_str(),
                std::string(plan::provenance_name(f.value->provenance)).c_str(), f.how.c_str());
  }
}

std::string machines_text(const plan::Setting& s) {
  std::string text = fmt::format("{} x {}", s.cluster.accelerators, s.accelerator.name);
  if (s.mixed())
    text += fmt::format(" and {} x {}", s.kinds[1].cluster.accelerators, s.kinds[1].accelerator.name);
  return text;
}

/// Where stages lie and what they do.
void print_placed(const plan::Setting& s, const plan::Estimate& e) {
  if (e.placed.empty()) return;
  std::printf("\nStages, of a micro-batch\n  %-9s %-26s %7s %12s %10s %10s %10s %10s\n", "stage", "kind",
              "layers", "are", "forward", "backward", "memory", "of");
  const auto seconds = [](double value) { return spec::measure_text(spec::Dimension::kSeconds, value); };
  for (std::size_t i = 0; i < e.placed.size(); ++i) {
    const plan::PlacedStage& p = e.placed[i];
    std::printf("  %-9zu %-26s %7d %5d-%-6d %10s %10s %10s %10s\n", i,
                s.kinds[p.kind].accelerator.name.c_str(), p.layers, p.first, p.first + p.layers - 1,
                seconds(p.forward).c_str(), seconds(p.backward).c_str(), bytes_text(p.memory.total()).c_str(),
                bytes_text(p.capacity).c_str());
  }
}

void print_software(const plan::Accelerator& a, const SoftwareLine& line) {
  if (a.machine != nullptr)
    std::printf("software: Tokenworks on %s with %d thread%s, by the measurements in %s\n", a.vendor.c_str(),
                a.machine->threads, a.machine->threads == 1 ? "" : "s", a.source.c_str());
  else if (line.rows > 0)
    std::printf("software: %s, constants fitted on %d measured runs (mean error %.1f %%)\n",
                line.name.c_str(), line.rows, 100 * line.error);
  else
    std::printf("software: %s has no measured runs: the median stack's constants%s\n", line.name.c_str(),
                line.measured.empty() ? "" : fmt::format(" (measured: {})", line.measured).c_str());
}

void print_software(const plan::Setting& s) {
  print_software(s.accelerator, {s.stack.stack.name, s.stack.rows, s.stack.error, s.stack.measured});
}

void print_estimate(const plan::Setting& s, const plan::Estimate& e) {
  std::printf(
      "%s, %s parameters (%s) on %s\n", s.model.name.c_str(),
      spec::measure_text(spec::Dimension::kCount, static_cast<double>(s.model.config.parameter_count()))
          .c_str(),
      std::string(plan::provenance_name(s.model.provenance)).c_str(), machines_text(s).c_str());
  std::printf("plan: %s, %lld micro-batches\n", e.plan.text().c_str(),
              static_cast<long long>(e.plan.micro_batches(s.job.batch)));
  print_software(s);
  std::printf("\n");
  print_figures(e.figures);
  print_placed(s, e);
  print_parts(e.placed.empty() ? "A step's time" : "A step's time, of the slowest stage", e.step.total(),
              time_parts(e.step), false);
  const plan::StageMemory& fullest = e.stages[e.fullest];
  const std::string title =
      fmt::format("Memory of the fullest rank (stage {} of {}): {} of {}, fits", e.fullest, e.stages.size(),
                  bytes_text(fullest.total()), bytes_text(e.capacity));
  print_parts(title.c_str(), e.capacity, memory_parts(fullest), true);
  if (e.plan.offload == spec::Offload::kNone) return;
  const std::string hosts = fmt::format("Memory of its host, for each accelerator: {} of {}",
                                        bytes_text(e.host_bytes()), bytes_text(e.host_capacity));
  print_parts(hosts.c_str(), e.host_capacity, host_parts(fullest), true);
}

void print_figures_csv(const std::vector<plan::Figure>& figures) {
  std::printf("key,value,low,high,unit,provenance\n");
  for (const plan::Figure& f : figures) {
    if (f.value)
      print_csv_line(f.key, *f.value);
    else
      std::printf("%s,,,,,%s\n", f.key.c_str(), plan::csv_field(f.missing).c_str());
  }
}

base::OrderedJson figures_json(const std::vector<plan::Figure>& figures) {
  base::OrderedJson j;
  for (const plan::Figure& f : figures) {
    j[f.key] = f.value ? to_json(*f.value) : base::OrderedJson{{"missing", f.missing}};
    if (f.value) j[f.key]["how"] = f.how;
  }
  return j;
}

void print_estimate_csv(const plan::Estimate& e) {
  print_figures_csv(e.figures);
  for (std::size_t i = 0; i < e.placed.size(); ++i)
    print_csv_line(fmt::format("layers_stage_{}_kind_{}", i, e.placed[i].kind + 1),
                   plan::Quantity::around(e.placed[i].layers, 0, "layers", plan::Provenance::kExtrapolated));
  for (std::size_t i = 0; i < e.stages.size(); ++i)
    print_csv_line(fmt::format("memory_stage_{}", i), memory_quantity(e.stages[i].total()));
  if (e.plan.offload == spec::Offload::kNone) return;
  for (std::size_t i = 0; i < e.stages.size(); ++i)
    print_csv_line(fmt::format("host_memory_stage_{}", i), host_quantity(e.stages[i].host()));
}

namespace {

/// What a run of the plan is told besides: `train --plan` takes it from here.
base::OrderedJson job_json(const plan::Setting& s) {
  const bool here = s.accelerator.machine != nullptr;
  const bool single = here && plan::machine_train_type(*s.accelerator.machine) == base::DType::kF32;
  return {{"sequence", s.job.sequence},
          {"batch", s.job.batch},
          {"steps", static_cast<std::int64_t>(s.job.total_steps())},
          {"precision", single ? "fp32" : s.job.precision}};
}

}  // namespace

base::OrderedJson estimate_json(const plan::Setting& s, const plan::Estimate& e) {
  base::OrderedJson j = {{"model", s.model.name},
                         {"parameters", s.model.config.parameter_count()},
                         {"accelerator", s.accelerator.name},
                         {"accelerator_source", s.accelerator.source},
                         {"accelerators", s.accelerators()},
                         {"stack", s.stack.stack.name},
                         {"stack_rows", s.stack.rows},
                         {"job", job_json(s)},
                         {"plan", base::OrderedJson::parse(spec::plan_file(e.plan))},
                         {"fits", e.fits()}};
  for (const plan::Kind& kind : s.kinds)
    j["kinds"].push_back({{"accelerator", kind.accelerator.name},
                          {"accelerator_source", kind.accelerator.source},
                          {"accelerators", kind.cluster.accelerators}});
  const double spread = s.spread(e.curves);
  const auto seconds_json = [&](double seconds) { return to_json(extrapolated(seconds, spread, "s")); };
  for (const plan::PlacedStage& p : e.placed) {
    const auto capacity = plan::Quantity::around(p.capacity, 0, "B", plan::Provenance::kDatasheet);
    j["stages"].push_back({{"kind", p.kind},
                           {"accelerator", s.kinds[p.kind].accelerator.name},
                           {"first_layer", p.first},
                           {"layers", p.layers},
                           {"forward_seconds", seconds_json(p.forward)},
                           {"backward_seconds", seconds_json(p.backward)},
                           {"send_seconds", seconds_json(p.send)},
                           {"capacity_bytes", to_json(capacity)}});
  }
  j["figures"] = figures_json(e.figures);
  for (const auto& [name, seconds] : time_parts(e.step)) j["step_seconds"][name] = seconds_json(seconds);
  if (const auto memory = s.memory(); memory.ok()) j["capacity_bytes"] = to_json(*memory);
  for (const plan::StageMemory& stage : e.stages) {
    base::OrderedJson parts;
    for (const auto& [name, bytes] : memory_parts(stage)) parts[name] = to_json(memory_quantity(bytes));
    parts["total"] = to_json(memory_quantity(stage.total()));
    j["memory_bytes_by_stage"].push_back(parts);
  }
  if (e.plan.offload == spec::Offload::kNone) return j;
  if (const auto memory = s.host_memory(); memory.ok()) j["host_capacity_bytes"] = to_json(*memory);
  for (const plan::StageMemory& stage : e.stages) {
    base::OrderedJson parts;
    for (const auto& [name, bytes] : host_parts(stage)) parts[name] = to_json(host_quantity(bytes));
    parts["total"] = to_json(host_quantity(stage.host()));
    j["host_memory_bytes_by_stage"].push_back(parts);
  }
  return j;
}

}  // namespace tw::cli
