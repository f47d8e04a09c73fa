#include "plan/serve_offline.h"

#include <gtest/gtest.h>

#include "plan/serve_validate.h"

namespace tw::plan {
namespace {

constexpr const char* kHead =
    "system,model,accelerator,count,precision,scenario,input_len,output_len,concurrency,throughput_tok_s,"
    "ttft_ms,itl_ms,source,parallel,power_w,note\n";

/// A submission of eight: Llama-2-70B, answers of 290 tokens.
std::string submission(const std::string& accelerator, const std::string& round, double tokens) {
  return fmt::format("Somebody X_TRT,llama2-70b-99,{},8,fp8,MLPerf {},,290,,{},,,s,,,\n", accelerator, round,
                     tokens);
}

std::vector<ServingRow> rows_of(const std::string& lines) {
  auto rows = read_serving_rows(kHead + lines, "test");
  EXPECT_TRUE(rows.ok());
  return *rows;
}

double tokens_of(const ServingRow& row, const std::vector<ServingRow>& known) {
  const auto p = predict_serving({row}, known);
  EXPECT_EQ(p[0].problem, "");
  return p[0].tokens_per_second;
}

TEST(Offline, TokensAreBelowWhatThePeakAllows) {
  // 2 x 69e9 FLOPs a token of prompts and answers; 294 are read for 290 that are written (OpenOrca).
  for (const auto& [name, peak] : {std::pair("NVIDIA H100-SXM-80GB", 1978.9e12),
                                   {"NVIDIA H200-SXM-141GB", 1978.9e12},
                                   {"NVIDIA B200-SXM-180GB", 9000e12},
                                   {"NVIDIA L40S", 733e12}}) {
    const double most = 8 * peak / (2 * 69e9 * (1 + 294.0 / 290));
    const double tokens = tokens_of(rows_of(submission(name, "v4.1 Offline", 1000))[0], {});
    EXPECT_LT(tokens, 0.9 * most) << name;
    EXPECT_GT(tokens, 0.15 * most) << name;
  }
}

TEST(Offline, StagesReplaceTensorParallelRanksWhereARoundHasThem) {
  // 70 GB of weights leave an H100 no room for a cache: two share them. As stages they sum nothing up.
  const double ranks = tokens_of(rows_of(submission("NVIDIA H100-SXM-80GB", "v4.1 Offline", 1000))[0], {});
  const double stages = tokens_of(rows_of(submission("NVIDIA H100-SXM-80GB", "v5.1 Offline", 1000))[0], {});
  EXPECT_GT(stages, 1.02 * ranks);
  EXPECT_LT(stages, 1.5 * ranks);
}

TEST(Offline, RoundsAreAsFastAsTheirOtherAcceleratorsShow) {
  const auto asked = rows_of(submission("NVIDIA H100-SXM-80GB", "v9.1 Offline", 1000))[0];
  const auto h200 = rows_of(submission("NVIDIA H200-SXM-141GB", "v9.1 Offline", 1000))[0];
  const double plain = tokens_of(asked, {}), other = tokens_of(h200, {});
  // Twice as fast on another accelerator; what is said of the asked one's own teaches nothing.
  const auto known = rows_of(submission("NVIDIA H200-SXM-141GB", "v9.1 offline", 2 * other) +
                             submission("NVIDIA H100-SXM-80GB", "v9.1 Offline", 7 * plain));
  EXPECT_NEAR(tokens_of(asked, known) / plain, 2, 1e-9);
  // The nearest round is taken for one that nobody knows, and all stacks' where its own has no other
  // accelerator.
  const auto later = rows_of(submission("NVIDIA H100-SXM-80GB", "v10.0 Offline", 1000))[0];
  EXPECT_NEAR(tokens_of(later, known) / plain, 2, 1e-9);
  const auto amd = rows_of(submission("AMD Instinct MI300X 192GB HBM3", "v9.1 Offline", 1000))[0];
  EXPECT_NEAR(tokens_of(amd, known) / tokens_of(amd, {}), 4.5, 1e-9);
}

TEST(Offline, ARoundIsOneHoweverItsScenarioIsWritten) {
  const auto rows = rows_of(submission("NVIDIA L40S", "v4.1 Offline", 4000) +
                            submission("NVIDIA L40S", "v4.1 offline", 900));
  EXPECT_EQ(rows[0].round(), 4.1);
  EXPECT_EQ(rows[1].round(), 4.1);
  EXPECT_EQ(rows[1].set, "serve-mlperf");
}

}  // namespace
}  // namespace tw::plan
