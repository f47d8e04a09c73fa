#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
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
  EXPECT_NE(broken.error().message.find("byte 8:"), std::string::npos) << broken.error().message;
  const auto message = [](std::string_view text) { return parse_json(text).error().message; };
  EXPECT_EQ(message(""), "not valid JSON at byte 0: there is nothing");
  EXPECT_EQ(message(" \n"), "not valid JSON at byte 0: there is nothing");
  EXPECT_EQ(message("{\"a\": 1e999}"), "not valid JSON at byte 6: the number is out of range");
  EXPECT_NE(message("[1] 2").find("byte 4: unexpected number"), std::string::npos) << message("[1] 2");
  // The parser's own words hold all it has read of a token.
  EXPECT_LT(message("\"" + std::string(1000000, 'x') + "\x01").size(), 200u);
}

TEST(Log, WritesOneJsonLineAnEventWithItsFields) {
  ::testing::internal::CaptureStderr();
  init_logging("info", LogFormat::kJson);
  spdlog::info("say \"hi\"\nand go");
  log_event(spdlog::level::warn, "GET /x 500", {{"status", 500}, {"path", "/\xFFx\""}});
  log_event(spdlog::level::debug, "too low", {{"status", 200}});
  init_logging("info", LogFormat::kText);
  log_event(spdlog::level::info, "GET /x 200", {{"status", 200}});
  const std::string text = ::testing::internal::GetCapturedStderr();
  const std::size_t first = text.find('\n'), second = text.find('\n', first + 1);
  const auto plain = parse_json(text.substr(0, first));
  ASSERT_TRUE(plain.ok()) << text;
  EXPECT_EQ((*plain)["message"], "say \"hi\"\nand go");
  const auto event = parse_json(text.substr(first + 1, second - first - 1));
  ASSERT_TRUE(event.ok()) << text;
  EXPECT_EQ((*event)["message"], "GET /x 500");
  EXPECT_EQ((*event)["level"], "warning");
  EXPECT_EQ((*event)["status"], 500);
  EXPECT_EQ((*event)["path"], "/\xEF\xBF\xBDx\"");
  EXPECT_TRUE(text.substr(second + 1).ends_with(" info GET /x 200\n")) << text;
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

TEST(MappedFile, DoesNotWaitForAPipe) {
  const std::string path = ::testing::TempDir() + "tw_pipe_" + std::to_string(getpid());
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::open(path).error().message, "is not a regular file");
  ::unlink(path.c_str());
}

TEST(WriteFileAtomically, ReplacesNoPipe) {
  const std::string path = ::testing::TempDir() + "tw_kept_" + std::to_string(getpid());
  ::unlink(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Status written = write_file_atomically(path, "hello");
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Code::kInvalidArgument);
  struct stat there{};
  ASSERT_EQ(::stat(path.c_str(), &there), 0);
  EXPECT_TRUE(S_ISFIFO(there.st_mode));
  ::unlink(path.c_str());
}

TEST(MappedFile, ReadsWhatWasWritten) {
  const std::string path = ::testing::TempDir() + "tw_mapped_" + std::to_string(getpid());
  ASSERT_TRUE(write_file_atomically(path, "hello").ok());
  EXPECT_EQ(read_file(path).value(), "hello");
  EXPECT_EQ(MappedFile::open(path + ".none").error().code, Code::kNotFound);
  EXPECT_FALSE(read_file(path, 4).ok());
}

}  // namespace
}  // namespace tw::base
