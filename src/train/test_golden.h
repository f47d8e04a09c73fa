// For this folder's tests: the models, weights and data of tests/golden/train, by tools/make_train_golden.py.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mmap.h"
#include "train/trainer.h"

namespace tw::train {

inline const std::string kGoldenFolder = TW_SOURCE_DIR "/tests/golden/train/";

inline base::Json golden() {
  return base::parse_json(base::read_file(kGoldenFolder + "golden.json").value()).value();
}

inline spec::ModelConfig config_of(const base::Json& all, const base::Json& model) {
  const base::Json& sizes = all["sizes"];
  spec::ModelConfig c;
  c.architecture = model["family"].get<std::string>();
  c.layers = sizes["num_hidden_layers"].get<std::int64_t>();
  c.width = sizes["hidden_size"].get<std::int64_t>();
  c.heads = sizes["num_attention_heads"].get<std::int64_t>();
  c.kv_heads = sizes["num_key_value_heads"].get<std::int64_t>();
  c.head_dim = model["head_dim"].get<std::int64_t>();
  c.ffn_width = sizes["intermediate_size"].get<std::int64_t>();
  c.vocab = sizes["vocab_size"].get<std::int64_t>();
  c.context = sizes["max_position_embeddings"].get<std::int64_t>();
  c.norm_epsilon = sizes["rms_norm_eps"].get<double>();
  c.rope_theta = model["rope_theta"].get<double>();
  c.qkv_bias = c.architecture.starts_with("qwen2");
  c.qk_norm = c.architecture == "qwen3";
  c.tied_embeddings = model["tied"].get<bool>();
  if (model.contains("experts")) {
    c.experts.count = model["experts"].get<std::int64_t>();
    c.experts.chosen = model["chosen"].get<std::int64_t>();
    c.experts.width = c.ffn_width;
  }
  if (model.contains("shared_width")) {
    c.experts.shared = 1;
    c.experts.shared_width = model["shared_width"].get<std::int64_t>();
    c.experts.shared_gated = true;
    c.experts.normed = false;
  }
  if (c.architecture != "gpt2") return c;
  c.kv_heads = c.heads;
  c.norm = spec::NormKind::kLayer;
  c.ffn = spec::FfnKind::kGelu;
  c.learned_positions = c.qkv_bias = c.linear_bias = true;
  return c;
}

/// The documents of the script.
inline std::vector<TrainBatch> batches_of(const base::Json& all, int step, bool apart = false) {
  std::vector<TrainBatch> batches(1);
  int i = 0;
  for (const auto& length : all["lengths"]) {
    std::vector<std::int32_t> ids;
    for (int t = 0; t < length.get<int>(); ++t)
      ids.push_back((7 * t + 3 * i + step * t % 5) % all["sizes"]["vocab_size"].get<int>());
    if (apart && i > 0) batches.emplace_back();
    batches.back().add_document(ids);
    ++i;
  }
  return batches;
}

inline TrainerOptions options_of(const base::Json& all) {
  TrainerOptions o;
  o.rows = 40;
  o.optimizer = {all["betas"][0].get<double>(), all["betas"][1].get<double>(), all["epsilon"].get<double>(),
                 all["decay"].get<double>()};
  o.clip = all["clip"].get<double>();
  return o;
}

/// The numbers of all parameters: first weights, or with `second` gradients. By our order.
inline std::vector<std::vector<float>> stored(const base::Json& model, const model::ParamStore& store,
                                              bool second) {
  const std::string bytes =
      base::read_file(kGoldenFolder + model["family"].get<std::string>() + ".f32").value();
  std::vector<std::vector<float>> all(store.params().size());
  std::size_t at = second ? bytes.size() / 2 : 0;
  for (const base::Json& parameter : model["parameters"]) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (store.params()[i].name != parameter["name"].get<std::string>()) continue;
      auto shape = parameter["shape"].get<std::vector<std::int64_t>>();
      if (shape.size() == 2 && shape[0] == 1) shape.erase(shape.begin());  // a vector to us
      TW_CHECK(store.params()[i].shape == shape, "the golden shape");
      all[i].resize(store.params()[i].elements());
      std::memcpy(all[i].data(), bytes.data() + at, all[i].size() * sizeof(float));
      at += all[i].size() * sizeof(float);
    }
  }
  TW_CHECK(at == bytes.size() / (second ? 1 : 2), "all parameters are known");
  return all;
}

inline std::unique_ptr<Trainer> trainer_of(const base::Json& all, const base::Json& model,
                                           TrainerOptions options, base::Team& team) {
  if (model.contains("balance")) options.objective.balance = model["balance"].get<double>();
  auto trainer = Trainer::make(config_of(all, model), options, team);
  TW_CHECK(trainer.ok(), "the test model can be trained");
  model::Trainable& params = (*trainer)->params();
  const auto weights = stored(model, params.store(), false);
  for (std::size_t i = 0; i < weights.size(); ++i)
    std::copy(weights[i].begin(), weights[i].end(), params.master(i).begin());
  (*trainer)->refresh();
  return std::move(trainer).value();
}

}  // namespace tw::train
