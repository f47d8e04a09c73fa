#include "eval/perplexity.h"

#include <cstring>
#include <fstream>
#include <limits>

#include "eval/test_golden.h"
#include "model/model_files.h"

namespace tw::eval {

bool operator==(const Window& a, const Window& b) {
  return a.begin == b.begin && a.end == b.end && a.from == b.from;
}
void PrintTo(const Window& w, std::ostream* out) {
  *out << w.begin << "-" << w.end << " from " << w.from;
}

namespace {

using Windows = std::vector<Window>;

TEST(Windows, WithoutOverlapEachTokenButTheFirstOfAWindowIsScored) {
  EXPECT_EQ(windows_of(10, false, {.window = 4}), (Windows{{0, 4, 1}, {4, 8, 5}, {8, 10, 9}}));
  EXPECT_EQ(windows_of(9, false, {.window = 4}), (Windows{{0, 4, 1}, {4, 8, 5}}))
      << "the last has no scored token";
  EXPECT_EQ(windows_of(9, false, {.window = 4, .limit = 1}), (Windows{{0, 4, 1}}));
  EXPECT_TRUE(windows_of(1, false, {.window = 4}).empty());
}

TEST(Windows, BehindABosEveryTokenIsScored) {
  EXPECT_EQ(windows_of(7, true, {.window = 4}), (Windows{{0, 3, 0}, {3, 6, 3}, {6, 7, 6}}));
  EXPECT_EQ(windows_of(1, true, {.window = 4}), (Windows{{0, 1, 0}}));
}

TEST(Windows, OverlapScoresEachTokenOnce) {
  EXPECT_EQ(windows_of(9, false, {.window = 4, .stride = 2}),
            (Windows{{0, 4, 1}, {2, 6, 4}, {4, 8, 6}, {6, 9, 8}}));
  EXPECT_EQ(windows_of(6, true, {.window = 4, .stride = 1}),
            (Windows{{0, 3, 0}, {1, 4, 3}, {2, 5, 4}, {3, 6, 5}}));
  EXPECT_EQ(windows_of(10, false, {.window = 4, .stride = 400}), windows_of(10, false, {.window = 4}));
}

TEST(Windows, SecondHalvesAreOfWholeWindows) {
  EXPECT_EQ(windows_of(19, true, {.window = 8, .second_half = true}), (Windows{{0, 8, 5}, {8, 16, 13}}));
  EXPECT_TRUE(windows_of(7, false, {.window = 8, .second_half = true}).empty());
}

TEST(Mean, StandardErrorIsThatOfTheSample) {
  Mean mean, rest;
  for (const double x : {1.0, 0.0, 0.0}) mean.add(x);
  rest.add(1.0);
  mean.add(rest);
  EXPECT_EQ(mean.value(), 0.5);
  EXPECT_NEAR(mean.error(), std::sqrt(1.0 / 3 / 4), 1e-12);
}

class GoldenPerplexity : public GoldenEval {
 protected:
  void compare(const char* name, PerplexityOptions options) const {
    if (!golden_["perplexity"].contains(name)) return;
    const base::Json& wanted = golden_["perplexity"][name];
    const std::string text =
        base::read_file(TW_SOURCE_DIR "/tests/data/text/tinyshakespeare.txt").value().substr(0, 3000);
    options.window = 128;
    const auto result = measure_perplexity(model(), text, options);
    ASSERT_TRUE(result.ok()) << result.error().text();
    EXPECT_EQ(result->loss.count(), wanted["tokens"].get<std::int64_t>()) << name;
    EXPECT_NEAR(result->value() / wanted["perplexity"].get<double>(), 1, 1e-4) << name;
    EXPECT_NEAR(result->error() / wanted["stderr"].get<double>(), 1, 1e-3) << name;
    if (golden_["perplexity"]["bos"] == true && !options.second_half) {
      const double space = model_->card().tokenizer->strips_leading_space() ? 1 : 0;  // before the text
      EXPECT_EQ(result->bytes, static_cast<double>(text.size()) + space) << "all of the text is scored";
    }
  }
};

TEST_P(GoldenPerplexity, IsPyTorchs) {
  compare("plain", {});
  compare("second_half", {.second_half = true});
  compare("strided", {.stride = 32});
}

TEST_P(GoldenPerplexity, NamesWhatCannotBeMeasured) {
  const auto complaint = [&](std::string_view text, const PerplexityOptions& options) {
    const auto result = measure_perplexity(model(), text, options);
    return result.ok() ? "" : result.error().message;
  };
  EXPECT_THAT(complaint("the other", {.window = 4096}),
              ::testing::HasSubstr("do not fit into the context of 256"));
  EXPECT_THAT(complaint("the other", {.window = 2}), ::testing::HasSubstr("fewer than 3"));
  EXPECT_THAT(complaint("the other", {.window = 64, .second_half = true}),
              ::testing::HasSubstr("one whole window"));
  EXPECT_THAT(complaint("", {.window = 64}), ::testing::HasSubstr("too few"));
  EXPECT_THAT(complaint("the other", {.window = 64, .stride = 65}), ::testing::HasSubstr("lower --stride"));
}

/// A weight that is no number makes no result.
TEST(BrokenModel, IsNamedInsteadOfMeasured) {
  const std::string stories = TW_SOURCE_DIR "/tests/data/models/stories260K.gguf";
  std::string bytes = base::read_file(stories).value();
  {
    const auto files = model::ModelFiles::open(stories).value();
    const io::TensorEntry& norm = *files->get("model.norm.weight").value();
    ASSERT_EQ(norm.dtype, base::DType::kF32);
    const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(norm.data), norm.bytes));
    ASSERT_NE(at, std::string::npos);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(bytes.data() + at, &nan, sizeof(nan));
  }
  const std::string path = ::testing::TempDir() + "broken_model.gguf";
  std::ofstream(path, std::ios::binary) << bytes;
  const auto model = model::LoadedModel::load(path, {.isa = "", .threads = 1, .progress = {}});
  ASSERT_TRUE(model.ok()) << model.error().text();
  infer::EngineOptions options;
  options.threads = 1;
  const auto engine = infer::Engine::create(*model, options);
  ASSERT_TRUE(engine.ok()) << engine.error().text();
  const auto result =
      measure_perplexity({**engine, *(*model)->card().tokenizer}, "Once upon a time", {.window = 16});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, base::Code::kCorrupt);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenPerplexity, golden_models(),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::eval
