#include <cstdio>

#include "cli/plan.h"
#include "cli/startup.h"
#include "plan/catalogue.h"
#include "plan/csv.h"

namespace tw::cli {
namespace {

using plan::Accelerator;
using plan::Field;

constexpr Field kShown[] = {Field::kBf16,
                            Field::kFp16,
                            Field::kFp8,
                            Field::kFp4,
                            Field::kMemory,
                            Field::kMemoryBandwidth,
                            Field::kScaleUpBandwidth,
                            Field::kScaleUpDomain,
                            Field::kNic,
                            Field::kHostLink,
                            Field::kTdp,
                            Field::kPrice};

struct Options {
  std::string name;
  bool json = false, csv = false;
};

std::string cell(const std::optional<double>& value) {
  return value ? fmt::format("{:g}", *value) : std::string("-");
}

base::OrderedJson describe(const Accelerator& a) {
  base::OrderedJson j = {{"name", a.name}, {"vendor", a.vendor}, {"year", a.year}};
  for (int i = 0; i < plan::kFields; ++i) {
    const auto field = static_cast<Field>(i);
    const auto quantity = a.get(field);
    j[plan::field_info(field).column] = quantity.ok() ? to_json(*quantity) : base::OrderedJson();
  }
  j["memory_type"] = a.memory_type;
  if (!a.fp8_why.empty()) j["fp8_why"] = a.fp8_why;
  j["source"] = a.source;
  return j;
}

void print_csv(const std::vector<const Accelerator*>& list) {
  std::printf("name,field,value,low,high,unit,provenance,source\n");
  for (const Accelerator* a : list) {
    for (int i = 0; i < plan::kFields; ++i) {
      const auto field = static_cast<Field>(i);
      const auto q = a->get(field);
      if (!q.ok()) continue;
      std::printf("%s,%s,%g,%g,%g,%s,%s,%s\n", plan::csv_field(a->name).c_str(),
                  plan::field_info(field).column, q->value, q->low, q->high, q->unit.c_str(),
                  std::string(plan::provenance_name(q->provenance)).c_str(),
                  plan::csv_field(a->source).c_str());
    }
  }
}

void print_table(const std::vector<const Accelerator*>& list) {
  std::printf(
      "Dense peaks; TFLOP/s, GB, GB/s (scale-up, NIC and host link per direction), W, USD. -: nobody "
      "says.\n");
  std::printf("%-31s %4s", "accelerator", "year");
  for (const Field field : kShown) std::printf(" %9s", plan::field_info(field).title);
  std::printf("  provenance\n");
  for (const Accelerator* a : list) {
    // Columns count characters, printf bytes: a name beyond ASCII gets its difference.
    std::size_t width = 31;
    for (const char c : a->name) width += (static_cast<unsigned char>(c) & 0xC0) == 0x80 ? 1 : 0;
    std::printf("%-*s %4d", static_cast<int>(width), a->name.c_str(), a->year);
    for (const Field field : kShown) std::printf(" %9s", cell((*a)[field]).c_str());
    std::printf("  %s\n", std::string(plan::provenance_name(a->provenance)).c_str());
  }
  std::printf("Prices are estimates (25 %% either way). --json gives ranges and sources.\n");
}

int catalog(const Options& options) {
  std::vector<const Accelerator*> list;
  if (options.name.empty()) {
    for (const Accelerator& a : plan::Catalogue::shipped().accelerators()) list.push_back(&a);
  } else {
    auto found = plan::Catalogue::shipped().find(options.name);
    if (!found.ok()) return fail(found.error());
    list.push_back(*found);
  }
  if (options.json) {
    base::OrderedJson all = base::OrderedJson::array();
    for (const Accelerator* a : list) all.push_back(describe(*a));
    std::printf("%s\n", base::dump_json(all).c_str());
  } else if (options.csv) {
    print_csv(list);
  } else {
    print_table(list);
  }
  return 0;
}

}  // namespace

void add_plan_catalog(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand("catalog", "List the accelerators that plans can be made for.");
  verb->add_option("name", options->name, "one accelerator, such as H100 or TPUv5p (default: all)");
  verb->add_flag("--json", options->json, "one JSON document: value, range, unit, provenance and source");
  verb->add_flag("--csv", options->csv, "one line a number")->excludes("--json");
  verb->footer("Examples:\n  tokenworks plan catalog\n  tokenworks plan catalog GB200 --json");
  verb->callback([options, &exit_code] { exit_code = catalog(*options); });
}

}  // namespace tw::cli
