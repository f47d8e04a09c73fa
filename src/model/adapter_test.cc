// Adapters against peft on PyTorch (tests/golden/lora, by tools/make_lora_golden.py), and beside each other
// in one batch, on every kernel set of this machine.
#include "model/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/test_families.h"
#include "model/test_harness.h"

namespace tw::model {
namespace {

const std::string kLora = TW_SOURCE_DIR "/tests/golden/lora/";

struct GoldenAdapter {
  std::string name, base;
};
const std::vector<GoldenAdapter> kAdapters = {
    {"llama3", "llama3"},       {"llama3", "llama3-F16.gguf"},  // its heads' rows are reordered
    {"llama3-gates", "llama3"}, {"qwen2", "qwen2"},
    {"qwen3", "qwen3"},         {"mistral-Q8_0", "mistral-Q8_0.gguf"},
    {"qwen2-moe", "qwen2-moe"}};

base::Json golden(const std::string& name) {
  const auto all = base::parse_json(base::read_file(kLora + "golden.json").value()).value();
  for (const base::Json& adapter : all["adapters"]) {
    if (adapter["name"] == name) return adapter;
  }
  TW_CHECK(false, "a golden adapter of this name");
  return {};
}

std::shared_ptr<const Adapter> load(const std::string& name, const LoadedModel& base) {
  auto adapter = Adapter::load(kLora + name, base);
  TW_CHECK(adapter.ok(), "the golden adapter loads");
  return *adapter;
}

class Adapters : public ::testing::TestWithParam<std::string> {};

TEST_P(Adapters, LogitsArePeft) {
  for (const GoldenAdapter& a : kAdapters) {
    SCOPED_TRACE(a.name + " on " + a.base);
    const base::Json wanted = golden(a.name);
    const auto ids = ids_of(wanted["ids"]);
    const std::string bytes = base::read_file(kLora + a.name + "/logits.f32").value();
    for (const bool generated : {false, true}) {
      Harness harness(kFamilies + a.base, GetParam(), 2);
      const auto adapter = load(a.name, harness.model());
      harness.add(0, ids, 0, true, generated, adapter.get());
      const auto rows = harness.run();
      double largest = 0;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::vector<float> row(rows[i].size());
        ASSERT_EQ(bytes.size(), rows.size() * row.size() * sizeof(float));
        std::memcpy(row.data(), bytes.data() + i * row.size() * sizeof(float), row.size() * sizeof(float));
        largest = std::max(largest, largest_difference(rows[i], row));
      }
      // As families_golden_test.cc's: bf16 in prompts, activations of 15 bits.
      const bool quantized = a.base.find("-Q") != std::string::npos && GetParam() != "ref";
      EXPECT_LT(largest, GetParam() == "amx" && !generated ? 0.6 : quantized ? 5e-3 : 1e-4) << generated;
    }
  }
}

/// Sequences with one adapter, another, and none, in all phases: as each of them alone.
TEST_P(Adapters, MixedBatchEqualsAloneBitForBit) {
  const auto ids = ids_of(golden("llama3")["ids"]);
  const std::string path = kFamilies + "llama3";
  Harness together(path, GetParam(), 2, 6);
  const auto all = load("llama3", together.model()), gates = load("llama3-gates", together.model());
  const std::vector<const Adapter*> of = {nullptr, all.get(), gates.get(), nullptr, all.get(), nullptr};
  const auto tokens = [&](int sequence) { return std::span(ids).subspan(sequence, 11 + sequence); };
  std::vector<std::vector<std::vector<float>>> alone(of.size());
  for (int s = 0; s < std::ssize(of); ++s) {
    Harness one(path, GetParam(), 3);  // its adapters are another copy
    const auto own_all = load("llama3", one.model()), own_gates = load("llama3-gates", one.model());
    const Adapter* own = of[s] == all.get()     ? own_all.get()
                         : of[s] == gates.get() ? own_gates.get()
                                                : nullptr;
    one.add(0, tokens(s), 0, true, s < 3, own);
    alone[s] = one.run();
  }
  for (int s = 0; s < std::ssize(of); ++s) together.add(s, tokens(s), 0, true, s < 3, of[s]);
  const auto rows = together.run();
  std::size_t at = 0;
  for (std::size_t s = 0; s < of.size(); ++s) {
    for (const auto& row : alone[s]) ASSERT_EQ(rows[at++], row) << "sequence " << s;
  }
  ASSERT_EQ(at, rows.size());
  EXPECT_NE(alone[3].back(), alone[4][alone[3].size() - 1]);
}

TEST_P(Adapters, ChunkedEqualsWholeBitForBit) {
  const auto ids = ids_of(golden("qwen3")["ids"]);
  Harness whole(kFamilies + "qwen3", GetParam(), 1), cut(kFamilies + "qwen3", GetParam(), 3);
  const auto adapter = load("qwen3", whole.model()), same = load("qwen3", cut.model());
  EXPECT_EQ(adapter->content_hash(), same->content_hash());
  whole.add(0, ids, 0, true, false, adapter.get());
  const auto expected = whole.run();
  std::size_t at = 0;
  for (const std::size_t length : {std::size_t{1}, std::size_t{9}, ids.size() - 10}) {
    cut.add(0, std::span(ids).subspan(at, length), static_cast<std::int64_t>(at), true, false, same.get());
    for (const auto& row : cut.run()) ASSERT_EQ(row, expected[at++]);
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, Adapters,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

TEST(Adapter, HashesDiffer) {
  const auto base =
      LoadedModel::load(kFamilies + "llama3", {.isa = "ref", .threads = 1, .progress = {}}).value();
  EXPECT_NE(load("llama3", *base)->content_hash(), load("llama3-gates", *base)->content_hash());
}

TEST(Adapter, OneThatIsToBeLearntBeginsAsPeftsDo) {
  const auto base =
      LoadedModel::load(kFamilies + "qwen3", {.isa = "ref", .threads = 1, .progress = {}}).value();
  AdapterConfig config;
  config.rank = 4;
  config.targets = {"v_proj", "layers.1.mlp.up_proj"};
  auto adapter = Adapter::make(config, base->params());
  ASSERT_TRUE(adapter.ok()) << adapter.error().text();
  std::vector<std::string> names;
  for (const Param& param : (*adapter)->params().params()) names.push_back(param.name);
  EXPECT_THAT(names, testing::ElementsAre("base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight",
                                          "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight",
                                          "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight",
                                          "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight",
                                          "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight",
                                          "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"));
  const Param& a = (*adapter)->params().params()[0];
  EXPECT_TRUE(a.uniform);
  EXPECT_DOUBLE_EQ(a.spread, 1 / std::sqrt(64.0));
  EXPECT_EQ((*adapter)->params().params()[1].spread, 0);
  config.targets = {"v_proj", "proj"};
  auto wrong = Adapter::make(config, base->params());
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().text(), testing::HasSubstr("'proj'"));
}

}  // namespace
}  // namespace tw::model
