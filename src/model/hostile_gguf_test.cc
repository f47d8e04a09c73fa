// GGUF files that are whole as files but no model: one clear line that names the file, no huge allocation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "io/gguf_write.h"
#include "model/loaded_model.h"

namespace tw::model {
namespace {

using io::GgufWriteMetadata;
using io::GgufWriteValue;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::int64_t kVocab = 4, kWidth = 8, kFfn = 12;

/// A model of one layer, all of whose weights are 1, as metadata and shapes to be spoiled.
struct Draft {
  GgufWriteMetadata metadata = {
      {"general.architecture", "llama"},
      {"llama.block_count", std::uint32_t{1}},
      {"llama.context_length", std::uint32_t{64}},
      {"llama.embedding_length", std::uint32_t{kWidth}},
      {"llama.feed_forward_length", std::uint32_t{kFfn}},
      {"llama.attention.head_count", std::uint32_t{2}},
      {"llama.attention.layer_norm_rms_epsilon", 1e-5F},
      {"tokenizer.ggml.model", "llama"},
      {"tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "</s>", "a"}},
      {"tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -1}},
      {"tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1}},
  };
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors = {
      {"token_embd.weight", {kVocab, kWidth}},   {"output_norm.weight", {kWidth}},
      {"blk.0.attn_norm.weight", {kWidth}},      {"blk.0.ffn_norm.weight", {kWidth}},
      {"blk.0.attn_q.weight", {kWidth, kWidth}}, {"blk.0.attn_k.weight", {kWidth, kWidth}},
      {"blk.0.attn_v.weight", {kWidth, kWidth}}, {"blk.0.attn_output.weight", {kWidth, kWidth}},
      {"blk.0.ffn_gate.weight", {kFfn, kWidth}}, {"blk.0.ffn_up.weight", {kFfn, kWidth}},
      {"blk.0.ffn_down.weight", {kWidth, kFfn}},
  };

  Draft& set(const std::string& key, GgufWriteValue value) {
    drop(key);
    metadata.emplace_back(key, std::move(value));
    return *this;
  }
  Draft& drop(const std::string& key) {
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
    std::erase_if(tensors, [&](const auto& entry) { return entry.first == key; });
    return *this;
  }
  Draft& shape(const std::string& name, std::vector<std::int64_t> extents) {
    drop(name);
    tensors.emplace_back(name, std::move(extents));
    return *this;
  }
};

base::Result<std::shared_ptr<const LoadedModel>> load(const Draft& draft) {
  static const std::vector<float> ones(1024, 1.0F);
  std::vector<io::TensorEntry> entries;
  for (const auto& [name, shape] : draft.tensors) {
    io::TensorEntry entry{name, base::DType::kF32, shape, reinterpret_cast<const std::byte*>(ones.data()), 0};
    entry.bytes = static_cast<std::size_t>(entry.elements()) * sizeof(float);
    entries.push_back(entry);
  }
  const std::string path = testing::TempDir() + "hostile_" + std::to_string(getpid()) + ".gguf";
  EXPECT_TRUE(io::write_gguf(path, draft.metadata, entries).ok());
  auto model = LoadedModel::load(path, {.isa = "ref", .threads = 1, .progress = {}});
  std::filesystem::remove(path);
  return model;
}

/// The error of loading it; empty if it loads.
std::string failure(const Draft& draft) {
  const auto model = load(draft);
  if (model.ok()) return {};
  EXPECT_THAT(model.error().text(), StartsWith(testing::TempDir() + "hostile_"));
  EXPECT_EQ(model.error().text().find('\n'), std::string::npos);
  return model.error().text();
}

TEST(HostileGguf, IsFineAsItIs) {
  EXPECT_EQ(failure(Draft()), "");
}

TEST(HostileGguf, MissingKeysAreNamed) {
  for (const char* key : {"general.architecture", "llama.block_count", "llama.context_length",
                          "llama.embedding_length", "llama.feed_forward_length", "llama.attention.head_count",
                          "tokenizer.ggml.model", "tokenizer.ggml.tokens"}) {
    EXPECT_THAT(failure(Draft().drop(key)), HasSubstr(fmt::format("has no key '{}'", key)));
  }
}

TEST(HostileGguf, WrongTypesAreNamed) {
  EXPECT_THAT(failure(Draft().set("llama.block_count", "two")),
              HasSubstr("'llama.block_count' should be an integer"));
  EXPECT_THAT(failure(Draft().set("llama.attention.head_count", std::vector<std::int32_t>{2, 2})),
              HasSubstr("should be an integer"));
  EXPECT_THAT(failure(Draft().set("general.architecture", 1.0F)), HasSubstr("should be a string"));
  EXPECT_THAT(failure(Draft().set("llama.rope.freq_base", "big")), HasSubstr("should be a number"));
  EXPECT_THAT(failure(Draft().set("tokenizer.ggml.tokens", std::vector<float>{1})),
              HasSubstr("array of strings"));
  EXPECT_THAT(failure(Draft().set("general.sampling.temp", "hot")), HasSubstr("should be a number"));
}

TEST(HostileGguf, AbsurdSizesAreRefused) {
  const auto with = [](const char* key, std::int64_t value) { return failure(Draft().set(key, value)); };
  EXPECT_THAT(with("llama.block_count", 1000000000000),
              HasSubstr("layers is 1000000000000, outside 1 to 4096"));
  EXPECT_THAT(with("llama.block_count", 4096), HasSubstr("has no tensor 'blk.1.attn_norm.weight'"));
  EXPECT_THAT(with("llama.embedding_length", std::int64_t{1} << 40), HasSubstr("width is"));
  EXPECT_THAT(with("llama.attention.key_length", 0), HasSubstr("head_dim is 0, outside"));
  EXPECT_THAT(with("llama.attention.head_count", 0), HasSubstr("outside"));
  EXPECT_THAT(with("llama.attention.head_count_kv", -1), HasSubstr("kv_heads is -1"));
  EXPECT_THAT(with("llama.attention.sliding_window", -5), HasSubstr("sliding_window is -5"));
  EXPECT_THAT(with("llama.context_length", std::int64_t{1} << 60), HasSubstr("context is"));
}

TEST(HostileGguf, WhatTheForwardLacksIsRefused) {
  EXPECT_THAT(failure(Draft().set("general.architecture", "mamba")),
              HasSubstr("general.architecture is 'mamba'"));
  EXPECT_THAT(
      failure(Draft().set("general.architecture", "qwen2").set("qwen2.expert_count", std::uint32_t{4})),
      HasSubstr("qwen2.expert_count is 4, which no model of the family has"));
  EXPECT_THAT(failure(Draft().set("llama.rope.scaling.type", "yarn")), HasSubstr("rope scaling 'yarn'"));
  EXPECT_THAT(failure(Draft().set("llama.rope.dimension_count", std::uint32_t{2})),
              HasSubstr("rotates 2 of 4"));
  EXPECT_THAT(failure(Draft().set("llama.rope.scaling.factor", -2.0F)),
              HasSubstr("factor (-2) is not positive"));
}

/// Two of three experts a token; `stacked`: in tensors of all experts, or else one by one.
Draft with_experts(bool stacked = true) {
  Draft draft;
  draft.set("llama.expert_count", std::uint32_t{3}).set("llama.expert_used_count", std::uint32_t{2});
  draft.drop("blk.0.ffn_gate.weight").drop("blk.0.ffn_up.weight").drop("blk.0.ffn_down.weight");
  draft.shape("blk.0.ffn_gate_inp.weight", {3, kWidth});
  const std::vector<std::int64_t> in = {kFfn, kWidth}, out = {kWidth, kFfn};
  for (const auto& [name, shape] : {std::pair("gate", in), std::pair("up", in), std::pair("down", out)}) {
    if (stacked) draft.shape(fmt::format("blk.0.ffn_{}_exps.weight", name), {3, shape[0], shape[1]});
    for (int e = 0; !stacked && e < 3; ++e)
      draft.shape(fmt::format("blk.0.ffn_{}.{}.weight", name, e), shape);
  }
  return draft;
}

TEST(HostileGguf, ExpertsMustFit) {
  EXPECT_EQ(failure(with_experts()), "");
  EXPECT_EQ(failure(with_experts(false)), "");
  const auto with = [](const char* key, std::int64_t value) {
    return failure(with_experts().set(key, value));
  };
  EXPECT_THAT(with("llama.expert_used_count", 4), HasSubstr("3 experts of 12 with 4 chosen cannot be"));
  EXPECT_THAT(with("llama.expert_used_count", 0), HasSubstr("0 chosen cannot be"));
  EXPECT_THAT(with("llama.expert_count", 4), HasSubstr("tensor blk.0.ffn_gate_inp.weight is [3, 8]"));
  EXPECT_THAT(with("llama.expert_count", 1 << 20), HasSubstr("1048576 experts"));
  EXPECT_THAT(with("llama.expert_count", -3), HasSubstr("-3 experts"));
  EXPECT_THAT(failure(with_experts()
                          .set("llama.block_count", std::uint32_t{4000})
                          .set("llama.expert_count", std::uint32_t{60000})),
              HasSubstr("4000 layers of 60000 experts are more than"));
  EXPECT_THAT(with("llama.expert_feed_forward_length", 13),
              HasSubstr("is [3, 12, 8], but the configuration"));
  EXPECT_THAT(failure(with_experts().drop("llama.expert_used_count")),
              HasSubstr("has no key 'llama.expert_used_count'"));
  EXPECT_THAT(failure(with_experts().drop("blk.0.ffn_up_exps.weight")),
              HasSubstr("has no tensor 'blk.0.ffn_up_exps.weight'"));
  EXPECT_THAT(failure(with_experts(false).drop("blk.0.ffn_up.2.weight")),
              HasSubstr("has no tensor 'blk.0.ffn_up_exps.weight'"));
  const std::string stack = "should be one matrix for each of 3 experts";
  EXPECT_THAT(failure(with_experts().shape("blk.0.ffn_up_exps.weight", {2, kFfn, kWidth})), HasSubstr(stack));
  EXPECT_THAT(failure(with_experts().shape("blk.0.ffn_up_exps.weight", {3 * kFfn, kWidth})),
              HasSubstr(stack));
}

/// Of early files that say one width alone: all that a token takes, and the shared expert, are as wide.
Draft with_shared_expert() {
  Draft draft = with_experts();
  for (auto& [key, value] : draft.metadata) {
    if (key.starts_with("llama.")) key.replace(0, 5, "qwen2moe");
  }
  draft.set("general.architecture", "qwen2moe");
  for (const char* bias : {"q", "k", "v"}) draft.shape(fmt::format("blk.0.attn_{}.bias", bias), {kWidth});
  for (const char* name : {"gate", "up"}) {
    draft.shape(fmt::format("blk.0.ffn_{}_exps.weight", name), {3, kFfn / 2, kWidth});
    draft.shape(fmt::format("blk.0.ffn_{}_shexp.weight", name), {kFfn, kWidth});
  }
  draft.shape("blk.0.ffn_down_exps.weight", {3, kWidth, kFfn / 2});
  draft.shape("blk.0.ffn_down_shexp.weight", {kWidth, kFfn})
      .shape("blk.0.ffn_gate_inp_shexp.weight", {kWidth});
  return draft;
}

TEST(HostileGguf, TheSharedExpertMustFit) {
  EXPECT_EQ(failure(with_shared_expert()), "");
  const std::string row = "blk.0.ffn_gate_inp_shexp.weight";
  EXPECT_EQ(failure(with_shared_expert().shape(row, {1, kWidth})), "") << "some converters keep it a matrix";
  EXPECT_THAT(failure(with_shared_expert().shape(row, {1, kWidth + 1})), HasSubstr(row + " is [9]"));
  EXPECT_THAT(failure(with_shared_expert().shape(row, {2, kWidth})), HasSubstr(row + " is [2, 8]"));
  EXPECT_THAT(failure(with_shared_expert().drop(row)), HasSubstr("has no tensor '" + row + "'"));
  EXPECT_THAT(failure(with_shared_expert().set("qwen2moe.expert_feed_forward_length", std::uint32_t{5})),
              HasSubstr("is [3, 6, 8], but the configuration says [3, 5, 8]"));
  EXPECT_THAT(
      failure(with_shared_expert().set("qwen2moe.expert_shared_feed_forward_length", std::uint32_t{10})),
      HasSubstr("ffn_gate_shexp.weight is [12, 8], but the configuration says [10, 8]"));
  EXPECT_THAT(
      failure(with_shared_expert().set("qwen2moe.expert_shared_feed_forward_length", std::int64_t{-1})),
      HasSubstr("cannot be"));
  EXPECT_THAT(failure(with_shared_expert().drop("qwen2moe.expert_count")),
              HasSubstr("qwen2moe.expert_count is 0"));
}

TEST(HostileGguf, TensorsMustFit) {
  EXPECT_THAT(failure(Draft().drop("token_embd.weight")), HasSubstr("has no matrix token_embd.weight"));
  EXPECT_THAT(failure(Draft().drop("blk.0.ffn_up.weight")), HasSubstr("has no tensor 'blk.0.ffn_up.weight'"));
  EXPECT_THAT(failure(Draft().shape("blk.0.ffn_up.weight", {kWidth, kFfn})),
              HasSubstr("tensor blk.0.ffn_up.weight is [8, 12], but the configuration says [12, 8]"));
  EXPECT_THAT(failure(Draft().shape("output.weight", {kVocab + 1, kWidth})),
              HasSubstr("output.weight is [5, 8]"));
  EXPECT_THAT(failure(Draft().shape("token_embd.weight", {3, kWidth})), HasSubstr("the embedding only 3"));
  EXPECT_THAT(failure(Draft().shape("rope_freqs.weight", {3})), HasSubstr("should be 2 F32 values"));
}

TEST(HostileGguf, TheTokenizerAndTheSamplingMustMakeSense) {
  EXPECT_THAT(failure(Draft().set("tokenizer.ggml.model", "rwkv")),
              HasSubstr("tokenizer.ggml.model is \"rwkv\""));
  EXPECT_THAT(failure(Draft().set("tokenizer.ggml.scores", std::vector<float>{1})),
              HasSubstr("1 scores for 4 tokens"));
  EXPECT_THAT(failure(Draft().set("tokenizer.ggml.eos_token_id", std::uint32_t{77})),
              HasSubstr("eos is token 77"));
  EXPECT_THAT(failure(Draft().set("tokenizer.chat_template", "{% if %}")), HasSubstr("chat template"));
  EXPECT_THAT(failure(Draft().set("general.sampling.temp", -1.0F)),
              HasSubstr("general.sampling.temp is -1, outside"));
}

/// As llama.cpp reads it: a factor without a type is linear, "none" turns it off, and there is an early name.
TEST(GgufRope, LinearScalingHasThreeSpellings) {
  const auto factor = [](const Draft& draft) {
    const auto model = load(draft);
    EXPECT_TRUE(model.ok()) << model.error().text();
    const spec::RopeScaling& scaling = (*model)->config().rope_scaling;
    return scaling.kind == spec::RopeScalingKind::kLinear ? scaling.factor : 1.0;
  };
  EXPECT_EQ(factor(Draft()), 1);
  EXPECT_EQ(factor(Draft().set("llama.rope.scaling.factor", 4.0F)), 4);
  EXPECT_EQ(factor(Draft().set("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", 8.0F)),
            8);
  EXPECT_EQ(factor(Draft().set("llama.rope.scale_linear", 2.0F)), 2);
  EXPECT_EQ(factor(Draft().set("llama.rope.scaling.type", "none").set("llama.rope.scaling.factor", 8.0F)), 1);
}

}  // namespace
}  // namespace tw::model
