// A recipe against the model that its first stage starts from.
#pragma once

#include <string>

#include "base/result.h"
#include "spec/model_config.h"
#include "spec/train_config.h"

namespace tw::train {

/// A model's family by a recipe's names: those of Llama's kind are all one.
std::string family_of(const spec::ModelConfig& model);

/// Fails with kInvalidArgument, naming the key, where the recipe says of the model what that is not.
base::Status check_start(const spec::TrainConfig& config, const spec::ModelConfig& start);

}  // namespace tw::train
