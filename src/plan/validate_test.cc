#include "plan/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "plan/fit.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

std::vector<TrainingRow> shipped_rows() {
  auto rows = read_training_rows(shipped("training_measured.csv"), "training_measured.csv");
  EXPECT_TRUE(rows.ok());
  return *rows;
}

const SetScore* find(const std::vector<SetScore>& scores, const std::string& set, const std::string& metric) {
  for (const SetScore& s : scores) {
    if (s.set == set && s.metric == metric) return &s;
  }
  return nullptr;
}

TEST(Minimize, FindsTheBottomOfRosenbrocksValley) {
  const auto f = [](const std::vector<double>& x) {
    return std::pow(1 - x[0], 2) + 100 * std::pow(x[1] - x[0] * x[0], 2);
  };
  const std::vector<double> best = minimize(f, {-1.2, 1}, 400);
  EXPECT_NEAR(best[0], 1, 1e-3);
  EXPECT_NEAR(best[1], 1, 1e-3);
}

TEST(Curves, InterpolateShareInLogSpaceAndStayFlatBeyond) {
  LogCurve curve;
  curve.add(1, 0.1);
  curve.add(100, 0.4);
  EXPECT_NEAR(curve.at(10), 0.2, 1e-12);
  EXPECT_DOUBLE_EQ(curve.at(0.1), 0.1);
  EXPECT_DOUBLE_EQ(curve.at(1e6), 0.4);
}

TEST(Curves, SayWhatWasMeasuredAndWhatWasNot) {
  const Curves& curves = Curves::shipped();
  const Accelerator& h100 = **Catalogue::shipped().find("H100");
  const Accelerator& tpu = **Catalogue::shipped().find("TPUv5p");
  const CurveValue large = curves.matmul_share(h100, Precision::kBf16, 1e12);
  EXPECT_EQ(large.provenance, Provenance::kMeasured);
  EXPECT_GT(large.value, 0.7);  // facts: 0.76 to 0.80
  EXPECT_LT(large.value, 0.85);
  EXPECT_LT(curves.matmul_share(h100, Precision::kBf16, 1e9).value, 0.35);  // 0.23
  EXPECT_EQ(curves.matmul_share(tpu, Precision::kBf16, 1e12).provenance, Provenance::kExtrapolated);
  // 512 MB over 8: bus bandwidth 445 GB/s with in-switch reduction, and the gigabyte after it takes twice as
  // long.
  const double bytes = 512.0 * (1 << 20);
  const double seconds = curves.collective_seconds(h100, ops::Collective::kAllReduce, 8, bytes).value;
  EXPECT_NEAR(2 * 7 / 8.0 * bytes / seconds / 1e9, 445, 25);
  EXPECT_NEAR(curves.collective_seconds(h100, ops::Collective::kAllReduce, 8, 4 * bytes).value / seconds, 4,
              0.4);
}

TEST(Validate, MeetsWhatWasAskedOfTrainingOnOneStackAndCluster) {
  const std::vector<TrainingRow> rows = shipped_rows();
  const std::vector<SetScore> scores = score_training(predict_training(rows, rows));
  for (const auto& [set, metric] :
       {std::pair("training-multi-node", "MAPE %"), std::pair("training-multi-node", "mean regret %"),
        std::pair("training-single-node", "MAPE %"), std::pair("training-selene", "mean error %"),
        std::pair("training-selene", "largest error %"),
        std::pair("training-other", "ZeRO-3 against 3-D, pairs in the wrong order")}) {
    const SetScore* score = find(scores, set, metric);
    ASSERT_NE(score, nullptr) << set;
    EXPECT_TRUE(score->met) << set << " " << metric << " " << score->value;
  }
  EXPECT_EQ(find(scores, "training-multi-node", "MAPE %")->rows, 61);
  EXPECT_EQ(find(scores, "training-single-node", "MAPE %")->rows, 890);
  EXPECT_EQ(find(scores, "training-selene", "mean error %")->rows, 8);
  EXPECT_LE(find(scores, "training-other", "median error %")->unpredicted, 25);
}

TEST(Validate, ARowsOwnModelTeachesNothing) {
  // Falsified measurements of one model change the predictions of all models but that one.
  std::vector<TrainingRow> rows = shipped_rows();
  const std::vector<Prediction> before = predict_training(rows, rows);
  std::vector<TrainingRow> falsified = rows;
  for (TrainingRow& row : falsified) {
    if (row.set == "training-selene" && row.group() == "GPT 530B") row.seconds *= 1.5;
  }
  const std::vector<Prediction> after = predict_training(rows, falsified);
  bool others_changed = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].set != "training-selene") continue;
    if (rows[i].group() == "GPT 530B")
      EXPECT_EQ(before[i].seconds, after[i].seconds);
    else
      others_changed = others_changed || before[i].seconds != after[i].seconds;
  }
  EXPECT_TRUE(others_changed);
}

TEST(Validate, AMeasurementThatIsWrongIsSeen) {
  std::vector<TrainingRow> rows = shipped_rows();
  const std::vector<TrainingRow> known = rows;
  std::erase_if(rows, [](const TrainingRow& r) { return r.set != "training-selene"; });
  for (TrainingRow& row : rows) row.seconds *= 2;
  const std::vector<SetScore> scores = score_training(predict_training(rows, known));
  EXPECT_FALSE(find(scores, "training-selene", "mean error %")->met);
}

TEST(Validate, AnUnknownStackTakesMediansAndSaysSo) {
  std::vector<TrainingRow> rows = shipped_rows();
  const std::vector<TrainingRow> known = rows;
  std::erase_if(rows, [](const TrainingRow& r) { return r.set != "training-selene"; });
  rows.resize(1);
  rows[0].system = "SomebodysTrainer 3";
  const std::vector<Prediction> predictions = predict_training(rows, known);
  EXPECT_TRUE(predictions[0].typical);
  EXPECT_GT(predictions[0].seconds, 0);
}

TEST(Validate, MediansAreThoseOfTheStacksThatAreMeasured) {
  // The three stacks of SC21's, Selene's and LLaMA's rows: in the middle of each constant stands one of them.
  std::vector<TrainingRow> known = shipped_rows();
  const auto of = [](const TrainingRow& r) { return stack_of(r.system).name; };
  const std::string names[] = {"Megatron-LM 2021", "Megatron-LM 2022", "LLaMA-1"};
  std::erase_if(known,
                [&](const TrainingRow& r) { return std::ranges::find(names, of(r)) == std::end(names); });
  FittedStack fitted[3];
  for (int i = 0; i < 3; ++i) {
    fitted[i] = fit_stack(known, names[i]);
    EXPECT_GE(fitted[i].rows, static_cast<int>(kMedianRows)) << names[i];
    EXPECT_TRUE(fitted[i].measured.empty());
  }
  const FittedStack unknown = fit_stack(known, "SomebodysTrainer");
  EXPECT_EQ(unknown.rows, 0);
  EXPECT_EQ(unknown.stack.name, "SomebodysTrainer");
  EXPECT_EQ(unknown.measured, "LLaMA-1, Megatron-LM 2021, Megatron-LM 2022");
  for (int c = 0; c < kConstants; ++c) {
    int below = 0, above = 0;
    for (const FittedStack& f : fitted)
      below += f.constants[c] <= unknown.constants[c], above += f.constants[c] >= unknown.constants[c];
    EXPECT_GE(std::min(below, above), 2) << c;
  }
}

TEST(Validate, RowsWhoseNumbersAreNoneAreErrorsWithTheirLine) {
  const std::string head =
      "system,model,params,layers,hidden,heads,kv_heads,ffn,vocab,seq,global_batch,gpus,gpu_type,tp,pp,dp,cp,"
      "ep,vpp,zero,"
      "micro_batch,recompute,precision,tflops_per_gpu,mfu,iteration_time_s,tokens_per_s,source\n";
  const auto row = [](const char* gpus) {
    return fmt::format("mine,GPT,,24,2048,16,,,,2048,64,{},A100,1,1,8,,,,,1,,,,,2.5,,me\n", gpus);
  };
  EXPECT_TRUE(read_training_rows(head + row("8") + row(""), "mine.csv").ok());
  for (const char* gpus : {"abc", "nan", "inf", "-8", "8x", "1e308"}) {
    const auto read = read_training_rows(head + row("8") + row(gpus), "mine.csv");
    ASSERT_FALSE(read.ok()) << gpus;
    EXPECT_NE(read.error().message.find("mine.csv:3: gpus is "), std::string::npos) << read.error().message;
  }
}

TEST(TrainingRows, CountFlopsAsTheirSourcesDo) {
  // SC21's formula: 96 B s l h^2 (1 + s / 6h + V / 16 l h), recomputation included.
  std::vector<TrainingRow> rows = shipped_rows();
  for (const TrainingRow& r : rows) {
    if (r.system != "Megatron-LM SC21") continue;
    const double B = static_cast<double>(r.job.global_batch), s = 2048,
                 l = static_cast<double>(r.model.layers), h = static_cast<double>(r.model.width), V = 51200;
    const double paper = 96 * B * s * l * h * h * (1 + s / (6 * h) + V / (16 * l * h));
    EXPECT_NEAR(counted_flops(r, true, false) / paper, 1, 0.01) << r.model_name;
  }
}

}  // namespace
}  // namespace tw::plan
