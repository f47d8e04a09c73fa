#include "serve/api.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "base/log.h"
#include "serve/adapters.h"
#include "serve/context.h"
#include "serve/handlers.h"
#include "serve/host_check.h"
#include "serve/key.h"
#include "serve/lanes.h"
#include "serve/page.h"

namespace tw::serve {
namespace {

struct Route {
  std::string_view method, path;
  void (*handler)(const ContextPtr&, const ExchangePtr&);
  bool slow = false;  ///< however small its body is
};

constexpr std::array kRoutes = {
    Route{"POST", "/v1/chat/completions", handle_chat},
    Route{"POST", "/v1/completions", handle_completions},
    Route{"POST", "/v1/embeddings", handle_embeddings},
    Route{"POST", "/v1/load_lora_adapter", handle_load_adapter, true},
    Route{"POST", "/v1/unload_lora_adapter", handle_unload_adapter},
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

/// The path as it was sent, without what could break a line or fill a disk.
std::string shown_path(std::string_view path) {
  constexpr std::size_t kMost = 120;
  std::string shown(path.substr(0, kMost));
  for (char& c : shown) {
    if (c <= ' ' || c >= 0x7F) c = '?';
  }
  return path.size() > kMost ? shown + "..." : shown;
}

void log_request(const http::Request& request, int status, double seconds) {
  const auto level = status >= 500 ? spdlog::level::warn : spdlog::level::info;
  const std::string path = shown_path(request.path);
  const std::string_view method = method_label(request.method);
  base::log_event(level,
                  fmt::format("{} {} {} {:.1f} ms id={} from={}", method, path, status, seconds * 1e3,
                              request.id, request.remote),
                  {{"method", method},
                   {"path", path},
                   {"status", status},
                   {"milliseconds", std::round(seconds * 1e6) / 1e3},
                   {"request_id", request.id},
                   {"remote", request.remote}});
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

/// Runs the handler. An exchange that is dropped unanswered answers 500 by itself.
void prepare(const ContextPtr& context, const ExchangePtr& exchange, const Route& route) {
  if (exchange->cancelled()) return;
  try {
    route.handler(context, exchange);
  } catch (const std::exception& e) {
    spdlog::error("{}: the handler threw: {}", route.path, e.what());
  }
}

/// Requests with a body are prepared by the lanes, the others are answered at once.
http::Handler make_handler(const ContextPtr& context, const std::shared_ptr<Lanes>& lanes,
                           const Route& route) {
  if (route.method != "POST")
    return [context, route](const ExchangePtr& exchange) { route.handler(context, exchange); };
  return [context, lanes, route](const ExchangePtr& exchange) {
    const auto job = [context, exchange, route] { prepare(context, exchange, route); };
    const std::size_t bytes = exchange->request().body.size();
    if (lanes->post(route.slow ? std::max(bytes, Lanes::kLargeBody + 1) : bytes, job)) return;
    context->metrics().request_rejected();
    fail(exchange, base::error(base::Code::kResourceExhausted,
                               "too many requests are being prepared: try again later"));
  };
}

/// As many as the engine may hold, but no burst of small requests fails.
std::size_t lane_limit(const spec::ServeConfig& config) {
  return static_cast<std::size_t>(std::max(64, config.max_queue + config.max_batch));
}

}  // namespace

struct Api::Impl {
  explicit Impl(ApiOptions options)
      : context(std::make_shared<Context>(std::move(options))),
        lanes(std::make_shared<Lanes>(lane_limit(context->options().config))) {}

  const ContextPtr context;
  const std::shared_ptr<Lanes> lanes;
};

Api::Api(ApiOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Api::~Api() {
  stop();
}

void Api::mount(http::Server& server) {
  const ContextPtr context = impl_->context;
  for (const Route& route : kRoutes) {
    server.route(std::string(route.method), std::string(route.path),
                 make_handler(context, impl_->lanes, route));
  }
  for (const PageFile& file : page_files()) {
    server.route("GET", std::string(file.path),
                 [&file](const ExchangePtr& exchange) { exchange->respond(page_response(file)); });
  }
  server.set_error_body([](int status, std::string_view message) { return error_body(status, message); });
  const bool checks_host = server.loopback_only() && context->options().api_key.empty();
  const HostCheck hosts(context->options().config.allow_host);
  server.set_before([context, checks_host, hosts](const http::Request& request) {
    if (checks_host) {
      if (auto refusal = hosts.check(request)) return refusal;
    }
    return check_key(context->options().api_key, request);
  });
  server.set_observer([context](const http::Request& request, int status, std::size_t,
                                std::size_t response_bytes, double seconds) {
    context->metrics().http_request(route_label(request.path), method_label(request.method), status,
                                    request.body.size(), response_bytes, seconds);
    log_request(request, status, seconds);
  });
}

base::Status Api::attach(std::shared_ptr<const model::ModelCard> card, infer::Engine* engine) {
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
  served.defaults.typical_p = d.typical_p.value_or(served.defaults.typical_p);
  served.defaults.repetition_penalty = d.repetition_penalty.value_or(served.defaults.repetition_penalty);
  served.tool_style = text::detect_tool_style(card->chat_template_source);
  served.card = std::move(card);
  TW_ASSIGN_OR_RETURN(const auto adapters, load_adapters(served, impl_->context->options().config.lora));
  impl_->context->metrics().attach(served.name, engine->context(), [engine] { return engine->stats(); });
  return impl_->context->set_model(std::make_shared<const ServedModel>(std::move(served)), adapters);
}

void Api::record_step(std::int64_t tokens) {
  impl_->context->metrics().step(tokens);
}

void Api::begin_drain() {
  impl_->context->begin_drain();
}

void Api::stop() {
  impl_->lanes->stop();
}

}  // namespace tw::serve
