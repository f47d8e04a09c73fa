// POST /tokenize and /detokenize, with vLLM's fields.
#include <array>

#include "serve/handlers.h"
#include "serve/prompts.h"
#include "serve/tokenize_request.h"

namespace tw::serve {
namespace {

using Json = base::OrderedJson;

base::Result<Ids> request_ids(const ServedModel& model, const TokenizeRequest& request) {
  if (!request.messages.is_null()) return chat_prompt(model, request);
  return model.tokenizer().encode(request.prompt,
                                  {.add_special = request.add_special.value_or(true), .parse_special = true});
}

}  // namespace

void handle_tokenize(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr model = context->ready_model(exchange, false);
  if (model == nullptr) return;
  const auto request = parse_tokenize_request(exchange->request().body);
  if (!request.ok()) return fail(exchange, request.error());
  if (const auto found = context->find(request->model); !found.ok()) return fail(exchange, found.error());
  const auto ids = request_ids(*model, *request);
  if (!ids.ok()) return fail(exchange, ids.error());
  Json answer = {
      {"count", ids->size()}, {"max_model_len", model->context()}, {"tokens", *ids}, {"token_strs", nullptr}};
  if (request->return_strings) {
    answer["token_strs"] = Json::array();
    for (const std::int32_t id : *ids) answer["token_strs"].push_back(model->tokenizer().piece(id));
  }
  exchange->respond(json_response(base::dump_json(answer), request->ignored));
}

void handle_detokenize(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr model = context->ready_model(exchange, false);
  if (model == nullptr) return;
  const auto request = parse_detokenize_request(exchange->request().body);
  if (!request.ok()) return fail(exchange, request.error());
  if (const auto found = context->find(request->model); !found.ok()) return fail(exchange, found.error());
  const auto ids = prompt_ids(*model, "tokens", request->tokens, false);
  if (!ids.ok()) return fail(exchange, ids.error());
  const Json answer = {{"prompt", model->tokenizer().decode(*ids, false)}};
  exchange->respond(json_response(base::dump_json(answer), request->ignored));
}

}  // namespace tw::serve
