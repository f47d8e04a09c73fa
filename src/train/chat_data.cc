#include "train/chat_data.h"

#include <algorithm>

#include "text/content_parts.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::OrderedJson;
using base::Status;

base::Result<OrderedJson> messages_of(const OrderedJson& line) {
  const auto messages = line.is_object() ? line.find("messages") : line.end();
  if (!line.is_object() || messages == line.end() || !messages->is_array())
    return base::error(Code::kCorrupt, "has no list \"messages\"");
  TW_ASSIGN_OR_RETURN(OrderedJson plain, plain_messages(*messages));
  const bool any = std::any_of(plain.begin(), plain.end(),
                               [](const OrderedJson& message) { return message["role"] == "assistant"; });
  if (!any) return base::error(Code::kCorrupt, "no message is the assistant's, so there is nothing to learn");
  return plain;
}

/// A conversation in the template's words, up to each turn and after it.
class Renderer {
 public:
  Renderer(const OrderedJson& tools, const text::Tokenizer& tokenizer,
           const text::ChatTemplate& chat_template)
      : tokenizer_(tokenizer), template_(chat_template) {
    const auto special = [&](std::optional<text::TokenId> id) {
      return id ? tokenizer.piece(*id) : std::string();
    };
    context_ = {{"bos_token", special(tokenizer.bos())}, {"eos_token", special(tokenizer.eos())}};
    if (!tools.is_null()) context_["tools"] = tools;
  }

  base::Result<std::string> render(const OrderedJson& messages, std::size_t count, bool prompt) {
    OrderedJson first = OrderedJson::array();
    for (std::size_t i = 0; i < count; ++i) first.push_back(messages[i]);
    context_["messages"] = std::move(first);
    context_["add_generation_prompt"] = prompt;
    auto text = template_.render(context_);
    if (text.ok()) return text;
    return base::error(Code::kCorrupt, "the model's chat template does not take this conversation: {}",
                       text.error().message);
  }

  void append(std::string_view text, bool learnt, ChatSample& sample) const {
    const std::vector<text::TokenId> ids =
        tokenizer_.encode(text, {.add_special = false, .parse_special = true});
    bool open = learnt;  // what the template writes after the end of the answer is not the model's to say
    for (const text::TokenId id : ids) {
      sample.ids.push_back(id);
      sample.learnt.push_back(open ? 1 : 0);
      if (tokenizer_.is_end_of_generation(id)) open = false;
    }
  }

 private:
  const text::Tokenizer& tokenizer_;
  const text::ChatTemplate& template_;
  OrderedJson context_;
};

/// What serving would send the model before a turn, and with it.
struct Turn {
  std::string prompt, full;
};

base::Result<Turn> turn_of(const OrderedJson& messages, std::size_t i, Renderer& renderer) {
  Turn turn;
  TW_ASSIGN_OR_RETURN(turn.prompt, renderer.render(messages, i, true));
  TW_ASSIGN_OR_RETURN(turn.full, renderer.render(messages, i + 1, false));
  if (turn.full.starts_with(turn.prompt)) return turn;
  return base::error(Code::kCorrupt,
                     "message {}: the chat template opens the assistant's turn otherwise than it writes it",
                     i + 1);
}

base::Result<std::vector<Turn>> turns_of(const OrderedJson& messages, Renderer& renderer) {
  std::vector<Turn> turns;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i]["role"] != "assistant") continue;
    TW_ASSIGN_OR_RETURN(Turn turn, turn_of(messages, i, renderer));
    turns.push_back(std::move(turn));
  }
  return turns;
}

/// The rest of a turn after what was written of it.
void append_turn(const Turn& turn, std::size_t written, const Renderer& renderer, ChatSample& sample) {
  const std::string_view prompt(turn.prompt), full(turn.full);
  renderer.append(prompt.substr(written), false, sample);
  renderer.append(full.substr(prompt.size()), true, sample);
}

}  // namespace

base::Result<OrderedJson> plain_messages(OrderedJson messages) {
  int number = 0;
  for (OrderedJson& message : messages) {
    ++number;
    const auto role = message.is_object() ? message.find("role") : message.end();
    if (!message.is_object() || role == message.end() || !role->is_string())
      return base::error(Code::kCorrupt, "a message has no string \"role\"");
    const auto content = message.find("content");
    if (content == message.end() || content->is_null() || content->is_string()) continue;
    if (!content->is_array())
      return base::error(Code::kCorrupt, "message {}: its content is neither a text nor a list of parts",
                         number);
    auto joined = text::join_content_parts(*content);
    if (!joined.ok())
      return base::error(Code::kCorrupt, "message {}: content{} {}", number, joined.error().where,
                         joined.error().message);
    *content = *std::move(joined);
  }
  return messages;
}

base::Result<ChatSample> last_answer(const OrderedJson& messages, const OrderedJson& tools,
                                     const text::Tokenizer& tokenizer,
                                     const text::ChatTemplate& chat_template) {
  Renderer renderer(tools, tokenizer, chat_template);
  TW_ASSIGN_OR_RETURN(const Turn turn, turn_of(messages, messages.size() - 1, renderer));
  ChatSample sample;
  append_turn(turn, 0, renderer, sample);
  return sample;
}

base::Result<std::vector<ChatSample>> chat_samples(const OrderedJson& line, const text::Tokenizer& tokenizer,
                                                   const text::ChatTemplate& chat_template) {
  TW_ASSIGN_OR_RETURN(const OrderedJson messages, messages_of(line));
  Renderer renderer(line.value("tools", OrderedJson()), tokenizer, chat_template);
  TW_ASSIGN_OR_RETURN(const std::vector<Turn> turns, turns_of(messages, renderer));
  std::vector<ChatSample> samples(1);
  std::string written;
  for (const Turn& turn : turns) {
    if (!turn.prompt.starts_with(written)) {
      samples.emplace_back();
      written.clear();
    }
    append_turn(turn, written.size(), renderer, samples.back());
    written = turn.full;
  }
  return samples;
}

base::Result<TokenFile> tokenize_lines(const Corpus& corpus, const CorpusTokenizer& with,
                                       const std::string& path, const std::string& kind,
                                       const TokenizeOptions& options, const AddLine& add) {
  return make_token_file(corpus, with, path, kind, true, [&](TokenFileWriter& writer) -> Status {
    std::uint64_t done = 0;
    for (const Corpus::File& file : corpus.files()) {
      if (!file.path.ends_with(".jsonl")) {
        return base::Error{Code::kInvalidArgument,
                           "is no .jsonl file: conversations and preferences are read from those only",
                           file.path};
      }
      TW_RETURN_IF_ERROR(
          each_json_line(file.path, [&](const OrderedJson& line) { return add(line, writer); }));
      done += file.bytes;
      if (options.progress) options.progress(done, corpus.bytes());
    }
    return Ok{};
  });
}

base::Result<TokenFile> tokenize_chats(const Corpus& corpus, const CorpusTokenizer& with,
                                       const text::ChatTemplate& chat_template,
                                       const std::string& template_sha256, const std::string& path,
                                       const TokenizeOptions& options) {
  const auto add = [&](const OrderedJson& line, TokenFileWriter& writer) -> Status {
    TW_ASSIGN_OR_RETURN(const std::vector<ChatSample> samples,
                        chat_samples(line, with.tokenizer, chat_template));
    for (const ChatSample& sample : samples) {
      TW_RETURN_IF_ERROR(writer.add(sample.ids, sample.learnt));
      writer.end_document();
    }
    return Ok{};
  };
  return tokenize_lines(corpus, with, path, "chat " + template_sha256, options, add);
}

}  // namespace tw::train
