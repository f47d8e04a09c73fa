// For tests: what the lm-evaluation-harness and PyTorch make of the tiny models of tests/golden/families
// (tests/golden/eval, by tools/make_eval_golden.py).
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/json.h"
#include "base/mmap.h"
#include "eval/passages.h"
#include "model/loaded_model.h"

namespace tw::eval {

inline const std::string kGolden = TW_SOURCE_DIR "/tests/golden/eval/";

class GoldenEval : public ::testing::TestWithParam<std::string> {
 protected:
  /// In fp32 throughout, so that nothing but the order of additions differs from PyTorch.
  void SetUp() override {
    const std::string path = TW_SOURCE_DIR "/tests/golden/families/" + GetParam();
    auto model = model::LoadedModel::load(path, {.isa = "ref", .threads = 2, .progress = {}});
    ASSERT_TRUE(model.ok()) << model.error().text();
    model_ = *model;
    infer::EngineOptions options;
    options.threads = 2;
    options.kv_type = base::DType::kF32;
    auto engine = infer::Engine::create(model_, options);
    ASSERT_TRUE(engine.ok()) << engine.error().text();
    engine_ = std::move(*engine);
    const auto all = base::parse_json(base::read_file(kGolden + "golden.json").value());
    golden_ = all.value()["models"][GetParam()];
  }
  Model model() const { return {*engine_, *model_->card().tokenizer}; }

  std::shared_ptr<const model::LoadedModel> model_;
  std::unique_ptr<infer::Engine> engine_;
  base::Json golden_;
};

inline auto golden_models() {
  return ::testing::Values("llama3", "mistral", "qwen3");
}

}  // namespace tw::eval
