#include <cstdio>
#include <set>

#include "base/affinity.h"
#include "base/cpu.h"
#include "base/env.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/startup.h"
#include "kernels/table.h"

namespace tw::cli {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#else
constexpr const char* kCompiler = "gcc " __VERSION__;
#endif

std::string feature_list(const kernels::CpuFeatures& f) {
  const std::pair<bool, const char*> kNames[] = {{f.avx2, "avx2"},
                                                 {f.fma, "fma"},
                                                 {f.f16c, "f16c"},
                                                 {f.avxvnni, "avx-vnni"},
                                                 {f.avx512f, "avx512f"},
                                                 {f.avx512bw, "avx512bw"},
                                                 {f.avx512vl, "avx512vl"},
                                                 {f.avx512dq, "avx512dq"},
                                                 {f.avx512vnni, "avx512-vnni"},
                                                 {f.avx512bf16, "avx512-bf16"},
                                                 {f.gfni, "gfni"},
                                                 {f.amx_int8, "amx-int8"},
                                                 {f.amx_bf16, "amx-bf16"}};
  std::string list;
  for (const auto& [has, name] : kNames) {
    if (has) list += (list.empty() ? "" : " ") + std::string(name);
  }
  return list.empty() ? "none beyond the base set" : list;
}

base::OrderedJson collect(const kernels::Table& table) {
  const base::Machine m = base::detect_machine();
  const kernels::CpuFeatures features = kernels::detect_features();
  base::OrderedJson j;
  j["version"] = TW_VERSION;
  j["compiler"] = kCompiler;
  j["cpu"] = m.cpu_name;
  j["features"] = feature_list(features);
  j["kernels"] = table.name;
  j["kernel_sets"] = kernels::available_sets(features);
  for (int type = 0; type < base::kDTypeCount; ++type) {
    const auto dtype = static_cast<base::DType>(type);
    if (dtype == base::DType::kI8 || dtype == base::DType::kI32 || dtype == base::DType::kI64) continue;
    const kernels::MatmulPath* prefill = table.prefill[type];
    const std::string decode = table.matmul[type]->decode.name;
    j["matmul"][std::string(base::dtype_name(dtype))] =
        prefill == nullptr ? decode : fmt::format("{}; prompts: {}", decode, prefill->name);
  }
  std::set<int> nodes;
  for (const base::Cpu& cpu : base::usable_cpus()) nodes.insert(cpu.node);
  const base::Placement placement = base::place_threads(0, {}).value();  // all that are allowed: no error
  j["cpus"] = m.online_cpus;
  j["cores"] = m.physical_cores;
  j["cgroup_cpus"] = m.cgroup_cpus;
  j["numa_nodes"] = nodes.size();
  j["threads"] = placement.size();
  j["thread_cpus"] = base::placement_text(placement);
  j["l2_bytes"] = m.l2_bytes;
  j["l3_bytes"] = m.l3_bytes;
  j["memory_bytes"] = m.memory_bytes;
  j["memory_limit"] = m.memory_limit;
  j["memory_available"] = m.memory_available;
  for (const base::env::Variable& variable : base::env::variables()) {
    const std::optional<std::string> value = base::env::shown_value(variable);
    j["environment"][std::string(variable.name)] = value ? base::OrderedJson(*value) : base::OrderedJson();
  }
  return j;
}

int info(const std::string& isa, bool json) {
  auto table = kernels::make_table(wanted_isa(isa), kernels::detect_features());
  if (!table.ok()) return fail(table.error());
  const base::OrderedJson j = collect(*table);
  if (json) {
    std::printf("%s\n", base::dump_json(j).c_str());
    return 0;
  }
  for (const auto& [key, value] : j.items()) {
    if (!value.is_object()) {
      std::printf("%-18s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
      continue;
    }
    std::printf("%s\n", key.c_str());
    for (const auto& [inner, name] : value.items()) {
      std::printf("  %-18s %s\n", inner.c_str(),
                  name.is_string() ? name.get<std::string>().c_str() : "(not set)");
    }
  }
  return 0;
}

}  // namespace

void add_info(CLI::App& app, int& exit_code) {
  struct Options {
    std::string isa;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("info",
                                      "Show this machine and what the program makes of it: processor, "
                                      "kernels, threads, memory, environment.");
  verb->add_option("--isa", options->isa,
                   "the kernel set to describe (default: the best this processor has)");
  verb->add_flag("--json", options->json, "one JSON document");
  verb->footer("Examples:\n  tokenworks info\n  tokenworks info --isa ref --json");
  verb->callback([options, &exit_code] { exit_code = info(options->isa, options->json); });
}

}  // namespace tw::cli
