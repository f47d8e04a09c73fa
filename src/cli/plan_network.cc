#include <cstdio>

#include "cli/plan_inputs.h"
#include "cli/plan_page.h"
#include "cli/plan_report.h"
#include "cli/startup.h"
#include "plan/csv.h"
#include "plan/network.h"

namespace tw::cli {
namespace {

struct Options {
  GivenFields network;
  std::string file, html;
  bool json = false, csv = false;
};

void print_table(const plan::NetworkPlan& p) {
  std::printf("%lld endpoints of %s: %s\n", static_cast<long long>(p.endpoints),
              plan::line_rate_text(p.spec.nic.value).c_str(), p.shape.c_str());
  if (!p.tiers.empty())
    std::printf("\n%-16s %9s %6s %10s %11s %6s %11s %6s %11s\n", "tier", "switches", "ports", "speed",
                "ports used", "down", "each", "up", "each");
  for (const plan::SwitchTier& t : p.tiers)
    std::printf("%-16s %9lld %6d %10s %11lld %6lld %11s %6lld %11s\n", t.name.c_str(),
                static_cast<long long>(t.switches), t.radix, plan::line_rate_text(t.port_rate).c_str(),
                static_cast<long long>(t.ports_used), static_cast<long long>(t.down),
                plan::line_rate_text(t.down_rate).c_str(), static_cast<long long>(t.up),
                t.up > 0 ? plan::line_rate_text(t.up_rate).c_str() : "-");
  std::printf("\n%-26s %9s %10s %13s\n", "cables", "count", "speed", "transceivers");
  for (const plan::CableRun& c : p.cables)
    std::printf("%-26s %9lld %10s %13lld\n", c.name.c_str(), static_cast<long long>(c.count),
                plan::line_rate_text(c.rate).c_str(), static_cast<long long>(c.count) * c.transceivers);
  std::printf("\nnon-blocking: %s\n", p.non_blocking ? "yes (any pairs at full rate, once routed so)" : "no");
  for (const plan::NetworkCheck& c : p.checks) std::printf("  %-3s %s\n", c.ok ? "ok" : "no", c.text.c_str());
  std::printf("\n");
  print_figures(p.figures);
}

base::OrderedJson rate_json(double bytes_per_second, plan::Provenance provenance) {
  return to_json(plan::Quantity::around(bytes_per_second, 0, "B/s", provenance));
}

base::OrderedJson network_json(const plan::NetworkPlan& p) {
  base::OrderedJson j = {{"topology", p.spec.topology},
                         {"shape", p.shape},
                         {"endpoints", p.endpoints},
                         {"non_blocking", p.non_blocking}};
  j["tiers"] = base::OrderedJson::array();
  for (const plan::SwitchTier& t : p.tiers) {
    const bool leaf = &t == &p.tiers.front();
    j["tiers"].push_back(
        {{"name", t.name},
         {"switches", t.switches},
         {"ports", t.radix},
         {"port_bytes_per_second", rate_json(t.port_rate, leaf ? p.leaf_speed : p.spine_speed)},
         {"ports_used", t.ports_used},
         {"down", t.down},
         {"down_bytes_per_second",
          rate_json(t.down_rate, leaf ? plan::Provenance::kAssumed : p.between_speed)},
         {"up", t.up},
         {"up_bytes_per_second", rate_json(t.up_rate, p.between_speed)}});
  }
  for (const plan::CableRun& c : p.cables)
    j["cables"].push_back(
        {{"name", c.name},
         {"count", c.count},
         {"bytes_per_second",
          rate_json(c.rate, &c == &p.cables.front() ? plan::Provenance::kAssumed : p.between_speed)},
         {"transceivers", c.count * c.transceivers}});
  for (const plan::NetworkCheck& c : p.checks) j["checks"].push_back({{"text", c.text}, {"ok", c.ok}});
  j["figures"] = figures_json(p.figures);
  return j;
}

void print_csv(const plan::NetworkPlan& p) {
  print_figures_csv(p.figures);
  const auto line = [](const std::string& key, std::int64_t count) {
    std::printf("%s,%lld,%lld,%lld,,extrapolated\n", plan::csv_field(key).c_str(),
                static_cast<long long>(count), static_cast<long long>(count), static_cast<long long>(count));
  };
  for (const plan::SwitchTier& t : p.tiers) line("switches: " + t.name, t.switches);
  for (const plan::CableRun& c : p.cables) line("cables: " + c.name, c.count);
  std::printf("non_blocking,%d,%d,%d,,extrapolated\n", p.non_blocking, p.non_blocking, p.non_blocking);
}

int run(const Options& options) {
  spec::NetworkSpec wanted;
  if (auto status = fill_fields(options.file, options.network, wanted); !status.ok())
    return fail(status.error());
  const auto p = plan::size_network(wanted);
  if (!p.ok()) return fail(p.error());
  if (!options.html.empty()) {
    if (auto written = write_page(options.html, network_page(*p)); !written.ok())
      return fail(written.error());
  }
  if (options.json)
    std::printf("%s\n", base::dump_json(network_json(*p)).c_str());
  else if (options.csv)
    print_csv(*p);
  else
    print_table(*p);
  return 0;
}

}  // namespace

void add_plan_network(CLI::App& plan, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = plan.add_subcommand(
      "network", "Size a network: switches, cables, optics, watts, and whether it is non-blocking.");
  verb->add_option("--network", options->file, "JSON file with these fields; flags win")->type_name("FILE");
  add_field_flags<spec::NetworkSpec>(*verb, options->network, "Network");
  verb->add_flag("--json", options->json, "one JSON document");
  verb->add_flag("--csv", options->csv, "one line a number")->excludes("--json");
  verb->add_option("--html", options->html, "write a page with tables")->type_name("FILE");
  verb->footer(
      "Examples:\n  tokenworks plan network --topology rail --nodes 128 --switch QM9700 --nic \"400 Gb/s\"\n"
      "  tokenworks plan network --nodes 2250 --nic \"400 Gb/s\" --radix 64 --spine-switch XH16800 --tiers "
      "2\n"
      "  tokenworks plan network --topology torus --torus 16x16x16 --cube 4 --nic \"400 Gb/s\"");
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace tw::cli
