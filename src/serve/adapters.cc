// POST /v1/load_lora_adapter and /v1/unload_lora_adapter, with vLLM's fields and answers.
#include "serve/adapters.h"

#include <array>

#include "base/log.h"
#include "serve/adapter_request.h"
#include "serve/handlers.h"
#include "spec/serve_config.h"

namespace tw::serve {
namespace {

/// The model, or null after an answer: whoever may load an adapter may have the server read any folder.
ModelPtr updatable_model(const ContextPtr& context, const ExchangePtr& exchange) {
  if (!context->options().config.lora_updates) {
    exchange->respond(error_response(
        {403,
         "adapters are not loaded or unloaded while this server runs: start it with --lora-updates",
         "invalid_request_error",
         {},
         "lora_updates_off",
         0}));
    return nullptr;
  }
  return context->ready_model(exchange);
}

void succeed(const ExchangePtr& exchange, const std::string& name, std::string_view what,
             const std::vector<std::string>& ignored) {
  spdlog::info("adapter {} {}", name, what);
  http::Response response =
      json_response(fmt::format("Success: LoRA adapter '{}' {} successfully.", name, what), ignored);
  response.content_type = "text/plain; charset=utf-8";
  exchange->respond(response);
}

}  // namespace

base::Result<ModelPtr> load_adapter(const ServedModel& base, const std::string& name,
                                    const std::string& path) {
  ServedModel served = base;
  TW_ASSIGN_OR_RETURN(served.adapter, base.engine->load_adapter(path));
  served.name = name;
  served.parent = base.name;
  served.adapter_path = path;
  served.created = std::time(nullptr);
  return std::make_shared<const ServedModel>(std::move(served));
}

base::Result<std::vector<ModelPtr>> load_adapters(const ServedModel& base,
                                                  const std::vector<std::string>& flags) {
  std::vector<ModelPtr> adapters;
  for (const std::string& flag : flags) {
    TW_ASSIGN_OR_RETURN(const spec::NamedPath named, spec::parse_lora(flag));
    auto adapter = load_adapter(base, named.name, named.path);
    if (!adapter.ok()) {
      return base::Error{
          adapter.error().code, fmt::format("--lora {}: {}", named.name, adapter.error().text()), {}};
    }
    adapters.push_back(*adapter);
  }
  return adapters;
}

void handle_load_adapter(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr base = updatable_model(context, exchange);
  if (base == nullptr) return;
  const auto request = parse_adapter_request(exchange->request().body, true);
  if (!request.ok()) return fail(exchange, request.error());
  // A name that is taken is told before a file is read.
  if (!request->in_place && context->find(request->name).ok()) {
    return fail(exchange,
                field_error("lora_name", fmt::format("\"{}\" is loaded already: unload it first, or send "
                                                     "load_inplace to replace it",
                                                     request->name)));
  }
  auto adapter = load_adapter(*base, request->name, request->path);
  if (!adapter.ok()) {
    // A folder that is not there is the client's mistake, not a model's name.
    const bool missing = adapter.error().code == base::Code::kNotFound;
    ApiError error = to_api_error(field_error("lora_path", adapter.error().text()));
    if (missing) error.status = 404;
    return exchange->respond(error_response(error));
  }
  if (const auto added = context->add_adapter(*adapter, request->in_place); !added.ok())
    return fail(exchange, added.error());
  succeed(exchange, request->name, "added", request->ignored);
}

void handle_unload_adapter(const ContextPtr& context, const ExchangePtr& exchange) {
  if (updatable_model(context, exchange) == nullptr) return;
  const auto request = parse_adapter_request(exchange->request().body, false);
  if (!request.ok()) return fail(exchange, request.error());
  if (!context->remove_adapter(request->name)) {
    return fail(exchange,
                base::Error{base::Code::kNotFound,
                            fmt::format("the adapter \"{}\" is not loaded", request->name), "lora_name"});
  }
  succeed(exchange, request->name, "removed", request->ignored);
}

}  // namespace tw::serve
