#include "cli/plan_inputs.h"

#include "base/mmap.h"
#include "spec/field_file.h"

namespace tw::cli {
namespace {

template <typename Config>
base::Status fill(const std::string& file, const GivenFields& given, Config& config) {
  if (!file.empty()) {
    TW_ASSIGN_OR_RETURN(const std::string text, read_small_file(file));
    TW_RETURN_IF_ERROR(spec::read_fields(text, file, config));
  }
  for (const auto& [name, text] : given) TW_RETURN_IF_ERROR(spec::set_by_name(config, name, text));
  return base::Ok{};
}

}  // namespace

base::Result<std::string> read_small_file(const std::string& path) {
  return base::read_file(path, std::size_t{1} << 20);
}

base::Result<plan::Setting> PlanInputs::setting() const {
  TW_ASSIGN_OR_RETURN(plan::PlannedModel found, plan::find_model(model));
  spec::TrainJob train;
  TW_RETURN_IF_ERROR(fill(job_file, job, train));
  spec::ClusterSpec machines;
  TW_RETURN_IF_ERROR(fill(cluster_file, cluster, machines));
  return plan::make_setting(std::move(found), std::move(train), std::move(machines));
}

void add_plan_inputs(CLI::App& verb, PlanInputs& inputs) {
  verb.add_option("model", inputs.model,
                  "a preset such as llama-3-8b, a config.json, or a model's file or folder")
      ->required();
  verb.add_option("--job", inputs.job_file, "JSON file with fields of the job; flags win")->type_name("FILE");
  verb.add_option("--cluster", inputs.cluster_file, "JSON file with fields of the cluster; flags win")
      ->type_name("FILE");
  add_field_flags<spec::TrainJob>(verb, inputs.job, "Job");
  add_field_flags<spec::ClusterSpec>(verb, inputs.cluster, "Cluster");
}

}  // namespace tw::cli
