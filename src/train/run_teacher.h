// Whether a teacher fits the model that learns from it, and a tokenizer the model that a run starts from.
#pragma once

#include <string>

#include "model/loaded_model.h"
#include "model/model_files.h"
#include "spec/train_config.h"
#include "text/tokenizer.h"

namespace tw::train {

/// What a teacher says of a token is nothing to a model that means another by its number. Fails with
/// kInvalidArgument, naming the first such token.
base::Status check_teacher_tokens(const model::LoadedModel& teacher, const text::Tokenizer& ours);

/// The same of the model that a run starts from, in the folder or file `path`, which may have fewer tokens
/// than the tokenizer, or name others for its spare rows. One without a tokenizer takes any.
base::Status check_start_tokens(const model::ModelFiles& start, const std::string& path,
                                const text::Tokenizer& ours);

/// Of stage `number`, whose sequence is known, and the model that it trains. Fails with kInvalidArgument for
/// sequences longer than the teacher's learned positions, and for more tokens than both know.
base::Status check_teacher_sizes(const model::LoadedModel& teacher, const spec::TrainStage& stage,
                                 std::size_t number, const spec::ModelConfig& ours);

}  // namespace tw::train
