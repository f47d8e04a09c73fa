// Models that plans can be made for: published ones by name (data/planner/models.csv), or any file that the
// loader reads.
#pragma once

#include <string>
#include <vector>

#include "plan/quantity.h"
#include "spec/model_config.h"

namespace tw::plan {

struct PlannedModel {
  std::string name;
  spec::ModelConfig config;
  Provenance provenance = Provenance::kDatasheet;  ///< assumed: its shape was not published
  std::string source;
};

/// Those in the program.
const std::vector<PlannedModel>& preset_models();

/// A preset's name, a config.json, a folder with one, or a GGUF file. The error lists the presets.
base::Result<PlannedModel> find_model(const std::string& name);

}  // namespace tw::plan
