#include "cli/plan_inputs.h"

#include "base/mmap.h"
#include "cli/this_machine.h"

namespace tw::cli {
base::Result<std::string> read_small_file(const std::string& path) {
  return base::read_file(path, std::size_t{1} << 20);
}

base::Result<plan::Setting> PlanInputs::setting() const {
  TW_ASSIGN_OR_RETURN(plan::PlannedModel found, plan::find_model(model));
  spec::TrainJob train;
  TW_RETURN_IF_ERROR(fill_fields(job_file, job, train));
  spec::ClusterSpec machines;
  TW_RETURN_IF_ERROR(fill_fields(cluster_file, cluster, machines));
  TW_RETURN_IF_ERROR(complete_this_machine(machines));
  TW_ASSIGN_OR_RETURN(plan::Setting made,
                      plan::make_setting(std::move(found), std::move(train), std::move(machines)));
  TW_RETURN_IF_ERROR(use_trainers_memory(made));
  return made;
}

void add_plan_files(CLI::App& verb, PlanInputs& inputs) {
  verb.add_option("model", inputs.model,
                  "a preset such as llama-3-8b, a config.json, or a model's file or folder")
      ->required();
  verb.add_option("--job", inputs.job_file, "JSON file with fields of the job; flags win")->type_name("FILE");
  verb.add_option("--cluster", inputs.cluster_file, "JSON file with fields of the cluster; flags win")
      ->type_name("FILE");
  add_field_flags<spec::ClusterSpec>(verb, inputs.cluster, "Cluster");
}

void add_plan_inputs(CLI::App& verb, PlanInputs& inputs) {
  add_plan_files(verb, inputs);
  add_field_flags<spec::TrainJob>(verb, inputs.job, "Job");
}

}  // namespace tw::cli
