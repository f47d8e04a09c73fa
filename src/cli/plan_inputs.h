// What `plan estimate` and `plan search` are told: a model, a job and a cluster, by files and flags.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/plan.h"
#include "plan/setting.h"

namespace tw::cli {

/// Flags whose text is set into a field after the file was read: a flag wins.
using GivenFields = std::vector<std::pair<std::string, std::string>>;

struct PlanInputs {
  std::string model, job_file, cluster_file;
  GivenFields job, cluster;

  /// Reads and checks everything; errors name file and line, or the flag.
  base::Result<plan::Setting> setting() const;
};

/// A flag for each field of Config's list, but for those in `without`.
template <typename Config>
void add_field_flags(CLI::App& verb, GivenFields& given, const char* group, const std::string& without = {}) {
  Config defaults;
  Config::visit(defaults, [&](const char* name, auto& field, const char* help) {
    if (without == name) return;
    const std::string flag = "--" + std::string(name), key = name;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, bool>) {
      verb.add_flag_callback(flag, [&given, key] { given.emplace_back(key, "true"); }, help)->group(group);
    } else {
      verb.add_option_function<std::string>(
              flag, [&given, key](const std::string& text) { given.emplace_back(key, text); }, help)
          ->group(group);
    }
  });
}

/// The model, --job, --cluster and a flag for each field.
void add_plan_inputs(CLI::App& verb, PlanInputs& inputs);

/// Reads a file into a struct by its field list.
base::Result<std::string> read_small_file(const std::string& path);

}  // namespace tw::cli
