// Recipes as JSON files, and the field list of TrainConfig as flags and as a table.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "spec/train_config.h"

namespace tw::spec {

/// Runs began to leave out what is not given after they had written it as kNotGiven: those still go on.
enum class RecipeSource { kPerson, kRun };

/// Reads a recipe. `file` names it in errors, which are one line with the place: FILE:LINE. An unknown key is
/// named with the nearest known one. What the file does not say keeps its default.
base::Result<TrainConfig> parse_recipe(const std::string& text, const std::string& file,
                                       RecipeSource source = RecipeSource::kPerson);
base::Result<TrainConfig> read_recipe(const std::string& path);

/// The whole recipe, defaults included: parse_recipe gives the same config again.
base::OrderedJson recipe_json(const TrainConfig& config);

/// A single value of a config.
struct TrainField {
  std::string key;   ///< in the recipe: "stages[].schedule.peak"
  std::string flag;  ///< the same as a flag, without dashes: "schedule-peak"
  std::variant<std::string*, std::int64_t*, std::uint32_t*, double*, bool*> value;
  std::string help;
  TrainRule rule;

  /// An optional one that nobody has said. Its value keeps no rule.
  bool not_given() const;
};
/// All of them but the data, of the config and of its stage number `stage`. REQUIRES: there is that stage.
std::vector<TrainField> train_fields(TrainConfig& config, std::size_t stage);
/// Whether the value keeps the field's rule; the error names the flag.
base::Status check_field(const TrainField& field);

/// Every key with default and meaning, as a Markdown table: for docs/training.md.
std::string recipe_table();

}  // namespace tw::spec
