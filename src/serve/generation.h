// One HTTP request's sequences in the engine: all are accepted or none, their chunks reach one writer in
// turn, and a client that leaves cancels them all. Internal to src/serve.
#pragma once

#include <memory>
#include <vector>

#include "serve/context.h"

namespace tw::serve {

/// Makes the HTTP answer from chunks. Calls come one at a time, from the engine's thread but for open(), and
/// must not block.
class AnswerWriter {
 public:
  virtual ~AnswerWriter() = default;
  /// Every sequence was accepted. No chunk comes before this.
  virtual void open() = 0;
  virtual void chunk(std::size_t sequence, const infer::Chunk& chunk) = 0;
};

/// Hands the requests to the engine; when one is refused, cancels the others and answers with the error.
void start_generation(const std::shared_ptr<Context>& context, const ModelPtr& model,
                      const ExchangePtr& exchange, std::vector<infer::GenerateRequest> requests,
                      std::unique_ptr<AnswerWriter> writer);

/// Error: more sequences than could ever run and wait together.
base::Status check_sequence_count(const Context& context, std::string_view field, std::size_t count);

}  // namespace tw::serve
