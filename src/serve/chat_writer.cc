#include "serve/chat_writer.h"

namespace tw::serve {
namespace {

using Json = base::OrderedJson;

struct ToolCall {
  std::string id, name, arguments;
  Json json() const {
    return {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}};
  }
};

struct Choice {
  explicit Choice(const ChatAnswer& answer) {
    if (answer.tools) parser.emplace(*answer.tools, answer.tool_names);
  }
  std::optional<text::ToolCallParser> parser;  ///< absent: all text is content
  std::string text;
  Json logprobs = Json::array();  ///< not yet written
  std::vector<ToolCall> calls;
  std::optional<infer::FinishReason> finish;
  std::string stop_text;
  std::int64_t generated = 0;

  Json finish_json() const {
    if (!calls.empty() && finish == infer::FinishReason::kStop) return "tool_calls";
    return finish_reason(finish);
  }
  Json stop_json() const { return stop_text.empty() ? Json(nullptr) : Json(stop_text); }
};

class ChatWriter : public AnswerWriter {
 public:
  ChatWriter(std::shared_ptr<Context> context, ModelPtr model, ExchangePtr exchange, ChatAnswer answer)
      : context_(std::move(context)),
        model_(std::move(model)),
        exchange_(std::move(exchange)),
        answer_(std::move(answer)),
        open_count_(answer_.n) {
    for (int i = 0; i < answer_.n; ++i) choices_.emplace_back(answer_);
    const std::string head = base::dump_json(answer_.head.json());
    event_head_ = head.substr(0, head.size() - 1) + ",\"choices\":[{\"index\":";
  }

  void open() override {
    if (!answer_.stream) return;
    exchange_->begin_stream(200, std::string(kSseType), stream_headers(answer_.ignored));
    for (int i = 0; i < answer_.n; ++i) write_delta(i, R"({"role":"assistant","content":""})");
  }

  void chunk(std::size_t sequence, const infer::Chunk& chunk) override {
    if (ended_) return;
    if (chunk.finish == infer::FinishReason::kError || chunk.finish == infer::FinishReason::kAborted) {
      return end_with_error(generation_error(chunk));
    }
    Choice& choice = choices_[sequence];
    take_counts(sequence, choice, chunk);
    const int index = static_cast<int>(sequence);
    if (choice.parser) {
      take_delta(index, choice, choice.parser->push(chunk.text));
      if (chunk.finish) take_delta(index, choice, choice.parser->finish());
    } else {
      take_text(index, choice, chunk.text);
    }
    if (answer_.include_stop) take_text(index, choice, chunk.stop_text);
    if (answer_.stream && !choice.logprobs.empty()) write_text(index, choice, "");
    if (!chunk.finish) return;
    if (answer_.stream) write_delta(index, "{}");
    if (--open_count_ == 0) end();
  }

 private:
  void take_counts(std::size_t sequence, Choice& choice, const infer::Chunk& chunk) {
    usage_.completion += chunk.generated_tokens - choice.generated;
    choice.generated = chunk.generated_tokens;
    choice.finish = chunk.finish;
    choice.stop_text = chunk.stop_text;
    if (sequence == 0) usage_.prompt = chunk.prompt_tokens;
    if (sequence == 0) usage_.cached = chunk.cached_tokens;
    if (!answer_.logprobs) return;
    for (const infer::TokenLogprob& token : chunk.logprobs) {
      choice.logprobs.push_back(chat_logprob(model_->tokenizer(), token, answer_.top_logprobs));
    }
  }

  void take_text(int index, Choice& choice, std::string_view text) {
    if (text.empty()) return;
    if (answer_.stream)
      write_text(index, choice, text);
    else
      choice.text += text;
  }

  void take_delta(int index, Choice& choice, const text::ToolDelta& delta) {
    take_text(index, choice, delta.content);
    for (const text::ToolDelta::Call& part : delta.calls) {
      if (part.index == 0 || answer_.parallel_tool_calls) take_call(index, choice, part);
    }
  }

  void take_call(int index, Choice& choice, const text::ToolDelta::Call& part) {
    if (part.started) choice.calls.push_back({context_->next_id("call_"), part.name, {}});
    ToolCall& call = choice.calls[part.index];
    if (!answer_.stream) {
      call.arguments += part.arguments;
      return;
    }
    Json delta = {{"index", part.index}};
    if (part.started) delta.update(call.json());
    delta["function"]["arguments"] = part.arguments;
    write_delta(index, base::dump_json(Json{{"tool_calls", Json::array({std::move(delta)})}}));
  }

  void write_text(int index, Choice& choice, std::string_view text) {
    if (text.empty() && choice.logprobs.empty()) return;
    std::string logprobs = "null";
    if (!choice.logprobs.empty()) {
      logprobs = base::dump_json(
          Json{{"content", std::exchange(choice.logprobs, Json::array())}, {"refusal", nullptr}});
    }
    write_event(index, "{\"content\":" + json_string(text) + "}", logprobs, "null", "null");
  }

  /// A delta without text. The choice's end is told with the last one.
  void write_delta(int index, std::string_view delta) {
    const Choice& choice = choices_[static_cast<std::size_t>(index)];
    const bool last = delta == "{}";
    write_event(index, delta, "null", last ? base::dump_json(choice.finish_json()) : "null",
                last ? base::dump_json(choice.stop_json()) : "null");
  }

  // The events of a stream differ in few places, and there is one for each token: they are put together as
  // text.
  void write_event(int index, std::string_view delta, std::string_view logprobs, std::string_view finish,
                   std::string_view stop) {
    std::string usage;
    if (answer_.usage_each_chunk)
      usage = ",\"usage\":" + base::dump_json(usage_.json());
    else if (answer_.include_usage)
      usage = ",\"usage\":null";
    exchange_->write(fmt::format(
        "data: {}{},\"delta\":{},\"logprobs\":{},\"finish_reason\":{},\"stop_reason\":{}}}]{}}}\n\n",
        event_head_, index, delta, logprobs, finish, stop, usage));
  }

  Json message_json(const Choice& choice) const {
    Json message = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
    if (choice.calls.empty()) return message;
    if (choice.text.empty()) message["content"] = nullptr;
    for (const ToolCall& call : choice.calls) message["tool_calls"].push_back(call.json());
    return message;
  }

  void end() {
    ended_ = true;
    Json document = answer_.head.json();
    document["choices"] = Json::array();
    if (!answer_.stream) {
      for (std::size_t i = 0; i < choices_.size(); ++i) document["choices"].push_back(choice_json(i));
    }
    document["usage"] = usage_.json();
    if (!answer_.stream) return exchange_->respond(json_response(base::dump_json(document), answer_.ignored));
    if (answer_.include_usage) exchange_->write(sse_event(base::dump_json(document)));
    exchange_->write(std::string(kSseDone));
    exchange_->end_stream();
  }

  Json choice_json(std::size_t index) const {
    const Choice& choice = choices_[index];
    Json json = {{"index", index}, {"message", message_json(choice)}, {"logprobs", nullptr}};
    if (answer_.logprobs) json["logprobs"] = {{"content", choice.logprobs}, {"refusal", nullptr}};
    json["finish_reason"] = choice.finish_json();
    json["stop_reason"] = choice.stop_json();
    return json;
  }

  void end_with_error(const ApiError& error) {
    ended_ = true;
    if (!answer_.stream) return exchange_->respond(error_response(error));
    exchange_->write(sse_event(error_body(error)));
    exchange_->end_stream();
  }

  const std::shared_ptr<Context> context_;
  const ModelPtr model_;
  const ExchangePtr exchange_;
  const ChatAnswer answer_;
  std::string event_head_;  ///< every event up to the choice's index
  std::vector<Choice> choices_;
  int open_count_;
  Usage usage_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_chat_writer(std::shared_ptr<Context> context, ModelPtr model,
                                               ExchangePtr exchange, ChatAnswer answer) {
  return std::make_unique<ChatWriter>(std::move(context), std::move(model), std::move(exchange),
                                      std::move(answer));
}

}  // namespace tw::serve
