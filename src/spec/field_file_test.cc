#include "spec/field_file.h"

#include <gtest/gtest.h>

#include "spec/cluster_spec.h"
#include "spec/parallel_plan.h"
#include "spec/train_job.h"

namespace tw::spec {
namespace {

TEST(Measure, ReadsUnitsAndWantsThem) {
  const std::tuple<Dimension, const char*, double> good[] = {
      {Dimension::kBytes, "80 GB", 80e9},         {Dimension::kBytesPerSecond, "400 Gb/s", 50e9},
      {Dimension::kWatts, "15MW", 15e6},          {Dimension::kSeconds, "30 days", 30 * 86400.0},
      {Dimension::kUsdPerHour, "2.5 USD/h", 2.5}, {Dimension::kCount, "15.6T", 15.6e12},
      {Dimension::kBytes, "1 GiB", 1073741824.0}};
  for (const auto& [dimension, text, value] : good) {
    const auto parsed = parse_measure(dimension, text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.error().text();
    EXPECT_DOUBLE_EQ(*parsed, value) << text;
  }
  const auto bare = parse_measure(Dimension::kBytes, "80");
  ASSERT_FALSE(bare.ok());
  EXPECT_NE(bare.error().message.find("needs a unit, such as \"80 GB\" "
                                      "(there are PB, TB, GB, MB, kB, B, TiB, GiB, MiB)"),
            std::string::npos)
      << bare.error().text();
  // A target of 30 is hardly one of 30 days.
  EXPECT_NE(parse_measure(Dimension::kSeconds, "30").error().message.find("\"30 s\""), std::string::npos);
  EXPECT_FALSE(parse_measure(Dimension::kWatts, "1e305 GW").ok());
  for (const char* text : {"", "GB", "-1 GB", "80 Gb/s", "nan GB", "80 GB extra"})
    EXPECT_FALSE(parse_measure(Dimension::kBytes, text).ok()) << text;
}

TEST(Measure, PrintsWhatReadsBest) {
  EXPECT_EQ(measure_text(Dimension::kBytes, 80e9), "80.0 GB");
  EXPECT_EQ(measure_text(Dimension::kWatts, 15e6), "15.0 MW");
  EXPECT_EQ(measure_text(Dimension::kSeconds, 86400 * 90.0), "90.0 days");
  EXPECT_EQ(measure_text(Dimension::kSeconds, 0), "0 us");
  EXPECT_EQ(measure_text(Dimension::kCount, 1.8e12), "1.80T");
}

TEST(FieldFile, TellsTheLineOfWhatIsUnknownOrWrong) {
  ClusterSpec cluster;
  const char* text = "{\n  \"accelerator\": \"H100\",\n  \"accelerators\": 8,\n  \"nodez\": {\"pue\": 1}\n}";
  auto status = read_fields(text, "c.json", cluster);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().where, "c.json:4");
  EXPECT_NE(status.error().message.find("nodez"), std::string::npos);
  status = read_fields("{\n\"accelerators\": 8,\n\"memory\": 80}", "c.json", cluster);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().text(),
            "c.json:3: \"memory\": \"80\" needs a unit, such as \"80 GB\" "
            "(there are PB, TB, GB, MB, kB, B, TiB, GiB, MiB)");
  status = read_fields("{\n\"accelerators\": 8,\n\"nodes\": 1, \"accelerators\": 16}", "c.json", cluster);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().text(), "c.json:3: \"accelerators\" is given twice");
  const auto nested = parse_field_file("{\"a\": [{\"b\": 1},\n{\"b\": 2,\n\"b\": 3}], \"b\": 4}", "n.json");
  ASSERT_FALSE(nested.ok());
  EXPECT_EQ(nested.error().text(), "n.json:3: \"a[1].b\" is given twice");
  EXPECT_TRUE(parse_field_file("{\"a\": [{\"b\": 1}, {\"b\": 2}], \"b\": 4}", "n.json").ok());
  EXPECT_TRUE(parse_field_file("\xEF\xBB\xBF{\"a\": 1}", "m.json").ok());
  EXPECT_FALSE(parse_field_file(std::string("{\"a\": 1}\n\0]", 11), "z.json").ok());
  status = read_fields("{\n\n,}", "c.json", cluster);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().where, "c.json:3");
}

TEST(FieldFile, SetsFieldsFromFilesAndFlags) {
  TrainJob job;
  ASSERT_TRUE(read_fields(R"({"tokens": "2T", "batch": 1024, "precision": "fp8"})", "job.json", job).ok());
  ASSERT_TRUE(set_by_name(job, "sequence", "8192").ok());
  ASSERT_TRUE(job.validate().ok());
  EXPECT_EQ(job.total_steps(), std::ceil(2e12 / (1024.0 * 8192)));
  EXPECT_FALSE(set_by_name(job, "batch", "many").ok());
  job.steps = {10, true};
  EXPECT_FALSE(job.validate().ok());
}

TEST(FieldFile, PlansAreReadAndWrittenAlike) {
  ParallelPlan plan;
  plan.data = 4, plan.tensor = 8, plan.pipeline = 16, plan.micro_batch = 2, plan.zero = 1,
  plan.sequence = true;
  plan.recompute = Recompute::kSelective, plan.shard = 2, plan.offload = Offload::kOptimizer;
  ParallelPlan back;
  const auto status = read_plan(plan_file(plan), "plan.json", back);
  ASSERT_TRUE(status.ok()) << status.error().text();
  EXPECT_EQ(back.text(), plan.text());
  EXPECT_FALSE(read_plan("{\"tp\": 2,\n\"recompute\": \"half\"}", "plan.json", back).ok());
  const auto disk = read_plan("{\"tp\": 2,\n\"offload\": \"disk\"}", "plan.json", back);
  ASSERT_FALSE(disk.ok());
  EXPECT_EQ(disk.error().text(),
            "plan.json:2: \"offload\": it is none, optimizer or parameters, not \"disk\" "
            "(activations stay where they are: recompute selective or full holds fewer)");
}

}  // namespace
}  // namespace tw::spec
