// What a model thinks of given texts: log-probabilities of their tokens, many texts at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "infer/engine.h"

namespace tw::eval {

struct Passage {
  std::vector<std::int32_t> tokens;  ///< not empty
  std::int64_t from = 1;             ///< the first token whose log-probability is wanted, at least 1
};

/// The adapter may be null. Both must come from the same model.
struct Model {
  infer::Engine& engine;
  const text::Tokenizer& tokenizer;
  std::shared_ptr<const model::Adapter> adapter = nullptr;
};

/// Scores passages 0 to count-1, which `make` makes when the engine has room for them, as many at a time as
/// fill its steps. Those that begin alike share what is computed of the beginning (if they are neighbours,
/// and as far as `from` leaves it out). `take(i, logprobs)` gets natural logarithms, one a token from `from`
/// on. Both are called on the caller's thread, `take` as passages end. Errors: what
/// `make` says, the engine's, such as a passage that is longer than its context, and kCorrupt for a model
/// whose log-probabilities are not finite.
base::Status score_passages(const Model& model, std::size_t count,
                            const std::function<base::Result<Passage>(std::size_t)>& make,
                            const std::function<void(std::size_t, const std::vector<float>&)>& take);

}  // namespace tw::eval
