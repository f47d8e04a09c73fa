// What is saved is what transformers computed: every family's golden model, saved in the other format and
// loaded again, gives the golden logits and tokens, and the same weights bit for bit.
#include "model/save.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "model/save_parts.h"
#include "model/test_families.h"
#include "model/test_harness.h"

namespace tw::model {
namespace {

namespace fs = std::filesystem;
using base::DType;

using Weights = std::map<std::string, std::vector<float>>;

/// All weights with heads' rows in halves.
Weights weights_of(const ModelToSave& model) {
  Weights weights;
  for (const io::TensorEntry& tensor : model.tensors) {
    RowReader reader(tensor, model.config, spec::RopeStyle::kHalfSplit);
    for (std::int64_t row = 0; row < reader.rows(); ++row) {
      const auto values = reader.read(row, DType::kF32).value();
      weights[tensor.name].insert(weights[tensor.name].end(), values.begin(), values.end());
    }
  }
  return weights;
}

class Saved : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    for (char& c : name) c = c == '/' ? '_' : c;
    place_ = testing::TempDir() + "saved_" + name + std::to_string(getpid());
    fs::remove_all(place_);
    fs::create_directories(place_);
    auto opened = ModelFiles::open(kFamilies + golden_["path"].get<std::string>());
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    files_ = std::move(*opened);
    auto model = model_to_save(*files_);
    ASSERT_TRUE(model.ok()) << model.error().text();
    model_ = *std::move(model);
  }
  void TearDown() override { fs::remove_all(place_); }

  std::string at(const char* name) const { return place_ + "/" + name; }
  bool sentence_piece_gguf() const { return GetParam() == "mistral-Q8_0" || GetParam() == "mixtral-Q8_0"; }
  /// Readers of GGUF files would norm the weights of its experts, though it does not.
  bool no_gguf() const { return GetParam() == "qwen3-moe-unnormed"; }

  void expect_same_model(const std::string& path) {
    auto files = ModelFiles::open(path);
    ASSERT_TRUE(files.ok()) << files.error().text();
    auto again = model_to_save(**files);
    ASSERT_TRUE(again.ok()) << again.error().text();
    EXPECT_EQ(weights_of(*again), weights_of(model_));
    EXPECT_EQ(again->chat_template, model_.chat_template);
    EXPECT_EQ(again->config.sliding_window, model_.config.sliding_window);
    EXPECT_EQ(again->config.context, model_.config.context);
    EXPECT_EQ(again->config.parameter_count(), model_.config.parameter_count());
    const GenerationDefaults &a = again->generation.defaults, &b = model_.generation.defaults;
    EXPECT_EQ(std::tie(a.temperature, a.top_p, a.top_k, a.min_p, a.repetition_penalty),
              std::tie(b.temperature, b.top_p, b.top_k, b.min_p, b.repetition_penalty));
    expect_same_text(**files, path);
    expect_golden_logits(path);
  }

  void expect_same_text(const ModelFiles& files, const std::string& path) {
    auto card = read_card(files, path);
    ASSERT_TRUE(card.ok()) << card.error().text();
    const base::Json text = read_family_goldens("texts")[golden_["text"].get<std::string>()];
    for (const base::Json& line : text["lines"]) {
      EXPECT_EQ(card->tokenizer->encode(line["text"].get<std::string>(),
                                        {.add_special = true, .parse_special = true}),
                ids_of(line["ids"]))
          << line["text"];
    }
    for (const std::int32_t id : end_tokens_of(model_))
      EXPECT_TRUE(card->tokenizer->is_end_of_generation(id));
  }

  void expect_golden_logits(const std::string& path) {
    Harness harness(path, "ref", 1, 2);
    EXPECT_LT(largest_golden_difference(harness, golden_), 1e-4);
  }

  const base::Json golden_ = family_golden(GetParam());
  std::string place_;
  std::unique_ptr<ModelFiles> files_;
  ModelToSave model_;
};

TEST_P(Saved, GgufIsTheSameModel) {
  const base::Status status = save_gguf(at("m.gguf"), model_, DType::kF32);
  if (no_gguf()) {
    EXPECT_NE(status.error().message.find("norm_topk_prob"), std::string::npos);
    EXPECT_TRUE(fs::is_empty(place_)) << "nothing is left of what failed";
    return;
  }
  ASSERT_TRUE(status.ok()) << status.error().text();
  expect_same_model(at("m.gguf"));
}

TEST_P(Saved, FolderIsTheSameModel) {
  const base::Status status = save_folder(at("m"), model_, DType::kF32);
  if (sentence_piece_gguf()) {
    EXPECT_EQ(status.error().code, base::Code::kUnsupported);
    EXPECT_TRUE(fs::is_empty(place_)) << "nothing is left of what failed";
    return;
  }
  ASSERT_TRUE(status.ok()) << status.error().text();
  EXPECT_FALSE(fs::exists(at("m.partial")));
  expect_same_model(at("m"));
}

class SavedInShards : public Saved {};

TEST_P(SavedInShards, IsTheSameModel) {
  const base::Status status = save_folder(at("m"), model_, DType::kF32, 50'000);
  ASSERT_TRUE(status.ok()) << status.error().text();
  EXPECT_TRUE(fs::exists(at("m/model.safetensors.index.json")));
  EXPECT_FALSE(fs::exists(at("m/model.safetensors")));
  expect_same_model(at("m"));
}

TEST_P(Saved, SixteenBitsAreTheNearest) {
  if (no_gguf()) return;
  for (const auto& [type, bits] : {std::pair(DType::kBF16, 8), std::pair(DType::kF16, 11)}) {
    ASSERT_TRUE(save_gguf(at("m.gguf"), model_, type).ok());
    const auto files = ModelFiles::open(at("m.gguf")).value();
    const ModelToSave again = model_to_save(*files).value();
    const Weights saved = weights_of(again), whole = weights_of(model_);
    for (const io::TensorEntry& tensor : again.tensors) {
      const bool exact = tensor.shape.size() != 2 || tensor.name == "model.embed_positions.weight" ||
                         tensor.name.ends_with("mlp.gate.weight");
      EXPECT_EQ(tensor.dtype, exact ? DType::kF32 : type);
      const std::vector<float>&a = whole.at(tensor.name), &b = saved.at(tensor.name);
      for (std::size_t i = 0; i < a.size(); ++i)
        ASSERT_LE(std::fabs(a[i] - b[i]), std::ldexp(std::fabs(a[i]), -bits) + 1e-7) << tensor.name << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Saved, ::testing::ValuesIn(family_names()),
                         [](const auto& info) { return test_name(info.param); });

INSTANTIATE_TEST_SUITE_P(Families, SavedInShards, ::testing::Values("qwen2", "llama3-F16"),
                         [](const auto& info) { return test_name(info.param); });

/// A small folder's model, to be spoilt.
class SaveRefuses : public Saved {};

TEST_P(SaveRefuses, MissingAndMisshapenTensors) {
  const io::TensorEntry last = model_.tensors.back();
  model_.tensors.pop_back();
  EXPECT_NE(save_folder(at("m"), model_, DType::kF32).error().message.find(last.name), std::string::npos);
  model_.tensors.push_back(last);
  model_.tensors.back().shape = {last.shape[0] + 1};
  EXPECT_NE(save_gguf(at("m.gguf"), model_, DType::kF32).error().message.find(last.name), std::string::npos);
  model_.tensors.back() = last;
  model_.tensors.push_back(last);
  EXPECT_EQ(save_gguf(at("m.gguf"), model_, DType::kF32).error().code, base::Code::kInvalidArgument);
  EXPECT_TRUE(fs::is_empty(place_));
}

TEST_P(SaveRefuses, NumbersTheTypeCannotHold) {
  std::vector<float> values(static_cast<std::size_t>(model_.tensors[0].elements()), 1.0F);
  model_.tensors[0].dtype = DType::kF32;
  model_.tensors[0].data = reinterpret_cast<const std::byte*>(values.data());
  model_.tensors[0].bytes = values.size() * sizeof(float);
  values[7] = 70000.0F;
  const base::Status large = save_folder(at("m"), model_, DType::kF16);
  EXPECT_EQ(large.error().code, base::Code::kInvalidArgument);
  EXPECT_NE(large.error().message.find(model_.tensors[0].name), std::string::npos);
  EXPECT_TRUE(save_folder(at("m"), model_, DType::kBF16).ok());
  values[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(save_gguf(at("m.gguf"), model_, DType::kF16).ok());
  for (const DType same : {DType::kF32, DType::kF16}) {
    EXPECT_FALSE(save_gguf(at("m.gguf"), model_, same).ok());
    EXPECT_FALSE(save_folder(at("n"), model_, same).ok()) << "copied as it lies, it is looked at, too";
  }
  EXPECT_FALSE(fs::exists(at("m.gguf")));
  EXPECT_FALSE(fs::exists(at("n")));
}

/// The kill of a writer leaves files of which only some have their names yet.
TEST_P(SaveRefuses, NothingThatAKilledSaveLeft) {
  fs::create_directories(at("m.partial"));
  for (const char* name : {"config.json", "tokenizer_config.json.partial", "model.safetensors.partial",
                           "model-00002-of-00003.safetensors.partial"})
    std::ofstream(at("m.partial/") + name) << "half";
  EXPECT_TRUE(save_folder(at("m"), model_, DType::kF32).ok());
  EXPECT_FALSE(fs::exists(at("m.partial")));
  fs::create_directories(at("m.partial"));
  std::ofstream(at("m.partial/thesis.txt.partial")) << "my only copy";
  EXPECT_FALSE(save_folder(at("m"), model_, DType::kF32).ok());
}

TEST_P(SaveRefuses, ATokenizerThatCannotBeSaidBeforeAFolderIsMade) {
  model_.tokenizer.kind = text::TokenizerKind::kSentencePiece;
  model_.tokenizer_files = {};
  EXPECT_FALSE(save_folder(at("no/sub/m"), model_, DType::kF32).ok());
  EXPECT_FALSE(fs::exists(at("no")));
}

TEST_P(SaveRefuses, FoldersWithOtherFiles) {
  ASSERT_TRUE(save_folder(at("m"), model_, DType::kF32, 50'000).ok());
  ASSERT_TRUE(save_folder(at("m/"), model_, DType::kBF16).ok()) << "a model takes a model's place";
  EXPECT_FALSE(fs::exists(at("m/model.safetensors.index.json"))) << "all of the old one is gone";
  std::ofstream(at("m/thesis.txt")) << "my only copy";
  const base::Status refused = save_folder(at("m"), model_, DType::kF32);
  EXPECT_NE(refused.error().message.find("thesis.txt"), std::string::npos);
  EXPECT_TRUE(fs::exists(at("m/thesis.txt")));
}

TEST_P(SaveRefuses, WhatNoFamilyHas) {
  model_.config.qk_norm = true;  // Qwen 2 has none
  EXPECT_FALSE(save_folder(at("m"), model_, DType::kF32).ok());
}

INSTANTIATE_TEST_SUITE_P(Families, SaveRefuses, ::testing::Values("qwen2"),
                         [](const auto& info) { return test_name(info.param); });

}  // namespace
}  // namespace tw::model
