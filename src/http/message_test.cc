#include "http/message.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "http/chunked.h"

namespace tw::http {
namespace {

constexpr std::string_view kHead = "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Feeds as a connection does, `step` bytes at a time; what is not consumed comes again.
int parse(RequestParser& parser, std::string_view bytes, std::size_t step) {
  std::string buffer;
  while (!parser.done() && parser.error_status() == 0) {
    const std::size_t before = buffer.size();
    buffer.erase(0, parser.feed(buffer));
    if (buffer.size() < before) continue;
    if (bytes.empty()) return -1;
    buffer += bytes.substr(0, step);
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  return parser.error_status();
}

int status_of(std::string_view bytes, std::size_t step) {
  RequestParser parser(4096, 1000);
  return parse(parser, bytes, step);
}

TEST(Message, IsTheSameHoweverItsBytesAreCut) {
  for (const std::string& body :
       {std::string("0\r\n\r\n"), std::string("0\r\nT: t\r\n\r\n"), std::string("3\r\nabc\r\n00\r\n\r\n"),
        std::string("3;a=\"b\"\r\nabc\r\n0 \r\nT: t\r\nU: u\r\n\r\n")}) {
    for (const std::size_t step : {1, 2, 3, 5, 1000}) {
      RequestParser parser(4096, 1000);
      EXPECT_EQ(parse(parser, std::string(kHead) + body, step), 0) << body << " by " << step;
      EXPECT_EQ(parser.request().body, body.find("abc") != std::string::npos ? "abc" : "");
    }
  }
}

TEST(Message, BadChunksAre400AndLargeOnes413) {
  for (const std::size_t step : {1, 1000}) {
    for (const char* body :
         {"\r\n0\r\n\r\n", "g\r\n", "3\r\nabcd\r\n", "3\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "-1\r\n",
          "0x3\r\nabc\r\n", "00000000000000001\r\n", "0\r\nA\rB\r\n\r\n", "0\r\n\n", "3;a\x01\r\nabc\r\n"}) {
      EXPECT_EQ(status_of(std::string(kHead) + body, step), 400) << body;
    }
    EXPECT_EQ(status_of(std::string(kHead) + "3E9\r\n", step), 413);
    EXPECT_EQ(status_of(std::string(kHead) + "FFFFFFFFFFFFFFFF\r\n", step), 413);
    EXPECT_EQ(status_of(std::string(kHead) + "1F4\r\n" + std::string(500, 'a') + "\r\n1F5\r\n", step), 413);
    EXPECT_EQ(status_of(std::string(kHead) + "0\r\nA: " + std::string(5000, 'a'), step), 400)
        << "endless trailer";
  }
}

TEST(Message, ManySmallChunksWithExtensionsAreBounded) {
  std::string body;
  for (int i = 0; i < 900; ++i) body += "1;" + std::string(100, 'x') + "\r\na\r\n";
  EXPECT_EQ(status_of(std::string(kHead) + body, 1000), 400);
}

}  // namespace
}  // namespace tw::http
