#include "model/palette.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "io/safetensors_write.h"
#include "kernels/ref/dequantize.h"
#include "model/quantize.h"
#include "model/test_families.h"

namespace tw::model {
namespace {

namespace fs = std::filesystem;
using base::DType;
using testing::HasSubstr;

double cost_of(std::span<const float> values, std::span<const float> weights,
               const std::vector<float>& numbers) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    double least = std::numeric_limits<double>::infinity();
    for (const float number : numbers)
      least = std::min(least, std::pow(static_cast<double>(values[i]) - static_cast<double>(number), 2));
    sum += least * (weights.empty() ? 1 : static_cast<double>(weights[i]));
  }
  return sum;
}

/// The least cost there is: every way to give each value one of `count` means.
double by_brute_force(std::span<const float> values, std::span<const float> weights, std::size_t count) {
  double least = std::numeric_limits<double>::infinity();
  std::vector<std::size_t> of(values.size(), 0);
  const auto ways = static_cast<std::size_t>(std::pow(count, values.size()));
  for (std::size_t way = 0; way < ways; ++way) {
    std::vector<double> weight(count), first(count);
    std::size_t left = way;
    for (std::size_t i = 0; i < values.size(); ++i, left /= count) {
      of[i] = left % count;
      weight[of[i]] += static_cast<double>(weights[i]);
      first[of[i]] += static_cast<double>(weights[i]) * static_cast<double>(values[i]);
    }
    double cost = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      cost += static_cast<double>(weights[i]) *
              std::pow(static_cast<double>(values[i]) - first[of[i]] / weight[of[i]], 2);
    least = std::min(least, cost);
  }
  return least;
}

TEST(BestPalette, IsTheBestThereIsOfFewValues) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> weight(0.1F, 3.0F);
  for (int round = 0; round < 20; ++round) {
    std::vector<float> values(9), weights(9);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = normal(random), weights[i] = weight(random);
    values[4] = values[2];
    for (const std::size_t count : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
      const std::vector<float> palette = best_palette(values, weights, count);
      EXPECT_TRUE(std::ranges::is_sorted(palette));
      EXPECT_NEAR(cost_of(values, weights, palette), by_brute_force(values, weights, count), 1e-5);
    }
  }
}

TEST(BestPalette, KeepsFewDifferentValuesAsTheyAre) {
  const std::vector<float> values = {3, -1, 3, 3, -1, 0.5F, 3};
  EXPECT_EQ(best_palette(values, {}, 4), (std::vector<float>{-1, 0.5F, 3, 3}));
  EXPECT_EQ(best_palette(std::vector<float>(40, 2.0F), {}, 16), std::vector<float>(16, 2.0F));
}

/// The distortion of the best quantizers of a normal distribution with 4 and 16 levels: J. Max, Quantizing
/// for minimum distortion, IRE Trans. Inf. Theory 6 (1960), table I.
TEST(BestPalette, LosesWhatMaxFoundForANormalDistribution) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(1000000);
  for (float& value : values) value = normal(random);
  const auto distortion = [&](std::size_t count) {
    return cost_of(values, {}, best_palette(values, {}, count)) / static_cast<double>(values.size());
  };
  EXPECT_NEAR(distortion(4), 0.1175, 0.1175 * 0.015);
  EXPECT_NEAR(distortion(16), 0.009497, 0.009497 * 0.015);
}

class PaletteFolder : public testing::Test {
 protected:
  void SetUp() override { fs::remove_all(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  static std::vector<float> values_of(const io::TensorEntry& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    const std::int64_t width = tensor.shape.back();
    for (std::int64_t row = 0; row * width < tensor.elements(); ++row)
      kernels::dequantize_row(
          tensor.dtype, tensor.data + static_cast<std::size_t>(row) * base::row_bytes(tensor.dtype, width),
          values.data() + row * width, width, kernels::palette_of_row(tensor.dtype, tensor.palettes, row));
    return values;
  }
  void save(const char* family, double bits, const QuantizeOptions& options = {}) {
    const auto files = ModelFiles::open(kFamilies + family).value();
    const base::Status status = save_palettized(folder_, model_to_save(*files).value(), bits, options);
    ASSERT_TRUE(status.ok()) << status.error().text();
  }

  const std::string folder_ = testing::TempDir() + "palette_" + std::to_string(getpid());
};

/// Each weight becomes the number of its 16 rows' table that is nearest, and other tensors stay.
TEST_F(PaletteFolder, HoldsTheNearestOfEachTable) {
  save("llama3", 4);
  const auto before = ModelFiles::open(kFamilies + "llama3").value(),
             after = ModelFiles::open(folder_).value();
  const ModelToSave was = model_to_save(*before).value(), is = model_to_save(*after).value();
  std::size_t matrices = 0;
  for (std::size_t i = 0; i < was.tensors.size(); ++i) {
    const std::string& name = was.tensors[i].name;
    const std::vector<float> a = values_of(was.tensors[i]), b = values_of(is.tensors[i]);
    if (was.tensors[i].shape.size() != 2 || !name.starts_with("model.layers.")) {
      for (std::size_t j = 0; j < a.size(); ++j) EXPECT_NEAR(a[j], b[j], std::fabs(a[j]) / 1000) << name;
      continue;
    }
    ++matrices;
    const auto group = static_cast<std::size_t>(kPaletteRows * was.tensors[i].shape[1]);
    for (std::size_t begin = 0; begin < a.size(); begin += group) {
      const std::size_t end = std::min(begin + group, a.size());
      std::vector<float> used(b.begin() + static_cast<std::ptrdiff_t>(begin),
                              b.begin() + static_cast<std::ptrdiff_t>(end));
      std::ranges::sort(used);
      used.erase(std::unique(used.begin(), used.end()), used.end());
      EXPECT_LE(used.size(), 16U) << name;
      for (std::size_t j = begin; j < end; ++j) {
        for (const float other : used)
          ASSERT_LE(std::fabs(a[j] - b[j]), std::fabs(a[j] - other) * 1.00001F) << name << " " << j;
      }
    }
  }
  EXPECT_EQ(matrices, 7U * static_cast<std::size_t>(was.config.layers));
  EXPECT_EQ(after->quantization(), "palettes of 4 bits");
}

/// A palettized model exports as what it is: writing it once more as plain numbers changes none.
TEST_F(PaletteFolder, ExportsExactly) {
  save("qwen3", 2);
  const std::string file = folder_ + ".gguf";
  const auto palettes = ModelFiles::open(folder_).value();
  const ModelToSave model = model_to_save(*palettes).value();
  ASSERT_TRUE(save_gguf(file, model, DType::kF16).ok());
  {
    const auto exported = ModelFiles::open(file).value();
    const ModelToSave again = model_to_save(*exported).value();
    for (std::size_t i = 0; i < model.tensors.size(); ++i)
      EXPECT_EQ(values_of(model.tensors[i]), values_of(again.tensors[i])) << model.tensors[i].name;
  }
  fs::remove(file);
}

TEST_F(PaletteFolder, BetweenTwoAndFourBitsTheMeanIsKept) {
  for (const double bits : {2.0, 2.6, 3.5, 3.9}) {
    save("mistral", bits);
    const auto files = ModelFiles::open(folder_).value();
    double all = 0, weights = 0, elements = 0;
    std::size_t in_two = 0;
    for (const io::TensorEntry* tensor : files->tensors()) {
      if (!tensor->name.ends_with(kCodes)) continue;
      const std::string name = tensor->name.substr(0, tensor->name.size() - 6);
      elements = static_cast<double>(files->get(name).value()->elements());
      all += 8 * static_cast<double>(tensor->bytes);
      weights += elements;
      in_two += 8 * static_cast<double>(tensor->bytes) == 2 * elements ? 1 : 0;
    }
    EXPECT_LE(all / weights, bits) << bits;
    EXPECT_GT(all / weights, bits - 0.5) << "no more than what the mean wants";
    EXPECT_EQ(in_two == 0, bits == 4) << bits;
  }
}

TEST_F(PaletteFolder, ImportanceMovesTheErrorToWhatCountsLittle) {
  const std::string name = "model.layers.0.mlp.down_proj.weight";
  const auto files = ModelFiles::open(kFamilies + "mistral").value();
  const std::vector<float> values = values_of(*files->get(name).value());
  Importance importance;
  const auto columns = static_cast<std::size_t>(files->get(name).value()->shape[1]);
  importance[name].assign(columns, 1.0F);
  importance[name][3] = 1e4F;
  const auto lost_in_column = [&] {
    const auto saved = ModelFiles::open(folder_).value();
    const std::vector<float> now = values_of(*saved->get(name).value());
    double sum = 0;
    for (std::size_t i = 3; i < now.size(); i += columns)
      sum += std::pow(static_cast<double>(now[i]) - static_cast<double>(values[i]), 2);
    return sum;
  };
  save("mistral", 4);
  const double plain = lost_in_column();
  save("mistral", 4, {.team = nullptr, .importance = &importance, .progress = {}});
  EXPECT_LT(lost_in_column(), plain / 4);
}

TEST_F(PaletteFolder, BytesDoNotDependOnTheTeam) {
  save("qwen2", 3.2);
  const std::string alone = base::read_file(folder_ + "/model.safetensors").value();
  base::Team team(3);
  save("qwen2", 3.2, {.team = &team, .importance = nullptr, .progress = {}});
  EXPECT_EQ(base::read_file(folder_ + "/model.safetensors").value(), alone);
}

/// A model says the same from its palettes as from the numbers they stand for: on `ref` to the bit, on other
/// sets but for the order of additions in fp32 (of prompts with AMX not even that).
TEST_F(PaletteFolder, AModelRunsFromItsPalettes) {
  save("llama3", 3.5);
  const std::string plain = folder_ + "_plain";
  {
    const auto files = ModelFiles::open(folder_).value();
    ASSERT_TRUE(save_folder(plain, model_to_save(*files).value(), DType::kF16).ok());
  }
  const std::vector<std::int32_t> prompt = {1, 30, 7, 99, 12};
  for (const std::string& set : kernels::available_sets(kernels::detect_features())) {
    for (const bool generated : {false, true}) {
      Harness palettes(folder_, set, 2), numbers(plain, set, 2);
      palettes.add(0, prompt, 0, true, generated);
      numbers.add(0, prompt, 0, true, generated);
      const auto got = palettes.run(), expected = numbers.run();
      for (std::size_t row = 0; row < got.size(); ++row)
        EXPECT_LE(largest_difference(got[row], expected[row]), set == "ref" ? 0 : 1e-4) << set;
    }
  }
  fs::remove_all(plain);
}

/// In memory the matrices are as large as in the file, but for a table a panel.
TEST_F(PaletteFolder, StaysSmallInMemory) {
  save("llama3", 4);
  for (const std::string& set : kernels::available_sets(kernels::detect_features())) {
    const Harness harness(folder_, set, 1);
    for (const Param& param : harness.model().params().params()) {
      if (!param.name.starts_with("model.layers.") || !param.multiplied()) continue;
      EXPECT_EQ(param.matrix.type(), DType::kPalette4) << param.name;
      const auto panels = static_cast<std::size_t>((param.shape[0] + 7) / 8),
                 columns = static_cast<std::size_t>((param.shape[1] + 31) / 32 * 32);
      EXPECT_LE(param.matrix.packed().size(), panels * (64 + 8 * columns / 2)) << set << " " << param.name;
    }
  }
}

/// Experts are palettized under the names that their folders have; routers stay.
TEST_F(PaletteFolder, HoldsExperts) {
  for (const char* family : {"mixtral", "qwen2-moe", "qwen3-moe"}) {
    save(family, 4);
    const auto model = LoadedModel::load(folder_, {.isa = "ref", .threads = 1, .progress = {}});
    ASSERT_TRUE(model.ok()) << model.error().text();
    const auto files = ModelFiles::open(folder_).value();
    EXPECT_EQ(files->get("model.layers.0.mlp.experts.1.up_proj.weight").value()->dtype, DType::kPalette4);
    EXPECT_EQ(files->get("model.layers.0.mlp.gate.weight").value()->dtype, DType::kF16);
  }
}

TEST_F(PaletteFolder, AFamilyThatJoinsLayersIsRefused) {
  const auto files = ModelFiles::open(kFamilies + "gpt2").value();
  const base::Status status = save_palettized(folder_, model_to_save(*files).value(), 4, {});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().text(), HasSubstr("gpt2"));
  EXPECT_FALSE(fs::exists(folder_));
}

/// Codes and tables that do not fit each other, whatever a file says of them.
TEST(PaletteTensorsTest, RefuseWhatDoesNotFit) {
  const std::vector<std::byte> bytes(4096);
  const auto entry = [&](DType type, std::vector<std::int64_t> shape) {
    io::TensorEntry made{.name = "w", .dtype = type, .shape = std::move(shape), .data = bytes.data()};
    made.bytes = base::row_bytes(type, made.elements());
    return made;
  };
  const auto failure = [&](const io::TensorEntry& codes, const io::TensorEntry& tables) {
    PaletteTensors tensors;
    const auto got = tensors.get("w", codes, tables, "some/folder");
    return got.ok() ? "" : got.error().text();
  };
  const io::TensorEntry codes = entry(DType::kI8, {17, 8}), tables = entry(DType::kF16, {2, 16});
  EXPECT_EQ(failure(codes, tables), "");
  EXPECT_THAT(failure(codes, entry(DType::kF16, {1, 16})), HasSubstr("some/folder: tensor 'w' has codes"));
  EXPECT_NE(failure(codes, entry(DType::kF16, {3, 16})), "");
  EXPECT_NE(failure(codes, entry(DType::kF16, {2, 8})), "");
  EXPECT_NE(failure(codes, entry(DType::kF16, {32})), "");
  EXPECT_NE(failure(codes, entry(DType::kF32, {2, 16})), "");
  EXPECT_NE(failure(entry(DType::kF16, {17, 8}), tables), "");
  EXPECT_NE(failure(entry(DType::kI8, {136}), tables), "");
  const std::vector<std::uint16_t> infinite(32, 0x7C00);
  io::TensorEntry bad = tables;
  bad.data = reinterpret_cast<const std::byte*>(infinite.data());
  EXPECT_THAT(failure(codes, bad), HasSubstr("not finite"));
}

}  // namespace
}  // namespace tw::model
