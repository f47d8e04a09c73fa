// What the server counts, in Prometheus' text format: vLLM's names, labels and buckets, so that dashboards
// made for it work, the usual http_ and process_ names, and tokenworks: for the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "infer/engine.h"

namespace tw::serve {

/// All methods are thread-safe.
class Metrics {
 public:
  explicit Metrics(const std::string& version);
  ~Metrics();

  /// Adds the metrics of a model; `stats` is asked at each scrape. Call at most once, before any of the
  /// sequence_ methods. max_length: the longest sequence, which ends the token-count buckets.
  void attach(const std::string& model_name, std::int64_t max_length,
              std::function<infer::EngineStats()> stats);

  /// A request that came in over HTTP: how many answers it wants, how long (0: as long as they get).
  void request_accepted(int n, std::int64_t max_tokens);
  /// Turned away with 429.
  void request_rejected();
  /// The client left before its answer was complete.
  void client_left();

  /// One step of the engine with so many tokens. Before attach() it does nothing.
  void step(std::int64_t tokens);

  /// A sequence's first token came `seconds` after it was asked for; later ones `seconds` after the one
  /// before.
  void first_token(double seconds);
  void next_token(double seconds);
  /// The last chunk of a sequence.
  void sequence_finished(const infer::Chunk& last);
  /// All sequences of a request have ended; the longest has so many tokens.
  void request_finished(std::int64_t longest);

  /// request_bytes: of the body alone; response_bytes: of the whole answer.
  void http_request(std::string_view handler, std::string_view method, int status, std::size_t request_bytes,
                    std::size_t response_bytes, double seconds);
  void set_draining(bool draining);

  /// The document for /metrics.
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tw::serve
