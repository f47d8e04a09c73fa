#include "text/tokenizer_unicode.h"

#include <gtest/gtest.h>

#include "text/tokenizer_normalizer.h"

namespace tw::text {
namespace {

TEST(UnicodeTest, NormalFormsOfTheStandardsExamples) {
  EXPECT_EQ(to_nfd("Å ṩ 각 ﬁ"), "A\u030A s\u0323\u0307 \u1100\u1161\u11A8 ﬁ");
  EXPECT_EQ(to_nfc("A\u030A s\u0307\u0323 \u1100\u1161\u11A8"), "Å ṩ 각");
  EXPECT_EQ(to_nfc("\u212B \u2126 \u0958"), "Å Ω \u0915\u093C");  // singletons and exclusions
  EXPECT_EQ(to_nfd("\u0344"), "\u0308\u0301");
  EXPECT_EQ(to_nfc("e\u0323\u0301"), "ẹ\u0301");
  EXPECT_EQ(to_nfc("a\u0315\u0301"), "á\u0315");  // a lower class does not block
  EXPECT_EQ(to_nfc("a\u0301\u0301"), "á\u0301");  // the same class does
  EXPECT_EQ(to_nfc("\uAC00\u11A8"), "\uAC01");
  EXPECT_EQ(to_nfc("\u0301a"), "\u0301a");
}

TEST(UnicodeTest, MarksOfOneClassKeepTheirOrder) {
  // Enough of them that no small-array case of a sort keeps the order by luck; two runs, one at the text's
  // end.
  std::string text, above, below;
  for (int i = 0; i < 40; ++i) {
    const std::string high = i % 3 == 0 ? "\u0310" : i % 3 == 1 ? "\u030E" : "\u0312";
    const std::string low = i % 2 == 0 ? "\u0320" : "\u0316";
    text += high + low;
    above += high;
    below += low;
  }
  EXPECT_EQ(to_nfd("1" + text + "2" + text), "1" + below + above + "2" + below + above);
}

TEST(UnicodeTest, Classes) {
  EXPECT_TRUE(is_space(' ') && is_space(0x3000) && is_space(0x85) && !is_space(0x180E) && !is_space(0x1C));
  EXPECT_TRUE(is_word_char('a') && is_word_char('_') && is_word_char(0x4E2D) && !is_word_char('-'));
  EXPECT_TRUE(is_punctuation('!') && is_punctuation(0x3001) && !is_punctuation('+') && !is_punctuation('a'));
  EXPECT_TRUE(is_nonspacing_mark(0x301) && !is_nonspacing_mark(0x903) && is_mark(0x903));
  EXPECT_TRUE(is_control_char(0) && is_control_char(0x200B) && !is_control_char(' '));
  EXPECT_TRUE(is_cjk(0x4E2D) && !is_cjk(0x3042));
}

TEST(UnicodeTest, Lowercase) {
  std::string out;
  for (const char32_t c : {U'A', U'z', U'É', U'Ǆ', U'ǅ', U'İ', U'Σ', U'Ⅷ', U'中', U'\U00010400'})
    append_lowercase(out, c);
  EXPECT_EQ(out, "azéǆǆi\u0307σⅷ中\U00010428");
}

TEST(NormalizerTest, StepsRunInOrderAndKeepBrokenBytes) {
  const auto normalizer = Normalizer::create(
      {{.kind = NormalizerStep::Kind::kStrip},
       {.kind = NormalizerStep::Kind::kNfd},
       {.kind = NormalizerStep::Kind::kStripAccents},
       {.kind = NormalizerStep::Kind::kReplace, .pattern = "a+", .content = "<>", .is_regex = true},
       {.kind = NormalizerStep::Kind::kPrepend, .content = "^"}});
  ASSERT_TRUE(normalizer.ok());
  EXPECT_EQ(normalizer->apply("\u3000 áab\t "), "^<>b");
  EXPECT_EQ(normalizer->apply(""), "");
  const auto nfc = Normalizer::create({{.kind = NormalizerStep::Kind::kNfc}});
  EXPECT_EQ(nfc->apply("e\u0301\xFF e\u0301\xC3"), "é\xFF é\xC3");
}

TEST(NormalizerTest, ReplacementsCannotBlowUpTheText) {
  const NormalizerStep grow{
      .kind = NormalizerStep::Kind::kReplace, .pattern = "a", .content = std::string(60, 'a')};
  const auto normalizer = Normalizer::create({16, grow});
  ASSERT_TRUE(normalizer.ok());
  EXPECT_LT(normalizer->apply(std::string(10000, 'a')).size(), 10000 * 64 + 1024 + 10000 + 64u);
  EXPECT_FALSE(Normalizer::create({17, grow}).ok());
  NormalizerStep big = grow;
  big.content = std::string(65, 'a');
  EXPECT_FALSE(Normalizer::create({big}).ok());
}

}  // namespace
}  // namespace tw::text
