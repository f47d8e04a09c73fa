// Whether a teacher fits the model that learns from it.
#pragma once

#include "model/loaded_model.h"
#include "spec/train_config.h"
#include "text/tokenizer.h"

namespace tw::train {

/// What a teacher says of a token is nothing to a model that means another by its number. Fails with
/// kInvalidArgument, naming the first such token.
base::Status check_teacher_tokens(const model::LoadedModel& teacher, const text::Tokenizer& ours);

/// Of stage `number`, whose sequence is known, and the model that it trains. Fails with kInvalidArgument for
/// sequences longer than the teacher's learned positions, and for more tokens than both know.
base::Status check_teacher_sizes(const model::LoadedModel& teacher, const spec::TrainStage& stage,
                                 std::size_t number, const spec::ModelConfig& ours);

}  // namespace tw::train
