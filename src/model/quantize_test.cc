// Quantized files: the types are llama-quantize's, and the model is still the model.
#include "model/quantize.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernels/ref/dequantize.h"
#include "model/families.h"
#include "model/test_families.h"
#include "model/test_harness.h"
#include "model/transformer.h"

namespace tw::model {
namespace {

using base::DType;

/// A model of which only names and shapes are known.
ModelToSave shapes_alone(const base::Json& golden) {
  ModelToSave model;
  spec::ModelConfig& c = model.config;
  c.architecture = "llama";
  c.layers = golden["layers"];
  c.heads = golden["heads"];
  c.kv_heads = golden["kv_heads"];
  c.tied_embeddings = golden["tied"];
  c.width = golden["width"];
  c.head_dim = c.width / c.heads;
  c.ffn_width = 2 * c.width;
  c.vocab = 281;
  c.context = 128;
  ParamStore store;
  const Transformer transformer(c, store);
  for (const Param& param : store.params())
    model.tensors.push_back({.name = param.name, .shape = param.shape});
  return model;
}

TEST(QuantizedTypes, AreLlamaQuantizes) {
  const base::Json golden =
      base::parse_json(base::read_file(TW_SOURCE_DIR "/tests/golden/mixes/types.json").value()).value();
  int compared = 0;
  for (const base::Json& of_model : golden["models"]) {
    const ModelToSave model = shapes_alone(of_model);
    for (const auto& [name, types] : of_model["types"].items()) {
      const auto chosen = quantized_types(model, name);
      ASSERT_TRUE(chosen.ok()) << chosen.error().text();
      for (std::size_t i = 0; i < model.tensors.size(); ++i) {
        if (model.tensors[i].shape.size() != 2) continue;
        const std::string tensor = gguf_tensor_name(model.tensors[i].name);
        const auto expected = types["others"].value(tensor, types["most"].get<std::string>());
        EXPECT_EQ(base::dtype_name((*chosen)[i]), expected) << name << " " << tensor;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

TEST(QuantizedTypes, NamesAreTakenInAnyCaseAndOthersRefused) {
  const ModelToSave model;
  EXPECT_TRUE(quantized_types(model, "Q4_K_M").ok());
  EXPECT_TRUE(quantized_types(model, "q5_k").ok());
  const auto refused = quantized_types(model, "q9");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("q4_k_m"), std::string::npos);
}

class QuantizedFile : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(file_); }
  void TearDown() override { std::filesystem::remove(file_); }
  const std::string file_ = testing::TempDir() + "quantized_" + std::to_string(getpid()) + ".gguf";
};

class Quantized : public QuantizedFile, public ::testing::WithParamInterface<std::string> {};

TEST_P(Quantized, FileRunsAndSaysNearlyTheSame) {
  const std::string path = TW_SOURCE_DIR "/tests/data/models/stories260K.gguf";
  const auto files = ModelFiles::open(path).value();
  const ModelToSave model = model_to_save(*files).value();
  base::Team team(2);
  double last = -1;
  const auto progress = [&](double done) {
    EXPECT_GE(done, last);
    EXPECT_LT(done, 1);
    last = done;
  };
  const base::Status status =
      save_quantized(file_, model, GetParam(), {.team = &team, .importance = nullptr, .progress = progress});
  ASSERT_TRUE(status.ok()) << status.error().text();
  EXPECT_GT(last, 0.5);
  Harness whole(path, "ref", 1), saved(file_, "ref", 1);
  const auto prompt = whole.model().card().tokenizer->encode(
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.");
  whole.add(0, prompt, 0, true);
  saved.add(0, prompt, 0, true);
  const auto expected = whole.run(), rows = saved.run();
  double mean = 0;
  for (std::size_t i = 0; i < rows.size(); ++i)
    mean += cosine(rows[i], expected[i]) / static_cast<double>(rows.size());
  std::printf("%s: mean cosine of the logits %.5f\n", GetParam().c_str(), mean);
  const bool fine =
      GetParam() == "q8_0" || GetParam() == "q6_k" || GetParam().ends_with("6") || GetParam() == "f32";
  EXPECT_GT(mean, fine ? 0.9995 : 0.97);
}

/// Workers share rows, and rows alone: their number changes no byte.
TEST_P(Quantized, BytesDoNotDependOnTheTeam) {
  const auto files = ModelFiles::open(kFamilies + "qwen2").value();
  const ModelToSave model = model_to_save(*files).value();
  ASSERT_TRUE(save_quantized(file_, model, GetParam(), {}).ok());
  const std::string alone = base::read_file(file_).value();
  base::Team team(3);
  ASSERT_TRUE(
      save_quantized(file_, model, GetParam(), {.team = &team, .importance = nullptr, .progress = {}}).ok());
  EXPECT_EQ(base::read_file(file_).value(), alone);
}

INSTANTIATE_TEST_SUITE_P(Types, Quantized, ::testing::ValuesIn(quantization_names()),
                         [](const auto& info) { return info.param; });

/// With importances, what is unimportant bears the error.
TEST_F(QuantizedFile, ImportanceIsUsedByName) {
  const auto files = ModelFiles::open(kFamilies + "mistral").value();
  const ModelToSave model = model_to_save(*files).value();
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  Importance importance;
  importance[name].assign(static_cast<std::size_t>(model.config.ffn_width), 1.0F);
  importance[name][3] = 1e4F;
  ASSERT_TRUE(save_quantized(file_, model, "q4_0", {}).ok());
  const auto column_error = [&]() {
    const auto again = ModelFiles::open(file_).value();
    const ModelToSave saved = model_to_save(*again).value();
    double sum = 0;
    for (std::size_t i = 0; i < model.tensors.size(); ++i) {
      if (model.tensors[i].name != name) continue;
      const std::int64_t width = model.config.ffn_width;
      std::vector<float> a(static_cast<std::size_t>(width)), b(a.size());
      for (std::int64_t row = 0; row < model.config.width; ++row) {
        const auto read = [&](const io::TensorEntry& t, std::vector<float>& out) {
          kernels::dequantize_row(t.dtype,
                                  t.data + static_cast<std::size_t>(row) * base::row_bytes(t.dtype, width),
                                  out.data(), width);
        };
        read(model.tensors[i], a);
        read(saved.tensors[i], b);
        sum += std::pow(static_cast<double>(a[3]) - b[3], 2);
      }
    }
    return sum;
  };
  const double plain = column_error();
  ASSERT_TRUE(
      save_quantized(file_, model, "q4_0", {.team = nullptr, .importance = &importance, .progress = {}})
          .ok());
  EXPECT_LT(column_error(), plain / 4);
}

}  // namespace
}  // namespace tw::model
