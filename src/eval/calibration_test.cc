#include "eval/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/mmap.h"
#include "eval/perplexity.h"
#include "kernels/ref/dequantize.h"
#include "model/save.h"

namespace tw::eval {
namespace {

const std::string kStories = TW_SOURCE_DIR "/tests/data/models/stories260K.gguf";

std::string plays(std::size_t begin, std::size_t bytes) {
  return base::read_file(TW_SOURCE_DIR "/tests/data/text/tinyshakespeare.txt").value().substr(begin, bytes);
}

std::shared_ptr<const model::LoadedModel> load(const std::string& path, const std::string& isa) {
  auto model = model::LoadedModel::load(path, {.isa = isa, .threads = 2, .progress = {}});
  TW_CHECK(model.ok(), "the test model loads");
  return *model;
}

model::Importance importance(const std::string& isa, std::string_view text, int threads = 2) {
  auto result = measure_importance(*load(kStories, isa), text, {.threads = threads});
  TW_CHECK(result.ok(), "the text is long enough");
  return *std::move(result);
}

std::span<const float> plain(const model::ModelToSave& model, const std::string& name) {
  for (const io::TensorEntry& tensor : model.tensors) {
    if (tensor.name == name && tensor.dtype == base::DType::kF32)
      return {reinterpret_cast<const float*>(tensor.data), static_cast<std::size_t>(tensor.elements())};
  }
  TW_CHECK(false, "the model has this tensor in fp32");
  return {};
}

/// What the first layer sees can be said without running the model: the embeddings of the text's tokens, each
/// divided by its root mean square, times the norm's weights.
TEST(Importance, OfTheFirstLayerIsThatOfItsNormalisedEmbeddings) {
  const std::string text = plays(0, 4000);
  const auto files = model::ModelFiles::open(kStories).value();
  const model::ModelToSave model = model::model_to_save(*files).value();
  const auto table = plain(model, "model.embed_tokens.weight"),
             weights = plain(model, "model.layers.0.input_layernorm.weight");
  const std::size_t width = weights.size();
  std::vector<double> squares(width);
  double rows = 0;
  const auto loaded = load(kStories, "ref");
  const TextWindows cut = cut_text(*loaded->card().tokenizer, text, {.window = 512});
  for (std::size_t i = 0; i < cut.windows.size(); ++i) {
    for (const std::int32_t token : cut.passage(i).tokens) {
      const auto row = table.subspan(static_cast<std::size_t>(token) * width, width);
      double square = 0;
      for (const float x : row) square += static_cast<double>(x) * x;
      const double scale = 1 / (square / static_cast<double>(width) + model.config.norm_epsilon);
      for (std::size_t c = 0; c < width; ++c) squares[c] += scale * std::pow(row[c] * weights[c], 2);
      ++rows;
    }
  }
  ASSERT_GT(cut.windows.size(), 2U);
  for (const int threads : {1, 2}) {
    const model::Importance found = importance("ref", text, threads);
    for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
      const auto& ours = found.at(std::string("model.layers.0.self_attn.") + name + ".weight");
      ASSERT_EQ(ours.size(), width);
      for (std::size_t c = 0; c < width; ++c)
        EXPECT_NEAR(ours[c] / (squares[c] / rows), 1, 1e-4) << name << " column " << c;
    }
  }
}

/// Also where the feed-forward layer is one kernel, whose middle is never in fp32.
TEST(Importance, IsTheSameOnEverySetAndOfEveryLayer) {
  const std::string text = plays(5000, 3000);
  const model::Importance wanted = importance("ref", text);
  EXPECT_EQ(wanted.size(), 7U * 5U) << "seven matrices in five layers; not the output matrix";
  for (const std::string& isa : kernels::available_sets(kernels::detect_features())) {
    const model::Importance found = importance(isa, text);
    ASSERT_EQ(found.size(), wanted.size());
    for (const auto& [name, columns] : wanted) {
      double difference = 0, sum = 0;
      for (std::size_t c = 0; c < columns.size(); ++c) {
        difference += std::fabs(found.at(name)[c] - columns[c]);
        sum += columns[c];
      }
      EXPECT_LT(difference, (isa == "amx" ? 0.02 : 0.001) * sum) << isa << " " << name;
    }
  }
}

TEST(Importance, NeedsAText) {
  const auto result = measure_importance(*load(kStories, "ref"), "", {.threads = 1});
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, ::testing::HasSubstr("too short"));
  // No room for a token behind a BOS.
  const auto narrow = measure_importance(*load(kStories, "ref"), "Once", {.threads = 1, .window = 1});
  ASSERT_FALSE(narrow.ok());
  EXPECT_THAT(narrow.error().message, ::testing::HasSubstr("a context of 1 token"));
}

std::vector<float> values_of(const io::TensorEntry& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  kernels::dequantize_row(tensor.dtype, tensor.data, values.data(), tensor.elements());
  return values;
}

/// The square of what a linear layer's output loses, summed over all layers, if columns are independent.
double lost(const model::ModelToSave& from, const model::ModelToSave& to, const model::Importance& columns) {
  double sum = 0;
  for (const io::TensorEntry& tensor : from.tensors) {
    const auto found = columns.find(tensor.name);
    if (found == columns.end()) continue;
    const auto same = std::ranges::find(to.tensors, tensor.name, &io::TensorEntry::name);
    TW_CHECK(same != to.tensors.end(), "a quantized model has all tensors");
    const std::vector<float> before = values_of(tensor), after = values_of(*same);
    for (std::size_t i = 0; i < before.size(); ++i)
      sum += static_cast<double>(found->second[i % found->second.size()]) * std::pow(after[i] - before[i], 2);
  }
  return sum;
}

/// By what another text makes of the columns, less is lost with calibration than without.
TEST(Importance, LetsQuantizedLayersLoseLessOnAnotherText) {
  const auto files = model::ModelFiles::open(kStories).value();
  const model::ModelToSave model = model::model_to_save(*files).value();
  const model::Importance known = importance("", plays(0, 12000)),
                          other = importance("", plays(600000, 12000));
  const std::string path = ::testing::TempDir() + "tw_calibrated.gguf";
  for (const char* type : {"q4_0", "q4_1", "q5_0", "q8_0"}) {
    double losses[2] = {0, 0};
    for (const bool calibrated : {false, true}) {
      const model::QuantizeOptions how{.importance = calibrated ? &known : nullptr, .progress = {}};
      ASSERT_TRUE(model::save_quantized(path, model, type, how).ok());
      const auto written = model::ModelFiles::open(path).value();
      losses[calibrated] = lost(model, model::model_to_save(*written).value(), other);
    }
    std::printf("%s: squares lost in linear layers: %.6g, calibrated %.6g: %.1f %% less\n", type, losses[0],
                losses[1], 100 * (1 - losses[1] / losses[0]));
    EXPECT_LT(losses[1], 0.97 * losses[0]) << type;
  }
  std::remove(path.c_str());
}

}  // namespace
}  // namespace tw::eval
