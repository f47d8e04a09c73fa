#include "train/chat_data.h"

#include <gmock/gmock.h>

#include "train/test_files.h"

namespace tw::train {
namespace {

using testing::HasSubstr;

constexpr const char* kChatMl =
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor "
    "%}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
/// Drops the thoughts of all turns but the last, as reasoning models' templates do.
constexpr const char* kForgetful =
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{{- m.content.split('</think>')[-1] if not loop.last else m.content }}{{- '<|im_end|>\\n' }}{%- endfor "
    "%}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

text::ChatTemplate parse(const char* source) {
  auto made = text::ChatTemplate::parse(source);
  EXPECT_TRUE(made.ok()) << made.error().text();
  return *std::move(made);
}

base::OrderedJson json(const std::string& text) {
  auto made = base::parse_ordered_json(text);
  EXPECT_TRUE(made.ok()) << text;
  return *made;
}

/// The learnt tokens' text in brackets.
std::string marked(const ChatSample& sample, const text::Tokenizer& tokenizer) {
  std::string text;
  bool open = false;
  for (std::size_t i = 0; i <= sample.ids.size(); ++i) {
    const bool learnt = i < sample.ids.size() && sample.learnt[i] != 0;
    if (learnt != open) text += learnt ? "[" : "]";
    open = learnt;
    if (i < sample.ids.size()) text += tokenizer.piece(sample.ids[i]);
  }
  return text;
}

TEST(ChatSamples, LearnWhatTheAssistantSaysAndItsEnd) {
  const auto tokenizer = byte_tokenizer();
  const auto samples =
      chat_samples(json(R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"Hi"},
               {"role":"assistant","content":"Yo"},{"role":"user","content":"?"},{"role":"assistant","content":"!"}]})"),
                   *tokenizer, parse(kChatMl));
  ASSERT_TRUE(samples.ok()) << samples.error().text();
  ASSERT_EQ(samples->size(), 1u);
  EXPECT_EQ(marked((*samples)[0], *tokenizer),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
            "[Yo<|im_end|>]\n<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n[!<|im_end|>]\n");
}

TEST(ChatSamples, ATemplateThatForgetsGivesASampleATurn) {
  const auto tokenizer = byte_tokenizer();
  const auto samples = chat_samples(
      json(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"hm</think>b"},
               {"role":"user","content":"c"},{"role":"assistant","content":"so</think>d"}]})"),
      *tokenizer, parse(kForgetful));
  ASSERT_TRUE(samples.ok()) << samples.error().text();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ(marked((*samples)[0], *tokenizer),
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[hm</think>b<|im_end|>]\n");
  EXPECT_EQ(
      marked((*samples)[1], *tokenizer),
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
      "<|im_start|>assistant\n[so</think>d<|im_end|>]\n");
}

TEST(ChatSamples, TakeContentsInPartsAsServingDoes) {
  const auto tokenizer = byte_tokenizer();
  const auto samples = chat_samples(
      json(
          R"({"messages":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"text","text":"you"}]},
               {"role":"assistant","content":[{"type":"text","text":"Yo"}]}]})"),
      *tokenizer, parse(kChatMl));
  ASSERT_TRUE(samples.ok()) << samples.error().text();
  EXPECT_EQ(marked((*samples)[0], *tokenizer),
            "<|im_start|>user\nHi\nyou<|im_end|>\n<|im_start|>assistant\n[Yo<|im_end|>]\n");
}

TEST(ChatSamples, SayWhatIsWrong) {
  const auto tokenizer = byte_tokenizer();
  const auto fails = [&](const char* line, const char* chat_template, const char* text) {
    const auto samples = chat_samples(json(line), *tokenizer, parse(chat_template));
    ASSERT_FALSE(samples.ok()) << line;
    EXPECT_THAT(samples.error().text(), HasSubstr(text));
  };
  fails("[]", kChatMl, "no list \"messages\"");
  fails(R"({"messages":"x"})", kChatMl, "no list \"messages\"");
  fails(R"({"messages":[{"content":"x"}]})", kChatMl, "no string \"role\"");
  fails(R"({"messages":[{"role":"user","content":"x"}]})", kChatMl, "nothing to learn");
  fails(
      R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"y"},
           {"type":"image_url","image_url":{"url":"z"}}]}]})",
      kChatMl, "message 2: content[1] is \"image_url\": only parts of type text are supported");
  fails(R"({"messages":[{"role":"assistant","content":[{"type":"text"}]}]})", kChatMl,
        "message 1: content[0].text must be a string");
  fails(R"({"messages":[{"role":"assistant","content":7}]})", kChatMl,
        "message 1: its content is neither a text nor a list of parts");
  const char* one = R"({"messages":[{"role":"assistant","content":"x"}]})";
  fails(one, "{{ raise_exception('No system role') }}", "does not take this conversation: No system role");
  fails(one, "{{ add_generation_prompt }}", "message 1: the chat template opens");
}

TEST(TokenizeChats, WritesAMaskAndNamesTheLine) {
  const std::string folder = test_folder();
  const std::string good =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})";
  write_text(folder + "/in/a.jsonl", good + "\n" + good + "\n");
  const auto tokenizer = byte_tokenizer();
  const auto run = [&]() {
    const auto corpus = Corpus::open(folder + "/in");
    EXPECT_TRUE(corpus.ok());
    return tokenize_chats(*corpus, {*tokenizer, std::string(64, 'e'), true}, parse(kChatMl),
                          std::string(64, 'f'), folder + "/a.tokens", {});
  };
  const auto file = run();
  ASSERT_TRUE(file.ok()) << file.error().text();
  ASSERT_EQ(file->documents(), 2u);
  ASSERT_TRUE(file->has_mask());
  int learnt = 0;
  for (std::uint64_t i = 0; i < file->tokens(); ++i) learnt += file->learnt(i) ? 1 : 0;
  EXPECT_EQ(learnt, 4) << "b and its end, twice";

  write_text(folder + "/in/b.jsonl", good + "\n\n{\"messages\":[]}\n");
  const auto broken = run();
  ASSERT_FALSE(broken.ok());
  EXPECT_THAT(broken.error().text(), HasSubstr(folder + "/in/b.jsonl:3: no message is the assistant's"));
  write_text(folder + "/in/b.jsonl", good + R"(
{"messages":[{"role":"assistant","content":[{"type":"input_audio"}]}]})");
  EXPECT_THAT(run().error().text(),
              HasSubstr(folder + "/in/b.jsonl:2: message 1: content[0] is \"input_audio\""));
  write_text(folder + "/in/b.jsonl", good);
  write_text(folder + "/in/c.txt", "text");
  EXPECT_THAT(run().error().text(), HasSubstr("c.txt: is no .jsonl file"));
}

}  // namespace
}  // namespace tw::train
