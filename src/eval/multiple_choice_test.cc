#include "eval/multiple_choice.h"

#include "eval/task_file.h"
#include "eval/test_golden.h"

namespace tw::eval {
namespace {

class GoldenChoices : public GoldenEval {
 protected:
  void compare(const std::string& name, const TaskFile& task, std::span<const Question> shots = {}) const {
    const base::Json& wanted = golden_["tasks"][name];
    const auto result =
        answer_questions(model(), task.questions, {.preamble = preamble_of(task.description, shots)});
    ASSERT_TRUE(result.ok()) << result.error().text();
    const auto sums = wanted["log_likelihoods"].get<std::vector<double>>();
    ASSERT_EQ(result->log_likelihoods.size(), sums.size()) << name;
    for (std::size_t i = 0; i < sums.size(); ++i)
      EXPECT_NEAR(result->log_likelihoods[i], sums[i], 1e-4 * std::fabs(sums[i])) << name << " choice " << i;
    for (const auto& [key, mean] : {std::pair{"acc", &result->accuracy},
                                    {"acc_norm", &result->by_characters},
                                    {"acc_bytes", &result->by_bytes}}) {
      EXPECT_NEAR(mean->value(), wanted[key].get<double>(), 1e-9) << name << " " << key;
      EXPECT_NEAR(mean->error(), wanted[std::string(key) + "_stderr"].get<double>(), 1e-9)
          << name << " " << key;
    }
  }
};

TEST_P(GoldenChoices, LikelihoodsAndScoresAreTheHarnesss) {
  for (const auto& [name, format] : {std::pair{"hellaswag_val.jsonl", "hellaswag"},
                                     {"ARC-Easy-Test.jsonl", "arc"},
                                     {"arc_parts.jsonl", "arc"},
                                     {"small_numbers_test.csv", "mmlu"},
                                     {"piqa.jsonl", "piqa"},
                                     {"boolq.jsonl", "boolq"},
                                     {"winogrande.jsonl", "winogrande"},
                                     {"plain.jsonl", "plain"}}) {
    const auto task = read_task(kGolden + name);
    ASSERT_TRUE(task.ok()) << task.error().text();
    EXPECT_EQ(task->format, format);
    compare(name, *task);
  }
}

TEST_P(GoldenChoices, SolvedQuestionsStandBeforeEach) {
  const TaskFile task = read_task(kGolden + "small_numbers_test.csv").value();
  compare("shots", task, read_task(kGolden + "small_numbers_dev.csv").value().questions);
}

TEST_P(GoldenChoices, ChoicesShareWhatIsBeforeThem) {
  const std::string context(64, 'a');
  const std::vector<Question> one = {{{{context, " b"}, {context, " c"}, {context, " d"}}, 0}};
  ASSERT_TRUE(answer_questions(model(), one, {}).ok());
  EXPECT_GE(engine_->stats().prefix_hits, 2 * 16U);
}

TEST_P(GoldenChoices, LongBeginningsAreCutAndLongChoicesRefused) {
  const std::string longer(400, 'q');
  const auto cut = answer_questions(model(), std::vector<Question>{{{{longer, " b"}, {"z", " c"}}, 0}}, {});
  ASSERT_TRUE(cut.ok()) << cut.error().text();
  EXPECT_EQ(cut->cut, 1U);
  EXPECT_LT(cut->log_likelihoods[0], 0);
  std::vector<Question> questions(500, {{{"z", " b"}, {"z", " c"}}, 0});
  questions[0].choices[0].continuation = longer;
  int scored = 0;
  const auto refused =
      answer_questions(model(), questions, {.preamble = {}, .progress = [&](double) { ++scored; }});
  EXPECT_EQ(scored, 0) << "said before anything else is measured";
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().text(), ::testing::HasSubstr("question 1: a choice alone is longer"));
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenChoices, golden_models(), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::eval
