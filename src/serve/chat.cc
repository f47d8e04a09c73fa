// POST /v1/chat/completions: a conversation in, its next message out; with tools, also calls of them.
#include <ctime>

#include "serve/chat_writer.h"
#include "serve/constraint.h"
#include "serve/handlers.h"
#include "serve/prompts.h"

namespace tw::serve {
namespace {

ChatAnswer describe_answer(Context& context, const ServedModel& model, const ChatRequest& request) {
  ChatAnswer answer;
  answer.head = {context.next_id("chatcmpl-"), request.stream ? "chat.completion.chunk" : "chat.completion",
                 model.name, std::time(nullptr)};
  answer.stream = request.stream;
  answer.include_usage = request.include_usage;
  answer.usage_each_chunk = request.usage_each_chunk;
  answer.include_stop = request.include_stop;
  answer.logprobs = request.logprobs;
  answer.top_logprobs = request.top_logprobs;
  answer.n = request.n;
  if (request.uses_tools()) {
    answer.tools = model.tool_style;
    for (const Value& tool : request.tools)
      answer.tool_names.push_back(tool["function"]["name"].get<std::string>());
  }
  answer.parallel_tool_calls = request.parallel_tool_calls;
  answer.ignored = request.ignored;
  return answer;
}

base::Status check_tools_offered(const ServedModel& model, const ChatRequest& request) {
  if (!request.uses_tools()) return base::Ok{};
  const bool offered = model.card->chat_template != nullptr && model.card->chat_template->mentions("tools");
  if (offered && model.tool_style != text::ToolStyle::kNone) return base::Ok{};
  const std::string_view why =
      offered ? "writes tool calls in a form that is not known here" : "offers no tools";
  return base::Error{
      base::Code::kUnsupported,
      fmt::format("the chat template of \"{}\" {}: leave tools out, or ask for JSON by response_format",
                  model.name, why),
      "tools"};
}

/// The grammar that a forced call must match, or the request's own constraint.
base::Result<text::GrammarPtr> answer_grammar(const ServedModel& model, const ChatRequest& request) {
  const bool forced = request.uses_tools() && request.tool_choice != ToolChoice::kAuto;
  if (!forced) return compile_constraint(request.constraint);
  const std::optional<std::string> name =
      request.tool_name.empty() ? std::nullopt : std::optional(request.tool_name);
  auto grammar = text::tool_call_grammar(model.tool_style, request.tools, true, name);
  if (grammar.ok()) return grammar;
  return base::Error{base::Code::kUnsupported, "tools cannot be enforced: " + grammar.error().text(),
                     "tools"};
}

}  // namespace

void handle_chat(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr base = context->ready_model(exchange);
  if (base == nullptr) return;
  const auto request = parse_chat_request(exchange->request().body, base->defaults);
  if (!request.ok()) return fail(exchange, request.error());
  const auto found = context->find(request->model);
  if (!found.ok()) return fail(exchange, found.error());
  const ModelPtr& model = *found;
  if (const auto offered = check_tools_offered(*model, *request); !offered.ok())
    return fail(exchange, offered.error());
  const auto few = check_sequence_count(*context, "n", static_cast<std::size_t>(request->n));
  if (!few.ok()) return fail(exchange, few.error());

  auto sequence =
      engine_request(*model, *request, model->card->defaults.max_new_tokens.value_or(model->context()));
  if (!sequence.ok()) return fail(exchange, sequence.error());
  auto grammar = answer_grammar(*model, *request);
  if (!grammar.ok()) return fail(exchange, grammar.error());
  sequence->grammar = std::move(grammar).value();
  // Some families mark calls by control tokens, which must then be part of the text.
  if (request->uses_tools() && model->tool_style != text::ToolStyle::kHermes) sequence->skip_special = false;
  sequence->logprobs = request->logprobs ? request->top_logprobs : -1;
  auto ids = chat_prompt(*model, *request);
  if (!ids.ok()) return fail(exchange, ids.error());
  if (const auto too_long = check_length(*model, ids->size(), 1))
    return exchange->respond(error_response(*too_long));
  sequence->prompt = std::move(ids).value();

  std::vector<infer::GenerateRequest> sequences;
  sequences.reserve(request->n);
  for (int i = 0; i < request->n; ++i) sequences.push_back(with_seed(*context, *sequence, *request, i));
  context->metrics().request_accepted(request->n, request->max_tokens.value_or(0));
  start_generation(context, model, exchange, std::move(sequences),
                   make_chat_writer(context, model, exchange, describe_answer(*context, *model, *request)));
}

}  // namespace tw::serve
