// The forward against llama2.c's published text and golden logits, on every kernel set of this machine, with
// every way to cut the same work: workers, chunks, batches.
#include "model/transformer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/json.h"
#include "base/mmap.h"
#include "model/test_harness.h"

namespace tw::model {
namespace {

const char* const kModel = TW_SOURCE_DIR "/tests/data/models/stories260K.gguf";
const std::string kGolden = TW_SOURCE_DIR "/tests/golden/stories260K/";

std::vector<std::int32_t> published_ids() {
  const auto json = base::parse_json(base::read_file(kGolden + "greedy.json").value()).value();
  return json["greedy_ids"].get<std::vector<std::int32_t>>();
}

std::vector<std::int32_t> with_bos(std::vector<std::int32_t> ids, std::size_t length) {
  ids.insert(ids.begin(), 1);
  ids.resize(std::min(ids.size(), length));
  return ids;
}

class EverySet : public ::testing::TestWithParam<std::string> {
 protected:
  /// Sets that differ in the order of additions alone agree closely; the amx set computes prompts in bf16,
  /// whose 8 bits of precision move these logits (up to 20) by less than 0.1.
  const double bound_ = GetParam() == "amx" ? 0.3 : 2e-4;

  /// Logits of all rows of a prompt, in one call and by one worker.
  static std::vector<std::vector<float>> rows_at_once(const std::vector<std::int32_t>& prompt) {
    Harness whole(kModel, GetParam(), 1);
    whole.add(0, prompt, 0, true);
    return whole.run();
  }
};

TEST_P(EverySet, GreedyTextIsThePublishedOne) {
  const std::vector<std::int32_t> published = published_ids();
  Harness harness(kModel, GetParam(), 2);
  std::int32_t token = 1;
  for (std::size_t i = 0; i < published.size(); ++i) {
    harness.add(0, std::vector<std::int32_t>{token}, static_cast<std::int64_t>(i));
    token = argmax(harness.run()[0]);
    ASSERT_EQ(token, published[i]) << "at step " << i;
  }
}

TEST_P(EverySet, LogitsAreTheGoldenOnes) {
  const auto json = base::parse_json(base::read_file(kGolden + "greedy.json").value()).value();
  const auto columns = json["logits_columns"].get<std::size_t>();
  const auto rows = std::min<std::size_t>(json["logits_rows"].get<std::size_t>(), 128);
  const std::string bytes = base::read_file(kGolden + "logits.f32").value();
  Harness harness(kModel, GetParam(), 2);
  harness.add(0, with_bos(published_ids(), rows), 0, true);
  const auto logits = harness.run();
  ASSERT_EQ(logits.size(), rows);
  for (std::size_t i = 0; i < rows; ++i) {
    std::vector<float> golden(columns);
    std::memcpy(golden.data(), bytes.data() + i * columns * sizeof(float), columns * sizeof(float));
    EXPECT_LT(largest_difference(logits[i], golden), bound_) << "row " << i;
  }
}

TEST_P(EverySet, BatchedEqualsAloneBitForBit) {
  const std::vector<std::int32_t> long_prompt = with_bos(published_ids(), 70),
                                  short_prompt = with_bos(published_ids(), 9);
  Harness together(kModel, GetParam(), 2, 3), alone(kModel, GetParam(), 2, 3);
  together.add(0, long_prompt, 0, true);
  together.add(1, short_prompt, 0, true);
  together.add(2, std::span(long_prompt).first(33), 0, true);
  const auto batched = together.run();
  alone.add(1, short_prompt, 0, true);
  const auto single = alone.run();
  for (std::size_t i = 0; i < single.size(); ++i) EXPECT_EQ(single[i], batched[70 + i]) << "row " << i;
}

TEST_P(EverySet, ChunkedEqualsWholeBitForBitForAnyNumberOfWorkers) {
  const std::vector<std::int32_t> prompt = with_bos(published_ids(), 100);
  const auto expected = rows_at_once(prompt);
  for (const int workers : {1, 2, 3}) {
    Harness chunked(kModel, GetParam(), workers);
    std::size_t at = 0;
    for (const std::size_t length : {1, 7, 33, 19, 40}) {
      chunked.add(0, std::span(prompt).subspan(at, length), static_cast<std::int64_t>(at), true);
      const auto rows = chunked.run();
      for (std::size_t i = 0; i < rows.size(); ++i)
        ASSERT_EQ(rows[i], expected[at + i]) << "row " << at + i << ", " << workers << " workers";
      at += length;
    }
  }
}

TEST_P(EverySet, LayersInSeveralCallsEqualThoseInOneBitForBit) {
  const std::vector<std::int32_t> prompt = with_bos(published_ids(), 100);
  const auto expected = rows_at_once(prompt);
  for (const int layers : {1, 2, 3}) {
    Harness other(kModel, GetParam(), 2);
    ASSERT_GT(other.model().config().layers, layers);
    other.add(0, std::span(prompt).first(40), 0, true);
    const auto first = other.run(layers);
    other.add(0, std::span(prompt).subspan(40), 40, true);
    const auto second = other.run(layers);
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_EQ(i < 40 ? first[i] : second[i - 40], expected[i]) << "row " << i << ", by " << layers;
  }
}

TEST_P(EverySet, EqualsTheReferenceWithinBound) {
  const std::vector<std::int32_t> prompt = with_bos(published_ids(), 100);
  Harness reference(kModel, "ref", 1), other(kModel, GetParam(), 2);
  reference.add(0, prompt, 0, true);
  other.add(0, prompt, 0, true);
  const auto expected = reference.run(), rows = other.run();
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_LT(largest_difference(rows[i], expected[i]), bound_) << "row " << i;
}

INSTANTIATE_TEST_SUITE_P(Transformer, EverySet,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

TEST(Rope, ScalingFollowsLlama31) {
  spec::ModelConfig c;
  c.head_dim = 128;
  c.rope_theta = 500000;
  c.rope_scaling = {spec::RopeScalingKind::kLlama3, 8, 1, 4, 8192};
  const std::vector<float> scaled = rope_inverse_frequencies(c);
  c.rope_scaling = {};
  const std::vector<float> plain = rope_inverse_frequencies(c);
  EXPECT_EQ(scaled[0], plain[0]);              // short wavelengths stay
  EXPECT_FLOAT_EQ(scaled[63], plain[63] / 8);  // long ones are stretched by the factor
  EXPECT_LT(scaled[32], plain[32]);            // between: blended
  EXPECT_GT(scaled[32], plain[32] / 8);
}

TEST(Trace, CountsEveryWeightOnce) {
  auto model = LoadedModel::load(kModel, {.isa = "ref", .threads = 1, .progress = {}});
  ASSERT_TRUE(model.ok()) << model.error().text();
  ops::Trace trace;
  ops::Exec ex((*model)->table(), trace);
  Batch batch;
  const std::int32_t block = 0, token = 1;
  batch.add(std::span(&token, 1), 0, &block, false);
  batch.want(0);
  KvView kv;
  kv.longest = 16;
  kv.layers.assign((*model)->config().layers, {nullptr, nullptr, base::DType::kF32, kBlock,
                                               (*model)->config().kv_heads, (*model)->config().head_dim});
  (*model)->transformer().logits(ex, (*model)->transformer().forward(ex, batch, kv));
  double linear_flops = 0;
  for (const ops::OpCost& op : trace.ops) {
    if (op.name == "linear" || op.name == "linear_residual" || op.name == "qkv_rope" ||
        op.name == "gated_ffn")
      linear_flops += op.flops;
  }
  EXPECT_EQ(linear_flops, 2.0 * static_cast<double>((*model)->matmul_weights()));
}

}  // namespace
}  // namespace tw::model
