#include "train/chat_data.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::OrderedJson;
using base::Status;

base::Result<OrderedJson> messages_of(const OrderedJson& line) {
  const auto wrong = [](const char* what) { return base::error(Code::kCorrupt, "{}", what); };
  const auto messages = line.is_object() ? line.find("messages") : line.end();
  if (!line.is_object() || messages == line.end() || !messages->is_array())
    return wrong("has no list \"messages\"");
  bool any = false;
  for (const OrderedJson& message : *messages) {
    const auto role = message.is_object() ? message.find("role") : message.end();
    if (!message.is_object() || role == message.end() || !role->is_string())
      return wrong("a message has no string \"role\"");
    any = any || *role == "assistant";
  }
  if (!any) return wrong("no message is the assistant's, so there is nothing to learn");
  return *messages;
}

/// A conversation in the template's words, up to each turn and after it.
class Renderer {
 public:
  Renderer(const OrderedJson& line, const text::Tokenizer& tokenizer, const text::ChatTemplate& chat_template)
      : tokenizer_(tokenizer), template_(chat_template) {
    const auto special = [&](std::optional<text::TokenId> id) {
      return id ? tokenizer.piece(*id) : std::string();
    };
    context_ = {{"bos_token", special(tokenizer.bos())}, {"eos_token", special(tokenizer.eos())}};
    if (line.contains("tools")) context_["tools"] = line["tools"];
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

base::Result<std::vector<Turn>> turns_of(const OrderedJson& messages, Renderer& renderer) {
  std::vector<Turn> turns;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i]["role"] != "assistant") continue;
    Turn turn;
    TW_ASSIGN_OR_RETURN(turn.prompt, renderer.render(messages, i, true));
    TW_ASSIGN_OR_RETURN(turn.full, renderer.render(messages, i + 1, false));
    if (!turn.full.starts_with(turn.prompt)) {
      return base::error(
          Code::kCorrupt,
          "message {}: the chat template opens the assistant's turn otherwise than it writes it", i + 1);
    }
    turns.push_back(std::move(turn));
  }
  return turns;
}

}  // namespace

base::Result<std::vector<ChatSample>> chat_samples(const OrderedJson& line, const text::Tokenizer& tokenizer,
                                                   const text::ChatTemplate& chat_template) {
  TW_ASSIGN_OR_RETURN(const OrderedJson messages, messages_of(line));
  Renderer renderer(line, tokenizer, chat_template);
  TW_ASSIGN_OR_RETURN(const std::vector<Turn> turns, turns_of(messages, renderer));
  std::vector<ChatSample> samples(1);
  std::string written;
  for (const Turn& turn : turns) {
    if (!turn.prompt.starts_with(written)) {
      samples.emplace_back();
      written.clear();
    }
    const std::string_view prompt(turn.prompt), full(turn.full);
    renderer.append(prompt.substr(written.size()), false, samples.back());
    renderer.append(full.substr(prompt.size()), true, samples.back());
    written = turn.full;
  }
  return samples;
}

base::Result<TokenFile> tokenize_chats(const Corpus& corpus, const CorpusTokenizer& with,
                                       const text::ChatTemplate& chat_template,
                                       const std::string& template_sha256, const std::string& path,
                                       const TokenizeOptions& options) {
  return make_token_file(
      corpus, with, path, "chat " + template_sha256, true, [&](TokenFileWriter& writer) -> Status {
        std::uint64_t done = 0;
        for (const Corpus::File& file : corpus.files()) {
          if (!file.path.ends_with(".jsonl")) {
            return base::Error{Code::kInvalidArgument,
                               "is no .jsonl file: conversations are read from those only", file.path};
          }
          const Status status = each_json_line(file.path, [&](const OrderedJson& line) -> Status {
            TW_ASSIGN_OR_RETURN(const std::vector<ChatSample> samples,
                                chat_samples(line, with.tokenizer, chat_template));
            for (const ChatSample& sample : samples) {
              TW_RETURN_IF_ERROR(writer.add(sample.ids, sample.learnt));
              writer.end_document();
            }
            return Ok{};
          });
          TW_RETURN_IF_ERROR(status);
          done += file.bytes;
          if (options.progress) options.progress(done, corpus.bytes());
        }
        return Ok{};
      });
}

}  // namespace tw::train
