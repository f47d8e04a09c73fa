// What operators and their tools ask: health, models, versions, metrics. Bodies follow vLLM and NVIDIA NIM.
#include "base/json.h"
#include "serve/handlers.h"

namespace tw::serve {
namespace {

using Json = base::OrderedJson;

constexpr std::string_view kApiVersion = "1";
constexpr std::string_view kModelsPath = "/v1/models/";

void answer(const ExchangePtr& exchange, const Json& json, int status = 200) {
  http::Response response = json_response(base::dump_json(json));
  response.status = status;
  exchange->respond(response);
}

Json health(std::string_view message, std::string_view status) {
  return {{"object", "health.response"}, {"message", message}, {"status", status}};
}

Json model_json(const ServedModel& model) {
  const model::ModelCard& card = *model.card;
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "tokenworks"},
          {"root", model.adapter == nullptr ? card.name : model.adapter_path},
          {"parent", model.adapter == nullptr ? Json(nullptr) : Json(model.parent)},
          {"max_model_len", model.context()},
          {"permission", Json::array()},
          {"meta",
           {{"n_params", card.config.parameter_count()},
            {"n_ctx_train", card.config.context},
            {"n_embd", card.config.width},
            {"n_vocab", card.config.vocab},
            {"size", card.bytes},
            {"quantization", card.quantization},
            {"architecture", card.config.architecture},
            {"chat_template", card.chat_template != nullptr}}}};
}

}  // namespace

void handle_live(const ContextPtr&, const ExchangePtr& exchange) {
  answer(exchange, health("The server runs", "live"));
}

void handle_ready(const ContextPtr& context, const ExchangePtr& exchange) {
  if (context->draining()) return answer(exchange, health("The server is shutting down", "draining"), 503);
  if (context->model() == nullptr)
    return answer(exchange, health("The model is being loaded", "loading"), 503);
  answer(exchange, health("The model answers", "ready"));
}

void handle_models(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr model = context->ready_model(exchange, false);
  if (model == nullptr) return;
  Json all = Json::array();
  for (const ModelPtr& each : context->models()) all.push_back(model_json(*each));
  answer(exchange, {{"object", "list"}, {"data", std::move(all)}});
}

void handle_model(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr model = context->ready_model(exchange, false);
  if (model == nullptr) return;
  const std::string& path = exchange->request().path;
  const std::string name = path.size() > kModelsPath.size() ? path.substr(kModelsPath.size()) : std::string();
  if (name.empty()) return fail(exchange, base::error(base::Code::kNotFound, "the path names no model"));
  const auto found = context->find(name);
  if (!found.ok()) return fail(exchange, found.error());
  answer(exchange, model_json(**found));
}

void handle_metadata(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr model = context->ready_model(exchange, false);
  if (model == nullptr) return;
  answer(exchange, {{"id", model->name},
                    {"version", context->options().version},
                    {"licenseInfo", {{"name", model->card->config.license}}},
                    {"modelInfo", Json::array({{{"shortName", model->name}, {"modelUrl", ""}}})},
                    {"engine", model->engine->description()},
                    {"model", model_json(*model)["meta"]}});
}

void handle_version(const ContextPtr& context, const ExchangePtr& exchange) {
  const std::string& release = context->options().version;
  answer(exchange, {{"release", release}, {"api", kApiVersion}, {"version", release}});
}

void handle_metrics(const ContextPtr& context, const ExchangePtr& exchange) {
  exchange->respond({200, "text/plain; version=0.0.4; charset=utf-8", context->metrics().text(), {}});
}

}  // namespace tw::serve
