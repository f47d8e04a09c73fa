#include <gtest/gtest.h>

#include "base/json.h"
#include "base/mmap.h"
#include "base/result.h"
#include "base/utf8.h"

namespace tw::base {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return error(Code::kInvalidArgument, "{} is odd", n);
  return n / 2;
}

Result<int> quarter(int n) {
  TW_ASSIGN_OR_RETURN(const int h, half(n));
  return half(h);
}

TEST(Result, HandsErrorsOn) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().message, "3 is odd");
}

TEST(Json, NamesTheOffset) {
  const auto broken = parse_json("{\"a\": 1,, }");
  ASSERT_FALSE(broken.ok());
  EXPECT_NE(broken.error().message.find("byte 9"), std::string::npos) << broken.error().message;
}

TEST(Json, RefusesDeepNesting) {
  EXPECT_FALSE(parse_json(std::string(100000, '[')).ok());
  EXPECT_TRUE(parse_json("[\"[[[[[[[[[[[[[[[[\"]", 2).ok());
}

TEST(Utf8, DecodesAndRefuses) {
  EXPECT_TRUE(is_valid_utf8("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_valid_utf8("\xC0\x80"));          // overlong
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));      // surrogate
  EXPECT_FALSE(is_valid_utf8("\xF4\x90\x80\x80"));  // past U+10FFFF
  EXPECT_EQ(sanitize_utf8("a\xFFz"), "a\xEF\xBF\xBDz");
}

TEST(Utf8, HoldsBackUnfinishedCharacters) {
  const std::string smile = "ok\xF0\x9F\x98\x80";
  EXPECT_EQ(complete_utf8_prefix(smile), 6U);
  for (std::size_t cut = 3; cut <= 5; ++cut) EXPECT_EQ(complete_utf8_prefix(smile.substr(0, cut)), 2U);
  EXPECT_EQ(complete_utf8_prefix("a\xFF"), 2U);
}

TEST(MappedFile, ReadsWhatWasWritten) {
  const std::string path = ::testing::TempDir() + "/tw_mapped";
  ASSERT_TRUE(write_file_atomically(path, "hello").ok());
  EXPECT_EQ(read_file(path).value(), "hello");
  EXPECT_EQ(MappedFile::open(path + ".none").error().code, Code::kNotFound);
  EXPECT_FALSE(read_file(path, 4).ok());
}

}  // namespace
}  // namespace tw::base
