// Multiple choice by likelihood, with the lm-evaluation-harness's measures.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/passages.h"
#include "eval/question.h"
#include "eval/statistics.h"

namespace tw::eval {

struct ChoiceOptions {
  /// Solved questions and what else stands before each question, its own space or line ends included.
  std::string preamble = {};
  std::function<void(double done)> progress = {};  ///< 0 to 1; may be empty
};

struct ChoiceResult {
  Mean accuracy;                        ///< the likeliest choice is right (acc)
  Mean by_characters;                   ///< the likeliest for its length in characters (acc_norm)
  Mean by_bytes;                        ///< the likeliest for its length in bytes (acc_bytes)
  std::size_t cut = 0;                  ///< choices whose beginning did not fit into the context
  std::vector<double> log_likelihoods;  ///< of all choices of all questions, in order
};

/// Solved questions, as ChoiceOptions::preamble, after a description.
std::string preamble_of(const std::string& description, std::span<const Question> solved_ones);

struct ChoicePassage {
  Passage passage;
  std::int64_t left_out = 0;  ///< tokens at its beginning
};

/// A choice as tokens: the context's, and of context and continuation tokenized together those past their
/// number; spaces at the end of the context count to the continuation. Without a
/// context BOS, or else EOS, stands in its place. At most `longest` tokens: earlier ones are left out; then
/// `from` is below 1 if the continuation alone is too long.
ChoicePassage choice_passage(const text::Tokenizer& tokenizer, std::string context, std::string continuation,
                             std::int64_t longest);

/// Errors: kInvalidArgument for a continuation that is longer than the context.
base::Result<ChoiceResult> answer_questions(const Model& model, std::span<const Question> questions,
                                            const ChoiceOptions& options);

}  // namespace tw::eval
