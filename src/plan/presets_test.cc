#include "plan/presets.h"

#include <gtest/gtest.h>

#include <set>

namespace tw::plan {
namespace {

TEST(PlanPresets, HaveTheirPublishedSizes) {
  const std::pair<const char*, double> sizes[] = {
      {"gpt3-175b", 175e9},     {"gpt-1t", 1008e9},       {"gpt-530b", 530e9},    {"llama-2-7b", 6.74e9},
      {"llama-2-13b", 13e9},    {"llama-2-70b", 69e9},    {"llama-3-8b", 8.03e9}, {"llama-3-405b", 405e9},
      {"mixtral-8x7b", 46.7e9}, {"mixtral-8x22b", 141e9}, {"deepseek-v3", 671e9}, {"grok-1", 314e9},
      {"gpt-moe-1.8t", 1.8e12}, {"afm-3b", 2.73e9},       {"afm-6.4b", 6.4e9},    {"gpt2-124m", 124e6}};
  for (const auto& [name, size] : sizes) {
    const auto model = find_model(name);
    ASSERT_TRUE(model.ok()) << name;
    EXPECT_NEAR(static_cast<double>(model->config.parameter_count()) / size, 1, 0.025) << name;
  }
  for (const PlannedModel& m : preset_models()) {
    EXPECT_TRUE(m.config.validate().ok()) << m.name;
    EXPECT_FALSE(m.source.empty()) << m.name;
  }
  EXPECT_FALSE(find_model("gpt-5").ok());
}

/// What a model's makers published, in the words of Hugging Face's config.json.
struct Published {
  const char *name, *source;
  std::int64_t num_hidden_layers, hidden_size, num_attention_heads, num_key_value_heads, head_dim;
  std::int64_t intermediate_size, vocab_size;
  bool tie_word_embeddings;
  // Experts: count, chosen, shared, width, dense layers.
  std::int64_t experts[5] = {0, 0, 0, 0, 0};
  // Latent attention: q_lora_rank, kv_lora_rank, qk_rope_head_dim, v_head_dim; head_dim is qk_nope_head_dim.
  std::int64_t latent[4] = {0, 0, 0, 0};
};

const Published kPublished[] = {
    {"gpt2-124m", "openai-community/gpt2 config.json", 12, 768, 12, 12, 64, 3072, 50257, true},
    {"gpt3-175b", "arXiv 2005.14165 table 2.1; GPT-2's tokens", 96, 12288, 96, 96, 128, 49152, 50257, true},
    {"gpt-530b", "arXiv 2201.11990 section 4.1; tokens as in 2104.04473", 105, 20480, 128, 128, 160, 81920,
     51200, true},
    {"gpt-1t", "arXiv 2104.04473 table 1", 128, 25600, 160, 160, 160, 102400, 51200, true},
    {"llama-2-7b", "meta-llama/Llama-2-7b-hf", 32, 4096, 32, 32, 128, 11008, 32000, false},
    {"llama-2-13b", "meta-llama/Llama-2-13b-hf", 40, 5120, 40, 40, 128, 13824, 32000, false},
    {"llama-2-70b", "meta-llama/Llama-2-70b-hf", 80, 8192, 64, 8, 128, 28672, 32000, false},
    {"llama-3-8b", "meta-llama/Meta-Llama-3-8B", 32, 4096, 32, 8, 128, 14336, 128256, false},
    {"llama-3-70b", "meta-llama/Meta-Llama-3-70B", 80, 8192, 64, 8, 128, 28672, 128256, false},
    {"llama-3-405b", "meta-llama/Llama-3.1-405B", 126, 16384, 128, 8, 128, 53248, 128256, false},
    {"mistral-7b", "mistralai/Mistral-7B-v0.3", 32, 4096, 32, 8, 128, 14336, 32768, false},
    {"mixtral-8x7b",
     "mistralai/Mixtral-8x7B-v0.1",
     32,
     4096,
     32,
     8,
     128,
     14336,
     32000,
     false,
     {8, 2, 0, 14336, 0}},
    {"mixtral-8x22b",
     "mistralai/Mixtral-8x22B-Instruct-v0.1",
     56,
     6144,
     48,
     8,
     128,
     16384,
     32768,
     false,
     {8, 2, 0, 16384, 0}},
    {"grok-1", "xai-org/grok-1 run.py", 64, 6144, 48, 8, 128, 32768, 131072, true, {8, 2, 0, 32768, 0}},
    {"deepseek-v3",
     "deepseek-ai/DeepSeek-V3",
     61,
     7168,
     128,
     128,
     128,
     18432,
     129280,
     false,
     {256, 8, 1, 2048, 3},
     {1536, 512, 64, 128}},
    {"kimi-k2",
     "moonshotai/Kimi-K2-Instruct",
     61,
     7168,
     64,
     64,
     128,
     18432,
     163840,
     false,
     {384, 8, 1, 2048, 1},
     {1536, 512, 64, 128}},
    {"glm-5",
     "zai-org/GLM-5-FP8",
     78,
     6144,
     64,
     64,
     192,
     12288,
     154880,
     false,
     {256, 8, 1, 2048, 3},
     {2048, 512, 64, 256}},
    {"qwen2.5-7b", "Qwen/Qwen2.5-7B", 28, 3584, 28, 4, 128, 18944, 152064, false},
    {"qwen2.5-32b", "Qwen/Qwen2.5-32B", 64, 5120, 40, 8, 128, 27648, 152064, false},
    {"qwen2.5-72b", "Qwen/Qwen2.5-72B", 80, 8192, 64, 8, 128, 29568, 152064, false},
    {"qwen3-8b", "Qwen/Qwen3-8B", 36, 4096, 32, 8, 128, 12288, 151936, false},
    {"qwen3-14b", "Qwen/Qwen3-14B", 40, 5120, 40, 8, 128, 17408, 151936, false},
    {"qwen3-32b", "Qwen/Qwen3-32B", 64, 5120, 64, 8, 128, 25600, 151936, false},
    {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", 48, 2048, 32, 4, 128, 6144, 151936, false, {128, 8, 0, 768, 0}},
    {"qwen3-235b-a22b",
     "Qwen/Qwen3-235B-A22B",
     94,
     4096,
     64,
     4,
     128,
     12288,
     151936,
     false,
     {128, 8, 0, 1536, 0}},
    {"gpt-oss-20b", "openai/gpt-oss-20b", 24, 2880, 64, 8, 64, 2880, 201088, false, {32, 4, 0, 2880, 0}},
    {"gpt-oss-120b", "openai/gpt-oss-120b", 36, 2880, 64, 8, 64, 2880, 201088, false, {128, 4, 0, 2880, 0}},
    {"minimax-m2.5",
     "MiniMaxAI/MiniMax-M2.5",
     62,
     3072,
     48,
     8,
     128,
     1536,
     200064,
     false,
     {256, 8, 0, 1536, 0}},
    // Every second layer has experts (interleave_moe_layer_step 2), of which one is shared.
    {"llama-4-maverick",
     "meta-llama/Llama-4-Maverick-17B-128E-Instruct",
     48,
     5120,
     40,
     8,
     128,
     16384,
     202048,
     false,
     {128, 1, 1, 8192, 24}},
    {"qwen3.5-397b-a17b",
     "Qwen/Qwen3.5-397B-A17B, text_config; its shared expert's width for a dense layer's",
     60,
     4096,
     32,
     2,
     256,
     1024,
     248320,
     false,
     {512, 10, 1, 1024, 0}},
};

TEST(PlanPresets, HaveTheirPublishedShapes) {
  std::set<std::string> compared;
  for (const Published& p : kPublished) {
    const auto model = find_model(p.name);
    ASSERT_TRUE(model.ok()) << p.name;
    const spec::ModelConfig& c = model->config;
    const std::string where = std::string(p.name) + ": " + p.source;
    EXPECT_EQ(c.layers, p.num_hidden_layers) << where;
    EXPECT_EQ(c.width, p.hidden_size) << where;
    EXPECT_EQ(c.heads, p.num_attention_heads) << where;
    EXPECT_EQ(c.kv_heads, p.num_key_value_heads) << where;
    EXPECT_EQ(c.head_dim, p.head_dim) << where;
    EXPECT_EQ(c.ffn_width, p.intermediate_size) << where;
    EXPECT_EQ(c.vocab, p.vocab_size) << where;
    EXPECT_EQ(c.tied_embeddings, p.tie_word_embeddings) << where;
    const std::int64_t experts[] = {c.experts.count, c.experts.chosen, c.experts.shared, c.experts.width,
                                    c.experts.dense_layers};
    const std::int64_t latent[] = {c.latent.q_rank, c.latent.kv_rank, c.latent.rope_dim, c.latent.value_dim};
    for (int i = 0; i < 5; ++i) EXPECT_EQ(experts[i], p.experts[i]) << where << ", " << i;
    for (int i = 0; i < 4; ++i) EXPECT_EQ(latent[i], p.latent[i]) << where << ", " << i;
    compared.insert(p.name);
  }
  // Whoever adds a preset adds what was published, or says that nothing was.
  for (const PlannedModel& m : preset_models())
    EXPECT_TRUE(compared.count(m.name) > 0 || m.provenance == Provenance::kAssumed) << m.name;
}

}  // namespace
}  // namespace tw::plan
