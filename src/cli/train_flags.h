// The fields of spec::TrainConfig as flags, and a recipe's file under them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/train_plan.h"
#include "spec/train_recipe.h"

namespace tw::cli {

/// What `tokenworks train` was told. Flags hold for a recipe too, in each of its stages.
class TrainFlags {
 public:
  /// Adds the flags; this must outlive the parsing.
  void add(CLI::App& verb);

  /// The recipe's config, or one of the flags alone, with paths made absolute: those of a recipe are relative
  /// to its folder. A plan that was named (`plan` then holds it) wins over the recipe, and flags over the
  /// plan. Not validated.
  base::Result<spec::TrainConfig> config(std::optional<TrainPlan>& plan) const;

  /// The folder of a run to go on with; empty: none was named.
  const std::string& resume() const { return resume_; }
  /// Whether a recipe or data was named, which a run that goes on has already.
  bool names_work() const {
    return !recipe_.empty() || !plan_.empty() || !data_.empty() || !chat_.empty() || !pairs_.empty();
  }
  /// The error in the words of who gave it: keys of a recipe are named as flags.
  base::Error named(base::Error error) const;
  /// Puts what flags said into the config of a run.
  base::Status apply(spec::TrainConfig& config) const;

 private:
  /// Whether the flag of a field was given.
  bool given(std::string_view flag) const;

  std::string recipe_, resume_, plan_;
  std::vector<std::string> data_, chat_, pairs_;
  spec::TrainConfig given_;
  std::vector<std::pair<CLI::Option*, std::size_t>> options_;  ///< and the index of its field
};

}  // namespace tw::cli
