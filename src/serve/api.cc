#include "serve/api.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "base/log.h"
#include "serve/context.h"
#include "serve/handlers.h"
#include "serve/key.h"
#include "serve/page.h"

namespace tw::serve {
namespace {

struct Route {
  std::string_view method, path;
  void (*handler)(const ContextPtr&, const ExchangePtr&);
};

constexpr std::array kRoutes = {
    Route{"POST", "/v1/chat/completions", handle_chat},
    Route{"POST", "/v1/completions", handle_completions},
    Route{"POST", "/v1/embeddings", handle_embeddings},
    Route{"GET", "/v1/models", handle_models},
    Route{"GET", "/v1/models/*", handle_model},
    Route{"POST", "/tokenize", handle_tokenize},
    Route{"POST", "/detokenize", handle_detokenize},
    Route{"GET", "/health", handle_ready},
    Route{"GET", "/ping", handle_live},
    Route{"GET", "/v1/health/live", handle_live},
    Route{"GET", "/v1/health/ready", handle_ready},
    Route{"GET", "/v1/metadata", handle_metadata},
    Route{"GET", "/v1/version", handle_version},
    Route{"GET", "/version", handle_version},
    Route{"GET", "/metrics", handle_metrics},
    Route{"GET", "/v1/metrics", handle_metrics},
};

/// The label of a path in metrics: a route, never the client's own text, so that the labels stay few.
std::string_view route_label(std::string_view path) {
  for (const Route& route : kRoutes) {
    if (path == route.path) return route.path;
  }
  if (path.starts_with("/v1/models/")) return "/v1/models/{id}";
  const auto is_path = [path](const PageFile& file) { return file.path == path; };
  return std::ranges::any_of(page_files(), is_path) ? "/" : "none";
}

std::string_view method_label(std::string_view method) {
  static constexpr std::array<std::string_view, 5> kKnown = {"GET", "HEAD", "POST", "OPTIONS", "DELETE"};
  const auto* found = std::ranges::find(kKnown, method);
  return found == kKnown.end() ? "other" : *found;
}

void log_request(const http::Request& request, int status, double seconds) {
  const auto level = status >= 500 ? spdlog::level::warn : spdlog::level::info;
  if (!spdlog::should_log(level)) return;
  spdlog::log(level, "{} {} {} {:.1f} ms id={} from={}", method_label(request.method),
              route_label(request.path), status, seconds * 1e3, request.id, request.remote);
}

http::Response page_response(const PageFile& file) {
  return {200,
          std::string(file.content_type),
          std::string(file.content),
          {{"Content-Security-Policy", std::string(kPagePolicy)},
           {"Cache-Control", "no-cache"},
           {"X-Content-Type-Options", "nosniff"},
           {"Referrer-Policy", "no-referrer"}}};
}

}  // namespace

struct Api::Impl {
  std::shared_ptr<Context> context;
};

Api::Api(ApiOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->context = std::make_shared<Context>(std::move(options));
}

Api::~Api() = default;

void Api::mount(http::Server& server) {
  const ContextPtr context = impl_->context;
  for (const Route& route : kRoutes) {
    server.route(
        std::string(route.method), std::string(route.path),
        [context, handler = route.handler](const ExchangePtr& exchange) { handler(context, exchange); });
  }
  for (const PageFile& file : page_files()) {
    server.route("GET", std::string(file.path),
                 [&file](const ExchangePtr& exchange) { exchange->respond(page_response(file)); });
  }
  server.set_error_body([](int status, std::string_view message) { return error_body(status, message); });
  server.set_before(
      [context](const http::Request& request) { return check_key(context->options().api_key, request); });
  server.set_observer([context](const http::Request& request, int status, std::size_t request_bytes,
                                std::size_t response_bytes, double seconds) {
    context->metrics().http_request(route_label(request.path), method_label(request.method), status,
                                    request_bytes, response_bytes, seconds);
    log_request(request, status, seconds);
  });
}

void Api::attach(std::shared_ptr<const model::ModelCard> card, infer::Engine* engine) {
  ServedModel served;
  const std::string& given = impl_->context->options().config.served_name;
  served.name = given.empty() ? card->name : given;
  served.engine = engine;
  served.created = std::time(nullptr);
  const model::GenerationDefaults& d = card->defaults;
  served.defaults.temperature = d.temperature.value_or(served.defaults.temperature);
  served.defaults.top_p = d.top_p.value_or(served.defaults.top_p);
  served.defaults.top_k = d.top_k.value_or(served.defaults.top_k);
  served.defaults.min_p = d.min_p.value_or(served.defaults.min_p);
  served.defaults.repetition_penalty = d.repetition_penalty.value_or(served.defaults.repetition_penalty);
  served.tool_style = text::detect_tool_style(card->chat_template_source);
  served.card = std::move(card);
  impl_->context->metrics().attach(served.name, engine->context(), [engine] { return engine->stats(); });
  impl_->context->set_model(std::make_shared<const ServedModel>(std::move(served)));
}

void Api::record_step(std::int64_t tokens) {
  impl_->context->metrics().step(tokens);
}

void Api::begin_drain() {
  impl_->context->begin_drain();
}

}  // namespace tw::serve
