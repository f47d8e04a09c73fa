#include "plan/catalogue.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plan/csv.h"
#include "plan/shipped.h"

namespace tw::plan {
namespace {

const std::string kHeader =
    "name,vendor,year,fp64,fp32,tf32,bf16_dense_tflops,fp16_dense_tflops,fp8_dense_tflops,int8_dense_tops,"
    "fp4_dense_tflops,mem_gb,mem_type,mem_bw_gbs,scaleup_bw_gbs_per_dir,scaleup_domain_size,nic_gbs,tdp_w,"
    "price_usd_est,source,provenance,fp8_why,host_mem_gb,host_mem_bw_gbs,host_link_gbs_per_dir\n";

std::string row(const std::string& bf16, const std::string& fp8, const std::string& why = "") {
  return kHeader + "X,Y,2024,,,," + bf16 + ",," + fp8 + ",,,80,HBM,3000,,8,50,700,,somewhere,datasheet," +
         why + ",,,64\n";
}

TEST(Csv, QuotesMayHoldCommasQuotesAndLines) {
  auto table = CsvTable::parse("a,b\n\"x, \"\"y\"\"\nz\",2\n", "f");
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table->text(0, 0), "x, \"y\"\nz");
  EXPECT_EQ(**table->number(0, 1), 2);
  EXPECT_EQ(csv_field("x, \"y\""), "\"x, \"\"y\"\"\"");
}

TEST(Csv, ErrorsNameFileAndLine) {
  EXPECT_NE(CsvTable::parse("a,b\n1,2\n3\n", "f.csv").error().text().find("f.csv:3"), std::string::npos);
  EXPECT_FALSE(CsvTable::parse("a\n\"x\n", "f").ok());
  auto table = CsvTable::parse("a\nnan\n", "f.csv");
  EXPECT_NE(table->number(0, 0).error().text().find("f.csv:2: a is 'nan'"), std::string::npos);
  EXPECT_FALSE(table->column("b").ok());
}

TEST(Catalogue, ShippedRowsHoldTheirRules) {
  auto parsed = Catalogue::parse(shipped("accelerators.csv"), "accelerators.csv");
  ASSERT_TRUE(parsed.ok()) << parsed.error().text();
  EXPECT_EQ(parsed->accelerators().size(), 52U);
  int pairs = 0;
  for (const Accelerator& a : parsed->accelerators()) {
    const auto sixteen = a[Field::kBf16] ? a[Field::kBf16] : a[Field::kFp16];
    if (!sixteen || !a[Field::kFp8]) continue;
    ++pairs;
    const bool twice = std::fabs(*a[Field::kFp8] / *sixteen / 2 - 1) <= 0.02;
    EXPECT_EQ(twice, a.fp8_why.empty()) << a.name;
  }
  EXPECT_GE(pairs, 24);
}

TEST(Catalogue, ASparseFigureIsRefused) {
  EXPECT_TRUE(Catalogue::parse(row("989.4", "1978.9"), "f").ok());
  EXPECT_TRUE(Catalogue::parse(row("1677", "1677", "one rate for both"), "f").ok());
  const auto sparse = Catalogue::parse(row("1979", "1978.9"), "f");
  ASSERT_FALSE(sparse.ok());
  EXPECT_NE(sparse.error().text().find("1.00 times"), std::string::npos);
  EXPECT_FALSE(Catalogue::parse(row("989.4", "3957.8"), "f").ok());
  EXPECT_FALSE(Catalogue::parse(row("-1", ""), "f").ok());
}

TEST(Catalogue, ABlankIsNamedWhenWanted) {
  auto chana = Catalogue::shipped().find("Chana");
  ASSERT_TRUE(chana.ok());
  const auto missing = (*chana)->get(Field::kBf16);
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().text().find("bf16"), std::string::npos);
  EXPECT_NE(missing.error().text().find("Chana"), std::string::npos);
}

TEST(Catalogue, FindsPapersNames) {
  const std::pair<const char*, const char*> names[] = {
      {"A100-80GB-SXM", "A100 SXM 80GB"}, {"a100_40gb", "A100 SXM 40GB"},
      {"H100-80GB-700W", "H100 SXM"},     {"TPUv5p", "TPU v5p"},
      {"GB300", "GB300 NVL72 (per GPU)"}, {"MI250X", "MI250X (2 GCD)"}};
  for (const auto& [said, meant] : names) {
    auto found = Catalogue::shipped().find(said);
    ASSERT_TRUE(found.ok()) << said;
    EXPECT_EQ((*found)->name, meant);
  }
  EXPECT_FALSE(Catalogue::shipped().find("Z9000").ok());
  const auto several = Catalogue::shipped().find("H100 N");
  EXPECT_TRUE(several.ok());
  EXPECT_NE(Catalogue::shipped().find("TPU").error().text().find("TPU v5p"), std::string::npos);
}

TEST(Catalogue, NumbersHaveRangeUnitAndProvenance) {
  const auto bf16 = (*Catalogue::shipped().find("H100"))->get(Field::kBf16);
  EXPECT_EQ(bf16->value, 989.4);
  EXPECT_LT(bf16->low, bf16->value);
  EXPECT_EQ(bf16->unit, "TFLOP/s");
  EXPECT_EQ(bf16->provenance, Provenance::kDatasheet);
  EXPECT_EQ((*Catalogue::shipped().find("Rubin (VR NVL72, per GPU)"))->get(Field::kBf16)->provenance,
            Provenance::kVendorClaim);
  EXPECT_EQ((*Catalogue::shipped().find("H100"))->get(Field::kPrice)->provenance, Provenance::kAssumed);
}

}  // namespace
}  // namespace tw::plan
