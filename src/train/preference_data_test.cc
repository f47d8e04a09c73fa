#include "train/preference_data.h"

#include <gmock/gmock.h>

#include "train/test_files.h"

namespace tw::train {
namespace {

using testing::HasSubstr;

constexpr const char* kTemplate =
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor "
    "%}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

base::OrderedJson json(const std::string& text) {
  auto made = base::parse_ordered_json(text);
  EXPECT_TRUE(made.ok()) << text;
  return *made;
}

/// The tokens' text, the learnt ones' after a bar.
std::string shown(const ChatSample& sample, const text::Tokenizer& tokenizer) {
  std::string text;
  bool learnt = false;
  for (std::size_t i = 0; i < sample.ids.size(); ++i) {
    if ((sample.learnt[i] != 0) != learnt) text += '|';
    learnt = sample.learnt[i] != 0;
    text += tokenizer.piece(sample.ids[i]);
  }
  return text;
}

TEST(PreferencePairs, OfTextsEndWithEos) {
  const auto tokenizer = byte_tokenizer();
  const auto pair = preference_pair(json(R"({"prompt": "Hi ", "chosen": "you", "rejected": "<|im_end|>"})"),
                                    *tokenizer, nullptr);
  ASSERT_TRUE(pair.ok()) << pair.error().text();
  EXPECT_EQ(shown(pair->chosen, *tokenizer), "<|endoftext|>Hi |you<|endoftext|>");
  EXPECT_EQ(shown(pair->rejected, *tokenizer), "<|endoftext|>Hi |<|im_end|><|endoftext|>");
  EXPECT_EQ(pair->rejected.ids.size(), 4U + 10 + 1) << "a text gives no control token";
}

TEST(PreferencePairs, OfMessagesHaveTheTemplatesWords) {
  const auto tokenizer = byte_tokenizer();
  const auto chat = text::ChatTemplate::parse(kTemplate).value();
  const auto pair = preference_pair(
      json(R"({"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}],
               "chosen": [{"role": "assistant", "content": "Yo"}], "rejected": [{"role": "assistant", "content": "No"}]})"),
      *tokenizer, &chat);
  ASSERT_TRUE(pair.ok()) << pair.error().text();
  const std::string prompt =
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n|";
  EXPECT_EQ(shown(pair->chosen, *tokenizer), prompt + "Yo<|im_end|>|\n");
  EXPECT_EQ(shown(pair->rejected, *tokenizer), prompt + "No<|im_end|>|\n");
  const auto parts = preference_pair(
      json(
          R"({"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
               "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "Yo"}]}],
               "rejected": [{"role": "assistant", "content": "No"}]})"),
      *tokenizer, &chat);
  ASSERT_TRUE(parts.ok()) << parts.error().text();
  EXPECT_EQ(parts->chosen.ids, pair->chosen.ids);
  EXPECT_EQ(parts->rejected.ids, pair->rejected.ids);
}

TEST(PreferencePairs, SayWhatIsWrong) {
  const auto tokenizer = byte_tokenizer();
  const auto chat = text::ChatTemplate::parse(kTemplate).value();
  const auto complaint = [&](const char* line, bool chats = true) {
    const auto pair = preference_pair(json(line), *tokenizer, chats ? &chat : nullptr);
    return pair.ok() ? "" : pair.error().text();
  };
  EXPECT_THAT(complaint("[]"), HasSubstr("has no \"prompt\""));
  EXPECT_THAT(complaint(R"({"prompt": "a", "chosen": "b"})"), HasSubstr("has no \"rejected\""));
  EXPECT_THAT(complaint(R"({"prompt": "a", "chosen": 3, "rejected": "c"})"), HasSubstr("has no \"chosen\""));
  EXPECT_THAT(complaint(R"({"prompt": "a", "chosen": "b", "rejected": []})"), HasSubstr("must all be texts"));
  const char* messages =
      R"({"prompt": [{"role": "user", "content": "a"}], "chosen": [{"role": "user", "content": "b"}],
      "rejected": [{"role": "assistant", "content": "c"}]})";
  EXPECT_THAT(complaint(messages), HasSubstr("\"chosen\" must be one message, the assistant's"));
  EXPECT_THAT(complaint(messages, false), HasSubstr("no chat template"));
  EXPECT_THAT(complaint(R"({"prompt": [3], "chosen": [], "rejected": []})"), HasSubstr("no string \"role\""));
  EXPECT_THAT(complaint(R"({"prompt": [{"role": "user", "content": [{"type": "video"}]}],
                            "chosen": [{"role": "assistant", "content": "b"}], "rejected": []})"),
              HasSubstr("message 1: content[0] is \"video\""));
}

TEST(TokenizePreferences, WritesPairsAndNamesTheLine) {
  const std::string folder = test_folder();
  const std::string line = R"({"prompt": "a", "chosen": "bc", "rejected": "d"})";
  write_text(folder + "/in/a.jsonl", line + "\n" + line + "\n");
  const auto tokenizer = byte_tokenizer();
  const auto run = [&] {
    const auto corpus = Corpus::open(folder + "/in");
    return tokenize_preferences(*corpus, {*tokenizer, std::string(64, 'e'), true}, "", folder + "/a.tokens",
                                {});
  };
  const auto file = run();
  ASSERT_TRUE(file.ok()) << file.error().text();
  ASSERT_EQ(file->documents(), 4U);
  EXPECT_EQ(file->offset(1), 5U);
  EXPECT_EQ(file->offset(2), 9U);
  EXPECT_FALSE(file->learnt(1));
  EXPECT_TRUE(file->learnt(2));
  EXPECT_TRUE(file->learnt(8));
  write_text(folder + "/in/b.jsonl", line + "\n\n{\"prompt\": \"a\", \"chosen\": \"b\"}\n");
  const auto refused = run();
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().text(), HasSubstr("b.jsonl:3: has no \"rejected\""));
}

}  // namespace
}  // namespace tw::train
