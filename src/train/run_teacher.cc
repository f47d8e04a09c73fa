#include "train/run_teacher.h"

#include <algorithm>

#include "io/tensor_file.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::Status;

base::Error another(const model::LoadedModel& teacher, const std::string& why) {
  return {Code::kInvalidArgument,
          "the teacher has another tokenizer: " + why + "; take the teacher's (tokenizer.kind file)",
          teacher.card().path};
}

/// A GGUF file names the spare rows of its table, as tokens that no text has.
bool only_spare(const text::Tokenizer& tokenizer, text::TokenId from) {
  for (text::TokenId id = from; id < static_cast<text::TokenId>(tokenizer.size()); ++id) {
    if (tokenizer.type(id) != text::TokenType::kUnused) return false;
  }
  return true;
}

}  // namespace

Status check_teacher_tokens(const model::LoadedModel& teacher, const text::Tokenizer& ours) {
  const text::Tokenizer& theirs = *teacher.card().tokenizer;
  const auto both = static_cast<text::TokenId>(std::min(theirs.size(), ours.size()));
  for (text::TokenId id = 0; id < both; ++id) {
    if (theirs.piece(id) == ours.piece(id)) continue;
    return another(teacher, fmt::format("token {} is {} to it, and {} to the model", id,
                                        io::quote_text(theirs.piece(id)), io::quote_text(ours.piece(id))));
  }
  if (!only_spare(theirs, both) || !only_spare(ours, both))
    return another(teacher, fmt::format("it has {} tokens and the model {}", theirs.size(), ours.size()));
  return Ok{};
}

Status check_start_tokens(const model::ModelFiles& start, const std::string& path,
                          const text::Tokenizer& ours) {
  const auto spec = start.tokenizer();
  if (!spec.ok()) return Ok{};
  TW_ASSIGN_OR_RETURN(const auto theirs, text::Tokenizer::create(*spec));
  const auto both = static_cast<text::TokenId>(std::min(theirs->size(), ours.size()));
  for (text::TokenId id = 0; id < both; ++id) {
    if (theirs->piece(id) == ours.piece(id) || theirs->type(id) == text::TokenType::kUnused) continue;
    return base::Error{
        Code::kInvalidArgument,
        fmt::format("the tokenizer does not fit: token {} is {} to it, and {} to the model; take "
                    "the model's own",
                    id, io::quote_text(ours.piece(id)), io::quote_text(theirs->piece(id))),
        path};
  }
  return Ok{};
}

Status check_teacher_sizes(const model::LoadedModel& teacher, const spec::TrainStage& stage,
                           std::size_t number, const spec::ModelConfig& ours) {
  const spec::ModelConfig& theirs = teacher.config();
  if (theirs.learned_positions && stage.sequence > theirs.context)
    return base::error(Code::kInvalidArgument,
                       "stage {} has sequences of {} tokens, but its teacher has learned {} positions: make "
                       "\"sequence\" shorter",
                       number + 1, stage.sequence, theirs.context);
  const std::int64_t most = std::min(theirs.vocab, ours.vocab);
  if (stage.teacher.top > most)
    return base::error(Code::kInvalidArgument,
                       "stage {}: teacher.top is {}, but the vocabulary has {} tokens", number + 1,
                       stage.teacher.top, most);
  return Ok{};
}

}  // namespace tw::train
