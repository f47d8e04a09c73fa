// POST /v1/completions: any text or ids in, their continuation out; with echo and logprobs, also the prompt's
// scores.
#include "serve/completion_writer.h"
#include "serve/constraint.h"
#include "serve/handlers.h"
#include "serve/prompts.h"

namespace tw::serve {
namespace {

constexpr std::int64_t kDefaultTokens = 16;  // OpenAI's

CompletionAnswer describe_answer(Context& context, const ServedModel& model,
                                 const CompletionRequest& request) {
  CompletionAnswer answer;
  answer.head = {context.next_id("cmpl-"), "text_completion", model.name, std::time(nullptr)};
  answer.stream = request.stream;
  answer.include_usage = request.include_usage;
  answer.usage_each_chunk = request.usage_each_chunk;
  answer.include_stop = request.include_stop;
  answer.echo = request.echo;
  answer.logprobs = request.logprobs;
  answer.n = request.n;
  answer.sequences = request.prompts.size() * static_cast<std::size_t>(request.n);
  answer.ignored = request.ignored;
  return answer;
}

base::Result<infer::GenerateRequest> make_base_request(const ServedModel& model,
                                                       const CompletionRequest& request) {
  TW_ASSIGN_OR_RETURN(infer::GenerateRequest result, engine_request(model, request, kDefaultTokens));
  TW_ASSIGN_OR_RETURN(result.grammar, compile_constraint(request.constraint));
  result.logprobs = request.logprobs;
  result.prompt_logprobs = request.echo && (request.logprobs >= 0 || result.max_tokens == 0);
  // Evaluation harnesses score a prompt by echo with one more token, and drop that token's entry unseen: it
  // must be there even if it would end the text.
  if (result.prompt_logprobs && result.max_tokens == 1) result.ignore_eos = true;
  return result;
}

std::string prompt_text(const ServedModel& model, const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  return model.tokenizer().decode(std::get<Ids>(prompt), false);
}

}  // namespace

void handle_completions(const ContextPtr& context, const ExchangePtr& exchange) {
  const ModelPtr base = context->ready_model(exchange);
  if (base == nullptr) return;
  const auto request = parse_completion_request(exchange->request().body, base->defaults);
  if (!request.ok()) return fail(exchange, request.error());
  const auto found = context->find(request->model);
  if (!found.ok()) return fail(exchange, found.error());
  const ModelPtr& model = *found;
  CompletionAnswer answer = describe_answer(*context, *model, *request);
  const std::string_view too_many = request->prompts.size() > 1 ? "prompt" : "n";
  if (const auto few = check_sequence_count(*context, too_many, answer.sequences); !few.ok())
    return fail(exchange, few.error());
  auto base_request = make_base_request(*model, *request);
  if (!base_request.ok()) return fail(exchange, base_request.error());

  std::vector<infer::GenerateRequest> sequences;
  for (const Prompt& prompt : request->prompts) {
    auto ids = prompt_ids(*model, "prompt", prompt, request->add_special.value_or(true));
    if (!ids.ok()) return fail(exchange, ids.error());
    if (ids->empty())
      return fail(exchange, field_error("prompt", "the prompt is empty: there is nothing to go on from"));
    const auto too_long = check_length(*model, ids->size(), base_request->max_tokens > 0 ? 1 : 0);
    if (too_long) return exchange->respond(error_response(*too_long));
    if (request->echo) answer.prompt_texts.push_back(prompt_text(*model, prompt));
    if (request->echo) answer.prompts.push_back(*ids);
    base_request->prompt = std::move(ids).value();
    for (int i = 0; i < request->n; ++i) sequences.push_back(with_seed(*context, *base_request, *request, i));
  }
  context->metrics().request_accepted(request->n, request->max_tokens.value_or(0));
  start_generation(context, model, exchange, std::move(sequences),
                   make_completion_writer(model, exchange, std::move(answer)));
}

}  // namespace tw::serve
