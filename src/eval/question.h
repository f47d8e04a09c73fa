// Multiple choice as likelihood: a question is some continuations of which one is right.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace tw::eval {

/// What the model reads, and what it is asked the likelihood of, the space between them included.
struct Choice {
  std::string context, continuation;
};

struct Question {
  std::vector<Choice> choices;  ///< at least two
  std::size_t right = 0;        ///< index into choices
};

/// As it stands before other questions to show how they are answered.
inline std::string solved(const Question& question) {
  const Choice& choice = question.choices[question.right];
  return choice.context + choice.continuation;
}

}  // namespace tw::eval
