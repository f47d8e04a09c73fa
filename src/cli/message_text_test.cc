#include "cli/message_text.h"

#include <gtest/gtest.h>

#include <vector>

namespace tw::cli {
namespace {

/// The message that these lines make; the last of them must complete it, and no earlier one.
std::string message(const std::vector<std::string>& lines, std::string* typed = nullptr) {
  MessageText text;
  for (std::size_t i = 0; i < lines.size(); ++i)
    EXPECT_EQ(text.add(lines[i]), i + 1 == lines.size()) << lines[i];
  if (typed != nullptr) *typed = text.typed();
  return text.text();
}

TEST(MessageText, OneLineIsAMessage) {
  EXPECT_EQ(message({"hello"}), "hello");
  EXPECT_EQ(message({""}), "");
  EXPECT_EQ(message({"say \"\"\"x"}), "say \"\"\"x");
  EXPECT_EQ(message({"a\nb"}), "a\nb");  // pasted
}

TEST(MessageText, ABackslashGoesOn) {
  EXPECT_EQ(message({"one\\", "two\\", "three"}), "one\ntwo\nthree");
  EXPECT_EQ(message({"\\", "x"}), "\nx");
  EXPECT_EQ(message({"C:\\\\"}), "C:\\\\");
  EXPECT_EQ(message({"a\\\nb"}), "a\\\nb");  // inside a paste it is text
}

TEST(MessageText, QuotesHoldLines) {
  EXPECT_EQ(message({"\"\"\"one", "two\"\"\""}), "one\ntwo");
  EXPECT_EQ(message({"\"\"\"", "one\\", "", "two", "\"\"\""}), "one\\\n\ntwo");
  EXPECT_EQ(message({"\"\"\"/clear\"\"\" "}), "/clear");
  EXPECT_EQ(message({"\"\"\"\"", "\"\"\""}), "\"");
  EXPECT_EQ(message({"\"\"\"\"\"\""}), "");
  EXPECT_EQ(message({"/system  \"\"\"be", "brief\"\"\""}), "/system  be\nbrief");
}

TEST(MessageText, WhatWasTypedGivesTheSameAgain) {
  const std::vector<std::vector<std::string>> all = {
      {"x"}, {"a\\", "b"}, {"\"\"\"a", "b\"\"\""}, {"/system \"\"\"", "a", "\"\"\""}};
  for (const auto& lines : all) {
    std::string typed;
    const std::string first = message(lines, &typed);
    EXPECT_EQ(message({typed}), first);
  }
}

TEST(MessageText, CommandsAreWords) {
  EXPECT_EQ(command_name("/clear"), "/clear");
  EXPECT_EQ(command_name("/system be brief"), "/system");
  EXPECT_EQ(command_name("/system\nbe brief"), "/system");
  EXPECT_EQ(command_name("/?"), "/?");
  for (const char* message :
       {"", "/", "clear", " /clear", "/etc/passwd is a file", "/* comment */", "//x", "/ x"}) {
    EXPECT_EQ(command_name(message), "") << message;
  }
}

}  // namespace
}  // namespace tw::cli
