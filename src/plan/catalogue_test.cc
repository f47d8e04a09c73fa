#include "plan/catalogue.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plan/csv.h"
#include "plan/setting.h"
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

TEST(Catalogue, WhatIsGivenIsAssumedAsStated) {
  spec::ClusterSpec c;
  c.accelerator = "H100", c.accelerators = 8;
  c.peak = {500e12, true}, c.nic = {25e9, true};
  const auto a = accelerator_of(c);
  ASSERT_TRUE(a.ok());
  for (const Field field : {Field::kBf16, Field::kFp16, Field::kNic}) {
    const auto q = a->get(field);
    EXPECT_EQ(q->provenance, Provenance::kAssumed);
    EXPECT_EQ(std::pair(q->low, q->high), std::pair(q->value, q->value));
  }
  EXPECT_EQ(a->get(Field::kMemoryBandwidth)->provenance, Provenance::kDatasheet);
}

TEST(Catalogue, EachNumberMayBeGivenAsAFlag) {
  // What the catalogue says of an accelerator is in the range of the flag that says it instead.
  int given = 0;
  for (const Accelerator& a : Catalogue::shipped().accelerators()) {
    spec::ClusterSpec c;
    c.accelerator = a.name, c.accelerators = 1;
    const auto give = [&](auto& measure, Field field, double unit) {
      if (a[field]) measure = {*a[field] * unit, true}, ++given;
    };
    give(c.peak, a[Field::kBf16] ? Field::kBf16 : Field::kFp16, 1e12);
    give(c.fp8_peak, Field::kFp8, 1e12), give(c.fp4_peak, Field::kFp4, 1e12);
    give(c.memory, Field::kMemory, kCatalogueGb), give(c.memory_bandwidth, Field::kMemoryBandwidth, 1e9);
    give(c.scale_up_bandwidth, Field::kScaleUpBandwidth, 1e9), give(c.nic, Field::kNic, 1e9);
    give(c.power, Field::kTdp, 1), give(c.price, Field::kPrice, 1);
    EXPECT_TRUE(c.validate().ok()) << a.name << ": " << c.validate().error().message;
  }
  EXPECT_GT(given, 250);
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
