// What the handlers share. Internal to src/serve.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "http/server.h"
#include "infer/engine.h"
#include "infer/sampling_params.h"
#include "model/model_card.h"
#include "serve/api.h"
#include "serve/errors.h"
#include "serve/metrics.h"
#include "text/tool_call.h"

namespace tw::serve {

/// A model that answers, or one of its adapters. Immutable.
struct ServedModel {
  std::string name;  ///< as clients call it
  /// Null: the base model, for which these are empty.
  std::shared_ptr<const model::Adapter> adapter;
  std::string adapter_path, parent;  ///< parent: the base model's name
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

  /// The base model; null while it is being loaded.
  ModelPtr model() const;
  /// The model and its adapters, or neither: errors as add_adapter's.
  base::Status set_model(ModelPtr model, const std::vector<ModelPtr>& adapters);

  /// What a request calls by this name: "" and the base model's names, or an adapter's. Error: kNotFound.
  /// REQUIRES: a model was set.
  base::Result<ModelPtr> find(std::string_view requested) const;
  /// The base model, then its adapters by name.
  std::vector<ModelPtr> models() const;
  /// Adds an adapter by its name; with `replace` also where there is one. Errors: kInvalidArgument for names
  /// that are taken, kResourceExhausted when there are kMostAdapters.
  base::Status add_adapter(ModelPtr adapter, bool replace);
  /// False: there is none. Requests that run with it go on.
  bool remove_adapter(const std::string& name);
  static constexpr std::size_t kMostAdapters = 256;

  bool draining() const { return draining_.load(); }
  void begin_drain();

  /// A number that was not given before: a counter from a random start, mixed. No secret: one tells the next.
  std::uint64_t next_random();
  /// "chatcmpl-0123456789abcdef0123456789abcdef"
  std::string next_id(std::string_view prefix);

  /// The model, or null after a 503 was sent: loading, or draining when `generates`.
  ModelPtr ready_model(const ExchangePtr& exchange, bool generates = true) const;

 private:
  base::Status add_locked(ModelPtr adapter, bool replace);

  const ApiOptions options_;
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<std::uint64_t> random_;
  mutable std::mutex mutex_;  // guards all below
  ModelPtr model_;
  std::map<std::string, ModelPtr, std::less<>> adapters_;
};

/// Answers with the error.
void fail(const ExchangePtr& exchange, const base::Error& error);

/// An answer as JSON, with the ignored parameters named in a header.
http::Response json_response(std::string body, const std::vector<std::string>& ignored = {});

}  // namespace tw::serve
