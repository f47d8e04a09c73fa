#include "eval/task_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/mmap.h"
#include "eval/task_formats.h"

namespace tw::eval {
namespace {

class TaskFiles : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = ::testing::TempDir() + "tw_task_" + name;
    TW_CHECK(base::write_file_atomically(path, text).ok(), "a temporary file");
    written_.push_back(path);
    return path;
  }
  /// The error that this content gives, without the folder.
  std::string complaint(const std::string& name, const std::string& text) {
    const auto task = read_task(write(name, text));
    if (task.ok()) return "";
    const std::string all = task.error().text();
    return all.substr(std::min(all.find("tw_task_"), all.size()));
  }
  void TearDown() override {
    for (const std::string& path : written_) std::filesystem::remove(path);
  }
  std::vector<std::string> written_;
};

TEST_F(TaskFiles, ABrokenLineIsNamedByFileLineAndReason) {
  const std::string good = R"({"context": "a", "choices": ["b", "c"], "label": 1})"
                           "\n\n";
  for (const auto& [line, reason] :
       {std::pair{R"({"context": "a")", ":3: "},
        {"[1]", ":3: is no JSON object"},
        {R"({"context": "a", "label": 1})", ":3: \"choices\" is no list"},
        {R"({"context": "a", "choices": ["b", 7], "label": 1})", "entry that is no text"},
        {R"({"context": "a", "choices": ["b", "c"]})", ":3: has no \"label\""},
        {R"({"context": "a", "choices": ["b", "c"], "label": 2})", "not a number from 0 to 1"},
        {R"({"context": "a", "choices": ["b", "c"], "label": -1})", "not a number from 0 to 1"},
        {R"({"context": "a", "choices": ["b", "c"], "label": "C"})", "not a number from 0 to 1"},
        {R"({"context": 5, "choices": ["b", "c"], "label": 0})", "has no text \"context\""}}) {
    const std::string said = complaint("broken.jsonl", good + line);
    EXPECT_THAT(said, ::testing::StartsWith("tw_task_broken.jsonl:3: ")) << line;
    EXPECT_THAT(said, ::testing::HasSubstr(reason)) << line;
  }
}

TEST_F(TaskFiles, EachFormatSaysWhatALineLacks) {
  EXPECT_THAT(
      complaint("a.jsonl",
                R"({"endings": ["a", "b"], "ctx_a": "c", "ctx_b": "d", "activity_label": "e", "label": ""})"),
      ::testing::HasSubstr("a.jsonl:1: has no \"label\""));
  EXPECT_THAT(
      complaint(
          "a.jsonl",
          R"({"question": {"stem": "s", "choices": [{"text": "t", "label": "A"}, 5]}, "answerKey": "A"})"),
      ::testing::HasSubstr("entry that is no text"));
  EXPECT_THAT(
      complaint(
          "a.jsonl",
          R"({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "E"})"),
      ::testing::HasSubstr("\"answerKey\" is \"E\", which no choice has"));
  EXPECT_THAT(complaint("a.jsonl", R"({"goal": "g", "sol1": "a", "sol2": "b"})"),
              ::testing::HasSubstr("there is no file"));
  EXPECT_THAT(complaint("a.jsonl", R"({"sentence": "s", "option1": "a", "option2": "b", "answer": "1"})"),
              ::testing::HasSubstr("no \"_\""));
  EXPECT_THAT(complaint("a.jsonl", R"({"sentence": "s _", "option1": "a", "option2": "b", "answer": "3"})"),
              ::testing::HasSubstr("not a number from 1 to 2"));
  EXPECT_THAT(complaint("a.jsonl", R"({"passage": "p", "question": "q", "label": "maybe"})"),
              ::testing::HasSubstr("neither true nor false"));
  EXPECT_THAT(complaint("a.jsonl", R"({"text": "t"})"), ::testing::HasSubstr("no format that is known"));
}

TEST_F(TaskFiles, CsvIsReadAsMmlu) {
  EXPECT_EQ(complaint("a.csv", "q,a,b,c,d,A\r\n\"two\nlines\",a,b,c,d,B\nq,a,b,c,d,E\n"),
            "tw_task_a.csv:4: the answer is \"E\", not A, B, C or D");
  EXPECT_EQ(complaint("a.csv", "q,a,b,c,A\n"),
            "tw_task_a.csv:1: 5 fields, but a question, four choices and a letter are six");
  EXPECT_THAT(complaint("a.csv", "q,a,b,c,\"d,A\n"),
              ::testing::HasSubstr("a.csv:1: a quote is never closed"));
  EXPECT_EQ(mmlu_description("folder/high_school_physics_test.csv"),
            "The following are multiple choice questions (with answers) about high school physics.\n\n");
  EXPECT_EQ(mmlu_description("questions.csv"), "");
}

TEST_F(TaskFiles, EmptyAndForeignFilesAreRefused) {
  EXPECT_THAT(complaint("a.jsonl", "\n\n"), ::testing::HasSubstr("holds no question"));
  EXPECT_THAT(complaint("a.jsonl", "\xFF\xFE{}"), ::testing::HasSubstr("is not UTF-8"));
  EXPECT_THAT(read_task("nowhere.jsonl").error().text(), ::testing::HasSubstr("nowhere.jsonl"));
}

TEST_F(TaskFiles, LabelsMayBeInAFileOfTheirOwn) {
  const std::string file = write("p.jsonl", R"({"goal": "g", "sol1": "a", "sol2": "b"})"
                                            "\n"
                                            R"({"goal": "h", "sol1": "a", "sol2": "b"})");
  write("p-labels.lst", "1\n");
  EXPECT_THAT(read_task(file).error().text(), ::testing::HasSubstr("p.jsonl:2: "));
  write("p-labels.lst", "1\n0\n");
  EXPECT_EQ(read_task(file).value().questions[0].right, 1U);
}

TEST(WikihowMarks, AreLeftOutAsByTheHarness) {
  EXPECT_EQ(without_wikihow_marks(" a [title] b [step] c\n"), "a. b c");
  EXPECT_EQ(without_wikihow_marks("[header] x [un\nclosed] [y]"), " x [un\nclosed] ");
  EXPECT_EQ(without_wikihow_marks("a   b"), "a  b");
}

}  // namespace
}  // namespace tw::eval
