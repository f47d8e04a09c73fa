#include "serve/completion_writer.h"

#include "serve/completion_logprobs.h"

namespace tw::serve {
namespace {

using Json = base::OrderedJson;

struct Choice {
  std::unique_ptr<CompletionLogprobs> logprobs;  ///< null: not asked for
  std::string text;
  bool begun = false;
  std::optional<infer::FinishReason> finish;
  std::string stop_text;
  std::int64_t generated = 0;
};

class CompletionWriter : public AnswerWriter {
 public:
  CompletionWriter(ModelPtr model, ExchangePtr exchange, CompletionAnswer answer)
      : model_(std::move(model)),
        exchange_(std::move(exchange)),
        answer_(std::move(answer)),
        choices_(answer_.sequences),
        open_count_(answer_.sequences) {
    for (Choice& choice : choices_) {
      if (answer_.logprobs < 0) break;
      choice.logprobs = std::make_unique<CompletionLogprobs>(model_->tokenizer(), answer_.logprobs);
    }
  }

  void open() override {
    if (answer_.stream) exchange_->begin_stream(200, std::string(kSseType), stream_headers(answer_.ignored));
  }

  void chunk(std::size_t sequence, const infer::Chunk& chunk) override {
    if (ended_) return;
    if (chunk.finish == infer::FinishReason::kError || chunk.finish == infer::FinishReason::kAborted) {
      return end_with_error(generation_error(chunk));
    }
    Choice& choice = choices_[sequence];
    const std::string text = take_text(sequence, choice, chunk);
    take_counts(sequence, choice, chunk);
    if (answer_.stream) {
      const bool says_something = !text.empty() || !chunk.tokens.empty() || chunk.finish;
      if (says_something) write_event(sequence, choice, text);
    } else {
      choice.text += text;
    }
    if (chunk.finish && --open_count_ == 0) end();
  }

 private:
  std::string take_text(std::size_t sequence, Choice& choice, const infer::Chunk& chunk) {
    std::string text;
    if (!choice.begun && answer_.echo) {
      text = answer_.prompt_texts[sequence / answer_.n];
      if (choice.logprobs)
        add_prompt_logprobs(*choice.logprobs, answer_.prompts[sequence / answer_.n], chunk);
    }
    choice.begun = true;
    text += chunk.text;
    if (answer_.include_stop) text += chunk.stop_text;
    if (choice.logprobs == nullptr) return text;
    for (const infer::TokenLogprob& token : chunk.logprobs) choice.logprobs->add(token.token, token);
    return text;
  }

  static void add_prompt_logprobs(CompletionLogprobs& out, const std::vector<std::int32_t>& ids,
                                  const infer::Chunk& chunk) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      out.add(ids[i], i < chunk.prompt_logprobs.size() ? chunk.prompt_logprobs[i] : std::nullopt);
    }
  }

  void take_counts(std::size_t sequence, Choice& choice, const infer::Chunk& chunk) {
    usage_.completion += chunk.generated_tokens - choice.generated;
    choice.generated = chunk.generated_tokens;
    choice.finish = chunk.finish;
    choice.stop_text = chunk.stop_text;
    if (chunk.finish && sequence % answer_.n == 0) {
      usage_.prompt += chunk.prompt_tokens;
      usage_.cached += chunk.cached_tokens;
    }
  }

  Json choice_json(std::size_t sequence, Choice& choice, std::string text) const {
    Json json = {{"index", sequence}, {"text", std::move(text)}, {"logprobs", nullptr}};
    if (choice.logprobs) json["logprobs"] = choice.logprobs->take();
    json["finish_reason"] = finish_reason(choice.finish);
    json["stop_reason"] = choice.stop_text.empty() ? Json(nullptr) : Json(choice.stop_text);
    return json;
  }

  void write_event(std::size_t sequence, Choice& choice, const std::string& text) {
    Json event = answer_.head.json();
    event["choices"] = Json::array({choice_json(sequence, choice, text)});
    if (answer_.usage_each_chunk)
      event["usage"] = usage_.json();
    else if (answer_.include_usage)
      event["usage"] = nullptr;
    exchange_->write(sse_event(base::dump_json(event)));
  }

  void end() {
    ended_ = true;
    Json last = answer_.head.json();
    last["choices"] = Json::array();
    if (answer_.stream) {
      last["usage"] = usage_.json();
      if (answer_.include_usage) exchange_->write(sse_event(base::dump_json(last)));
      exchange_->write(std::string(kSseDone));
      exchange_->end_stream();
      return;
    }
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      last["choices"].push_back(choice_json(i, choices_[i], std::move(choices_[i].text)));
    }
    last["usage"] = usage_.json();
    exchange_->respond(json_response(base::dump_json(last), answer_.ignored));
  }

  void end_with_error(const ApiError& error) {
    ended_ = true;
    if (!answer_.stream) return exchange_->respond(error_response(error));
    exchange_->write(sse_event(error_body(error)));
    exchange_->end_stream();
  }

  const ModelPtr model_;
  const ExchangePtr exchange_;
  const CompletionAnswer answer_;
  std::vector<Choice> choices_;
  std::size_t open_count_;
  Usage usage_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<AnswerWriter> make_completion_writer(ModelPtr model, ExchangePtr exchange,
                                                     CompletionAnswer answer) {
  return std::make_unique<CompletionWriter>(std::move(model), std::move(exchange), std::move(answer));
}

}  // namespace tw::serve
