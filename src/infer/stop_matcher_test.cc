#include "infer/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace tw::infer {
namespace {

struct Outcome {
  std::string text, stop;
  bool operator==(const Outcome&) const = default;
};

/// The definition, on the whole text: the first end at which a stop string ends, and the longest that does.
Outcome whole(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& stop : stops) {
      const bool here = stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (here && stop.size() > best.size()) best = stop;
    }
    if (!best.empty()) return {text.substr(0, end - best.size()), best};
  }
  return {text, ""};
}

Outcome in_pieces(const std::vector<std::string>& pieces, const std::vector<std::string>& stops) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.text += matcher.push(piece);
  outcome.text += matcher.finish();
  if (matcher.stopped()) outcome.stop = matcher.stop_text();
  return outcome;
}

TEST(StopMatcher, PassesTextThroughWithoutStops) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("hello"), "hello");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(StopMatcher({""}).push("any"), "any");
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.push("Yes.\n"), "Yes.");
  EXPECT_EQ(matcher.push("\nUse"), "");
  EXPECT_EQ(matcher.push("d\n\nUs"), "\n\nUsed");
  EXPECT_EQ(matcher.push("er: more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.stop_text(), "\n\nUser:");
  EXPECT_EQ(matcher.push("lost"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, GivesBackWhatWasHeldWhenTheAnswerEnds) {
  StopMatcher matcher({"</s>"});
  EXPECT_EQ(matcher.push("a</"), "a");
  EXPECT_EQ(matcher.finish(), "</");
}

TEST(StopMatcher, TheFirstCompleteOneWins) {
  EXPECT_EQ(in_pieces({"xabcd"}, {"abcd", "bc"}), (Outcome{"xa", "bc"}));
  EXPECT_EQ(in_pieces({"xa", "bc", "d"}, {"abcd", "bc"}), (Outcome{"xa", "bc"}));
  EXPECT_EQ(in_pieces({"xabc"}, {"bc", "abc"}), (Outcome{"x", "abc"})) << "the longer of two with one end";
  EXPECT_EQ(in_pieces({"aab"}, {"ab"}), (Outcome{"a", "ab"})) << "a false start";
}

TEST(StopMatcher, NeverSplitsACharacter) {
  StopMatcher matcher({"é!"});
  EXPECT_EQ(matcher.push("è"), "è") << "equal first bytes";
  EXPECT_EQ(matcher.push("é"), "");
  EXPECT_EQ(matcher.push("?"), "é?");
}

TEST(StopMatcher, AnyPiecesGiveTheResultOfTheWhole) {
  std::mt19937 random(5);
  const auto letters = [&](std::size_t most) {
    std::string text(random() % most, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = letters(7);
    const std::string text = letters(30);
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      pieces.push_back(text.substr(at, random() % 5));
      at += pieces.back().size();
    }
    const Outcome want = whole(text, stops);
    stopped += want.stop.empty() ? 0 : 1;
    ASSERT_EQ(in_pieces(pieces, stops), want) << text;
    ASSERT_EQ(in_pieces({text}, stops), want) << text;
  }
  EXPECT_GT(stopped, 4000);
}

TEST(StopMatcher, HoldsBackTheLongestBeginningOfAStopAndNoMore) {
  std::mt19937 random(6);
  for (int round = 0; round < 2000; ++round) {
    const std::string stop = round % 2 == 0 ? "aabaa" : "abab";
    StopMatcher matcher({stop});
    std::string text, out;
    for (int i = 0; i < 12; ++i) {
      text += static_cast<char>('a' + random() % 2);
      out += matcher.push(text.substr(text.size() - 1));
      if (matcher.stopped()) break;
      std::size_t hold = std::min(text.size(), stop.size() - 1);
      while (!text.ends_with(stop.substr(0, hold))) --hold;
      ASSERT_EQ(text.size() - out.size(), hold) << text;
    }
  }
}

TEST(StopMatcher, LongStopsCostLinearTime) {
  const std::string stop = std::string(20000, 'a') + "b";
  StopMatcher matcher({stop});
  std::size_t out = 0;
  for (int i = 0; i < 60000; ++i) out += matcher.push("a").size();
  EXPECT_EQ(out, 40000U);
  EXPECT_EQ(matcher.push("b"), "");
  EXPECT_EQ(matcher.stop_text(), stop);
}

}  // namespace
}  // namespace tw::infer
