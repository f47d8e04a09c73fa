// What the handlers share. Internal to src/serve.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "http/server.h"
#include "infer/engine.h"
#include "infer/sampling_params.h"
#include "model/model_card.h"
#include "serve/api.h"
#include "serve/errors.h"
#include "serve/metrics.h"
#include "text/tool_call.h"

namespace tw::serve {

/// A model that answers. Immutable.
struct ServedModel {
  std::string name;  ///< as clients call it
  std::shared_ptr<const model::ModelCard> card;
  infer::Engine* engine = nullptr;
  std::int64_t created = 0;        ///< seconds since 1970
  infer::SamplingParams defaults;  ///< for fields that a request leaves out
  text::ToolStyle tool_style = text::ToolStyle::kNone;

  const text::Tokenizer& tokenizer() const { return *card->tokenizer; }
  std::int64_t context() const { return engine->context(); }
};

using ExchangePtr = std::shared_ptr<http::Exchange>;
using ModelPtr = std::shared_ptr<const ServedModel>;

/// Thread-safe.
class Context {
 public:
  explicit Context(ApiOptions options);

  const ApiOptions& options() const { return options_; }
  Metrics& metrics() { return metrics_; }

  /// Null while the model is being loaded.
  ModelPtr model() const;
  void set_model(ModelPtr model);

  bool draining() const { return draining_.load(); }
  void begin_drain();

  /// A number that was not given before: a counter from a random start, mixed. No secret: one tells the next.
  std::uint64_t next_random();
  /// "chatcmpl-0123456789abcdef0123456789abcdef"
  std::string next_id(std::string_view prefix);

  /// The model, or null after a 503 was sent: loading, or draining when `generates`.
  ModelPtr ready_model(const ExchangePtr& exchange, bool generates = true) const;

 private:
  const ApiOptions options_;
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<std::uint64_t> random_;
  mutable std::mutex mutex_;  // guards model_
  ModelPtr model_;
};

/// Answers with the error.
void fail(const ExchangePtr& exchange, const base::Error& error);

/// "" and the served names are fine; else kNotFound.
base::Status check_model_name(const ServedModel& model, std::string_view requested);

/// An answer as JSON, with the ignored parameters named in a header.
http::Response json_response(std::string body, const std::vector<std::string>& ignored = {});

}  // namespace tw::serve
