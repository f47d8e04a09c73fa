// One function per endpoint; api.cc routes to them. Those of POST run on a lane (lanes.h); the others on the
// I/O thread, where they never block. Internal to src/serve.
#pragma once

#include <memory>

#include "serve/context.h"

namespace tw::serve {

using ContextPtr = std::shared_ptr<Context>;

void handle_chat(const ContextPtr& context, const ExchangePtr& exchange);         // POST /v1/chat/completions
void handle_completions(const ContextPtr& context, const ExchangePtr& exchange);  // POST /v1/completions
void handle_embeddings(const ContextPtr& context, const ExchangePtr& exchange);   // POST /v1/embeddings
void handle_tokenize(const ContextPtr& context, const ExchangePtr& exchange);     // POST /tokenize
void handle_detokenize(const ContextPtr& context, const ExchangePtr& exchange);   // POST /detokenize
void handle_load_adapter(const ContextPtr& context,
                         const ExchangePtr& exchange);  // POST /v1/load_lora_adapter
void handle_unload_adapter(const ContextPtr& context,
                           const ExchangePtr& exchange);  // POST /v1/unload_lora_adapter

void handle_models(const ContextPtr& context, const ExchangePtr& exchange);  // GET /v1/models
void handle_model(const ContextPtr& context, const ExchangePtr& exchange);   // GET /v1/models/{id}
void handle_live(const ContextPtr& context, const ExchangePtr& exchange);    // GET /v1/health/live, /ping
void handle_ready(const ContextPtr& context, const ExchangePtr& exchange);   // GET /v1/health/ready, /health
void handle_metadata(const ContextPtr& context, const ExchangePtr& exchange);  // GET /v1/metadata
void handle_version(const ContextPtr& context, const ExchangePtr& exchange);   // GET /v1/version, /version
void handle_metrics(const ContextPtr& context, const ExchangePtr& exchange);   // GET /metrics, /v1/metrics

}  // namespace tw::serve
