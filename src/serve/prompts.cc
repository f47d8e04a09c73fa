#include "serve/prompts.h"

namespace tw::serve {
namespace {

std::string token_text(const text::Tokenizer& tokenizer, std::optional<text::TokenId> id) {
  return id ? tokenizer.piece(*id) : std::string();
}

/// Most templates know only `system`; OpenAI's newer name for it is `developer`.
Value messages_for_template(const ServedModel& model, const Value& messages) {
  if (model.card->chat_template_source.find("developer") != std::string::npos) return messages;
  Value result = messages;
  for (Value& message : result) {
    if (message["role"] == "developer") message["role"] = "system";
  }
  return result;
}

std::string plain_text(const Value& messages) {
  std::string text;
  for (const Value& message : messages) {
    if (!text.empty()) text += '\n';
    text += message["content"].get_ref<const std::string&>();
  }
  return text;
}

/// Cuts what the template writes after the last message's content, so that the model goes on in it.
std::string cut_after_last_message(std::string rendered, const Value& messages) {
  const auto& content = messages.back()["content"].get_ref<const std::string&>();
  const std::size_t at = content.empty() ? std::string::npos : rendered.rfind(content);
  if (at != std::string::npos) rendered.resize(at + content.size());
  return rendered;
}

Value template_context(const ServedModel& model, const ChatRequest& request) {
  Value context = Value::object();
  if (request.template_arguments.is_object()) context = request.template_arguments;
  context["messages"] = messages_for_template(model, request.messages);
  context["add_generation_prompt"] = request.add_generation_prompt;
  context["bos_token"] = token_text(model.tokenizer(), model.tokenizer().bos());
  context["eos_token"] = token_text(model.tokenizer(), model.tokenizer().eos());
  if (request.uses_tools()) context["tools"] = request.tools;
  return context;
}

}  // namespace

base::Result<std::string> render_chat(const ServedModel& model, const ChatRequest& request) {
  if (model.card->chat_template == nullptr) return plain_text(request.messages);
  auto rendered = model.card->chat_template->render(template_context(model, request));
  if (!rendered.ok()) {
    return field_error(
        "messages", "the model's chat template does not take this conversation: " + rendered.error().message);
  }
  if (request.continue_final_message)
    return cut_after_last_message(std::move(rendered).value(), request.messages);
  return rendered;
}

base::Result<Ids> chat_prompt(const ServedModel& model, const ChatRequest& request) {
  TW_ASSIGN_OR_RETURN(const std::string text, render_chat(model, request));
  const bool has_template = model.card->chat_template != nullptr;
  return model.tokenizer().encode(
      text, {.add_special = request.add_special.value_or(!has_template), .parse_special = has_template});
}

base::Result<Ids> prompt_ids(const ServedModel& model, std::string_view field, const Prompt& prompt,
                             bool add_special) {
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    return model.tokenizer().encode(*text, {.add_special = add_special, .parse_special = true});
  }
  const Ids& ids = std::get<Ids>(prompt);
  for (const std::int32_t id : ids) {
    if (static_cast<std::size_t>(id) >= model.tokenizer().size()) {
      return field_error(field, fmt::format("{} has the token id {}, but the vocabulary ends at {}", field,
                                            id, model.tokenizer().size() - 1));
    }
  }
  return ids;
}

std::optional<ApiError> check_length(const ServedModel& model, std::size_t prompt_tokens,
                                     std::int64_t answer) {
  const auto needed = static_cast<std::int64_t>(prompt_tokens) + answer;
  if (needed <= model.context()) return std::nullopt;
  ApiError error = to_api_error(field_error(
      "messages", fmt::format("the prompt has {} tokens, but the model's context holds {}{}: shorten it",
                              prompt_tokens, model.context(), answer > 0 ? " with the answer" : "")));
  error.param.clear();
  error.code = "context_length_exceeded";
  return error;
}

base::Result<infer::GenerateRequest> engine_request(const ServedModel& model, const GenerateFields& fields,
                                                    std::int64_t fallback) {
  infer::GenerateRequest request;
  request.sampling = fields.sampling;
  request.max_tokens = fields.max_tokens.value_or(fallback);
  request.stop = fields.stop;
  request.ignore_eos = fields.ignore_eos;
  request.skip_special = fields.skip_special;
  request.cache_salt = fields.cache_salt;
  request.adapter = model.adapter;
  if (model.adapter != nullptr) request.adapter_name = model.name;
  for (const auto& [token, bias] : fields.sampling.logit_bias) {
    if (static_cast<std::size_t>(token) < model.tokenizer().size()) continue;
    return field_error("logit_bias",
                       fmt::format("logit_bias has the token id {}, but the vocabulary ends at {}", token,
                                   model.tokenizer().size() - 1));
  }
  return request;
}

infer::GenerateRequest with_seed(Context& context, infer::GenerateRequest request,
                                 const GenerateFields& fields, int i) {
  request.sampling.seed = fields.seed ? *fields.seed + static_cast<std::uint64_t>(i) : context.next_random();
  return request;
}

}  // namespace tw::serve
