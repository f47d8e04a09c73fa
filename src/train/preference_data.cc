#include "train/preference_data.h"

#include <algorithm>

#include "base/hash64.h"

namespace tw::train {
namespace {

using base::Code;
using base::Ok;
using base::OrderedJson;
using base::Status;

constexpr const char* kKeys[] = {"prompt", "chosen", "rejected"};

/// All three are texts, or all three lists.
Status check_line(const OrderedJson& line) {
  for (const char* key : kKeys) {
    const bool there = line.is_object() && line.contains(key);
    if (!there || (!line[key].is_string() && !line[key].is_array()))
      return base::error(Code::kCorrupt, "has no \"{}\" that is a text or a list of messages", key);
    if (line[key].type() != line["prompt"].type())
      return base::error(
          Code::kCorrupt,
          "\"prompt\", \"chosen\" and \"rejected\" must all be texts, or all lists of messages");
  }
  return Ok{};
}

ChatSample text_sample(const OrderedJson& line, const char* answer, const text::Tokenizer& tokenizer) {
  ChatSample sample;
  const auto add = [&](const std::vector<text::TokenId>& ids, std::uint8_t learnt) {
    sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
    sample.learnt.insert(sample.learnt.end(), ids.size(), learnt);
  };
  const text::EncodeOptions plain{.add_special = false, .parse_special = false};
  if (tokenizer.adds_bos()) add({*tokenizer.bos()}, 0);
  add(tokenizer.encode(line["prompt"].get<std::string>(), plain), 0);
  add(tokenizer.encode(line[answer].get<std::string>(), plain), 1);
  if (tokenizer.eos()) add({*tokenizer.eos()}, 1);
  return sample;
}

base::Result<ChatSample> chat_sample(const OrderedJson& line, const char* answer,
                                     const text::Tokenizer& tokenizer,
                                     const text::ChatTemplate* chat_template) {
  if (chat_template == nullptr)
    return base::error(Code::kCorrupt,
                       "has messages, but the model has no chat template to put them into: give texts");
  TW_ASSIGN_OR_RETURN(OrderedJson messages, plain_messages(line["prompt"]));
  TW_ASSIGN_OR_RETURN(const OrderedJson answers, plain_messages(line[answer]));
  if (answers.size() != 1 || answers[0]["role"] != "assistant")
    return base::error(Code::kCorrupt, "\"{}\" must be one message, the assistant's", answer);
  messages.push_back(answers[0]);
  return last_answer(messages, line.value("tools", OrderedJson()), tokenizer, *chat_template);
}

base::Result<ChatSample> sample_of(const OrderedJson& line, const char* answer,
                                   const text::Tokenizer& tokenizer,
                                   const text::ChatTemplate* chat_template) {
  ChatSample sample;
  if (line[answer].is_string()) {
    sample = text_sample(line, answer, tokenizer);
  } else {
    TW_ASSIGN_OR_RETURN(sample, chat_sample(line, answer, tokenizer, chat_template));
  }
  // A first token has nothing that it could follow from.
  if (sample.ids.empty() ||
      std::find(sample.learnt.begin() + 1, sample.learnt.end(), 1) == sample.learnt.end())
    return base::error(Code::kCorrupt, "\"{}\" has no token after a prompt", answer);
  return sample;
}

}  // namespace

base::Result<PreferencePair> preference_pair(const OrderedJson& line, const text::Tokenizer& tokenizer,
                                             const text::ChatTemplate* chat_template) {
  TW_RETURN_IF_ERROR(check_line(line));
  PreferencePair pair;
  TW_ASSIGN_OR_RETURN(pair.chosen, sample_of(line, "chosen", tokenizer, chat_template));
  TW_ASSIGN_OR_RETURN(pair.rejected, sample_of(line, "rejected", tokenizer, chat_template));
  return pair;
}

base::Result<TokenFile> tokenize_preferences(const Corpus& corpus, const CorpusTokenizer& with,
                                             const std::string& chat_template, const std::string& path,
                                             const TokenizeOptions& options) {
  std::optional<text::ChatTemplate> parsed;
  if (!chat_template.empty()) {
    TW_ASSIGN_OR_RETURN(parsed, text::ChatTemplate::parse(chat_template));
  }
  const auto add = [&](const OrderedJson& line, TokenFileWriter& writer) -> Status {
    TW_ASSIGN_OR_RETURN(const PreferencePair pair,
                        preference_pair(line, with.tokenizer, parsed ? &*parsed : nullptr));
    for (const ChatSample* sample : {&pair.chosen, &pair.rejected}) {
      TW_RETURN_IF_ERROR(writer.add(sample->ids, sample->learnt));
      writer.end_document();
    }
    return Ok{};
  };
  const std::string kind = fmt::format("preference {:016x}", base::hash64(chat_template));
  return tokenize_lines(corpus, with, path, kind, options, add);
}

}  // namespace tw::train
