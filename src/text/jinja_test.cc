// The parts of the template engine by themselves; the engine as a whole is held to jinja2 in
// chat_template_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "text/jinja_ast.h"
#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_parser.h"
#include "text/jinja_str.h"
#include "text/jinja_token.h"

namespace tw::text::jinja {
namespace {

using base::Code;

std::string kinds(std::string_view source) {
  const auto tokens = tokenize(source);
  if (!tokens.ok()) return "error: " + tokens.error().text();
  std::string out;
  for (const Token& token : *tokens) out += "D{}[]nsif.E"[static_cast<int>(token.kind)];
  return out;
}

TEST(JinjaLexer, TellsTokensApart) {
  EXPECT_EQ(kinds("a{{ b }}c"), "D{n}DE");
  EXPECT_EQ(kinds("{% if 1 == 2.5 %}{{ 'x' }}{% endif %}"), "[ni.f]{s}[n]E");
  EXPECT_EQ(kinds("{# c #}{% raw %}{{ x }}{% endraw %}"), "DE");
  EXPECT_EQ(kinds("{{ {'a': {}} }}"), "{.s....}E");
  EXPECT_EQ(kinds("{{ 1.a 1..2 x.1.2 }}"), "{i.ni..in.i.i}E");
}

TEST(JinjaLexer, CountsLines) {
  const auto tokens = tokenize("a\n{#\n#}\n{{ 'x\ny'\n+ b }}");
  ASSERT_TRUE(tokens.ok());
  for (const Token& token : *tokens) {
    if (token.kind == TokenKind::kName) {
      EXPECT_EQ(token.line, 6);
    }
    if (token.kind == TokenKind::kString) {
      EXPECT_EQ(token.line, 4);
    }
  }
}

TEST(JinjaLexer, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(tokenize("a\xff").error().code, Code::kCorrupt);
}

TEST(JinjaLexer, Unescapes) {
  EXPECT_EQ(*unescape(R"(a\n\t\\\'\x41\u00e9\U0001F600\101)"), "a\n\t\\'Aé😀A");
  EXPECT_EQ(*unescape("\\d\\é"), "\\d\\xe9");
  EXPECT_FALSE(unescape("\\x4").ok());
  EXPECT_FALSE(unescape("\\U00110000").ok());
}

TEST(JinjaParser, NumbersNamesAndNotesWhichAreRead) {
  const auto program = parse_program("{% set a = b %}{{ c.d }}", 50);
  ASSERT_TRUE(program.ok());
  const auto read = [&](const char* name) { return bool{program->read[program->slots.find(name)->second]}; };
  EXPECT_FALSE(read("a"));
  EXPECT_TRUE(read("b"));
  EXPECT_TRUE(read("c"));
  EXPECT_EQ(program->slots.count("d"), 0U);
}

TEST(JinjaParser, DepthIsBounded) {
  EXPECT_TRUE(parse_program("{{ ((((1)))) }}", 10).ok());
  EXPECT_EQ(parse_program("{{ ((((((((((1)))))))))) }}", 10).error().code, Code::kResourceExhausted);
}

TEST(JinjaNumber, FloatsAreWrittenAsPythonWritesThem) {
  EXPECT_EQ(float_text(1), "1.0");
  EXPECT_EQ(float_text(0.1 + 0.2), "0.30000000000000004");
  EXPECT_EQ(float_text(1e16), "1e+16");
  EXPECT_EQ(float_text(123456789012345678.0), "1.2345678901234568e+17");
  EXPECT_EQ(float_text(1e-5), "1e-05");
  EXPECT_EQ(float_text(-0.0), "-0.0");
  EXPECT_EQ(float_text(5e-324), "5e-324");
  EXPECT_EQ(float_text(HUGE_VAL), "inf");
  EXPECT_EQ(float_text(1.7976931348623157e308), "1.7976931348623157e+308");
}

TEST(JinjaNumber, IntegersPastSixtyFourBits) {
  const Int big = static_cast<Int>(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(int_text(big), "18446744073709551615");
  EXPECT_EQ(int_text(-big), "-18446744073709551615");
  EXPECT_EQ(*read_int(" -18446744073709551615 ", 10), -big);
  EXPECT_FALSE(read_int(std::string(60, '9'), 10).has_value());
  EXPECT_FALSE(read_int("1__0", 10).has_value());
  EXPECT_FALSE(read_int("", 10).has_value());
}

TEST(JinjaNumber, ComparesIntegersWithFloatsExactly) {
  const Value big = Value::integer((static_cast<Int>(1) << 53) + 1);
  EXPECT_TRUE(compare_numbers(big, Value::real(9007199254740992.0)) > 0);
  EXPECT_TRUE(compare_numbers(Value::integer(1), Value::real(1.5)) < 0);
  EXPECT_TRUE(compare_numbers(Value::boolean(true), Value::real(1)) == 0);
  EXPECT_TRUE(compare_numbers(Value::integer(1), Value::real(HUGE_VAL)) < 0);
  EXPECT_TRUE(compare_numbers(Value::integer(1), Value::real(NAN)) == std::partial_ordering::unordered);
}

TEST(JinjaStr, QuotesAsRepr) {
  EXPECT_EQ(quoted("it's"), "\"it's\"");
  EXPECT_EQ(quoted("'\""), "'\\'\"'");
  EXPECT_EQ(quoted("\n\x01é\u200d😀"), "'\\n\\x01é\\u200d😀'");
}

TEST(JinjaStr, ChangesCaseBeyondAscii) {
  EXPECT_EQ(to_upper("straße ŉ"), "STRASSE ʼN");
  EXPECT_EQ(to_lower("ΑΣ ΟΔΟΣ. ΣΑ"), "ας οδος. σα");
  EXPECT_EQ(to_title("ǆ o'neil"), "ǅ O'Neil");
  EXPECT_EQ(to_capitalized("ÉCOLE"), "École");
}

TEST(JinjaStr, SearchesInLinearTime) {
  // Quadratic search would take minutes here.
  const std::string text(4 << 20, 'a');
  const std::string needle = std::string(1 << 20, 'a') + "b";
  EXPECT_EQ(find_bytes(text, needle), std::string::npos);
  EXPECT_EQ(rfind_bytes(text, "b" + std::string(1 << 20, 'a')), std::string::npos);
  EXPECT_EQ(rfind_bytes("abcabc", "bc"), 4U);
}

TEST(JinjaStr, StripsAndSplitsByCodePoints) {
  EXPECT_EQ(strip("\u00a0 x\u2003", Side::kBoth), "x");
  EXPECT_EQ(strip("→x→", Side::kLeft, "→"), "x→");
  EXPECT_EQ(split_space(" a  b ", -1, false).size(), 2U);
  EXPECT_EQ(split_at("a,b,c", ",", 1, true)[0], "a,b");
  EXPECT_EQ(split_lines("a\r\nb\u2028c", false).size(), 3U);
}

class JinjaValues : public testing::Test {
 protected:
  Runtime runtime_{TemplateLimits{}, 0};
};

TEST_F(JinjaValues, DictKeysAreEqualAsInPython) {
  DictItems items;
  items.set(Value::integer(1), runtime_.string("int"));
  items.set(Value::real(1.0), runtime_.string("float"));
  items.set(Value::boolean(true), runtime_.string("bool"));
  ASSERT_EQ(items.size(), 1U);
  EXPECT_TRUE(items.all()[0].first.is(Kind::kInt));
  EXPECT_EQ(items.find(Value::real(1))->text(), "bool");
}

TEST_F(JinjaValues, LargeDictsKeepTheirOrder) {
  DictItems items;
  for (int i = 0; i < 1000; ++i)
    items.set(runtime_.string(std::to_string(i * 7919 % 1000)), Value::integer(i));
  ASSERT_EQ(items.size(), 1000U);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(items.all()[i].first.text(), std::to_string(i * 7919 % 1000));
    EXPECT_EQ(items.find(std::to_string(i * 7919 % 1000))->as_int(), i);
  }
}

TEST_F(JinjaValues, MemoryIsGivenBack) {
  for (int i = 0; i < 1000; ++i) runtime_.string(std::string(1 << 20, 'x'));
  EXPECT_TRUE(runtime_.check_memory(255 << 20).ok());
  EXPECT_FALSE(runtime_.check_memory(257 << 20).ok());
}

TEST_F(JinjaValues, InvalidUtf8BecomesReplacementCharacters) {
  EXPECT_EQ(runtime_.string("a\xff").text(), "a\uFFFD");
}

TEST_F(JinjaValues, IntegerOverflowIsAnError) {
  const Value huge = Value::integer(static_cast<Int>(1) << 125);
  EXPECT_EQ(binary(runtime_, Op::kMul, huge, huge).error().code, Code::kUnsupported);
  EXPECT_EQ(binary(runtime_, Op::kPow, Value::integer(10), Value::integer(100)).error().code,
            Code::kUnsupported);
  EXPECT_TRUE(binary(runtime_, Op::kMul, huge, Value::integer(-1)).ok());
}

TEST_F(JinjaValues, StepsOfSlicedRangesAreBounded) {
  const Int far = static_cast<Int>(1) << 100;
  Value range = Value::object(Kind::kRange, std::make_shared<Range>(&runtime_.heap(), 0, 1, far, 1));
  int slices = 0;
  for (; slices < 200; ++slices) {
    const auto next = slice(runtime_, range, Value(), Value(), Value::integer(2));
    if (!next.ok()) {
      EXPECT_EQ(next.error().code, Code::kUnsupported);
      break;
    }
    range = *next;
  }
  EXPECT_EQ(slices, 9);  // 2^100 to 2^109
}

}  // namespace
}  // namespace tw::text::jinja
