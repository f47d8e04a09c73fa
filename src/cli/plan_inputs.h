// What `plan estimate`, `plan search` and `plan serve` are told: a model, a job and a cluster, by files and
// flags.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/plan.h"
#include "plan/setting.h"
#include "spec/field_file.h"

namespace tw::cli {

/// Flags whose text is set into a field after the file was read: a flag wins.
using GivenFields = std::vector<std::pair<std::string, std::string>>;

struct PlanInputs {
  std::string model, job_file, cluster_file;
  GivenFields job, cluster;

  /// Reads and checks everything; errors name file and line, or the flag.
  base::Result<plan::Setting> setting() const;
};

/// Reads a file into a struct by its field list.
base::Result<std::string> read_small_file(const std::string& path);

/// Fields of a file, if there is one, and then of flags.
template <typename Config>
base::Status fill_fields(const std::string& file, const GivenFields& given, Config& config) {
  if (!file.empty()) {
    TW_ASSIGN_OR_RETURN(const std::string text, read_small_file(file));
    TW_RETURN_IF_ERROR(spec::read_fields(text, file, config));
  }
  for (const auto& [name, text] : given) TW_RETURN_IF_ERROR(spec::set_by_name(config, name, text));
  return base::Ok{};
}

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

/// The model, --job and --cluster; a flag for each field of a cluster.
void add_plan_files(CLI::App& verb, PlanInputs& inputs);
/// The same and a flag for each field of a training job.
void add_plan_inputs(CLI::App& verb, PlanInputs& inputs);

}  // namespace tw::cli
