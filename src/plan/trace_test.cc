#include "plan/trace.h"

#include <gtest/gtest.h>

#include "model/transformer.h"

namespace tw::plan {
namespace {

spec::ModelConfig gpt3() {
  spec::ModelConfig c;
  c.layers = 96, c.width = 12288, c.heads = c.kv_heads = 96, c.head_dim = 128, c.ffn_width = 49152,
  c.vocab = 51200;
  c.context = 2048;
  c.norm = spec::NormKind::kLayer;
  c.ffn = spec::FfnKind::kGelu;
  c.learned_positions = true;
  return c;
}

spec::ModelConfig llama70b() {
  spec::ModelConfig c;
  c.layers = 80, c.width = 8192, c.heads = 64, c.kv_heads = 8, c.head_dim = 128, c.ffn_width = 28672,
  c.vocab = 128256;
  c.context = 8192;
  return c;
}

spec::ModelConfig deepseek_v3() {
  spec::ModelConfig c;
  c.layers = 61, c.width = 7168, c.heads = c.kv_heads = 128, c.head_dim = 128, c.ffn_width = 18432,
  c.vocab = 129280;
  c.context = 4096;
  c.experts = {256, 8, 1, 2048, 3, 0};
  c.latent = {1536, 512, 64, 128};
  return c;
}

double matmul_flops(const std::vector<ops::OpCost>& ops) {
  double sum = 0;
  for (const ops::OpCost& op : ops) sum += op.kind == ops::OpKind::kMatmul ? op.flops : 0;
  return sum;
}

double parameters(const BlockTrace& t, const spec::ModelConfig& c) {
  const double dense =
      c.experts.count > 0 ? static_cast<double>(c.experts.dense_layers) : static_cast<double>(c.layers);
  return t.embed_parameters + t.head_parameters + dense * t.dense_parameters +
         (static_cast<double>(c.layers) - dense) * (t.expert_parameters + t.routed_parameters);
}

TEST(PlanTrace, PublishedModelsHaveTheirParameters) {
  const std::tuple<spec::ModelConfig, double> models[] = {
      {gpt3(), 175e9}, {llama70b(), 70.6e9}, {deepseek_v3(), 671e9}};
  for (const auto& [config, published] : models) {
    EXPECT_NEAR(static_cast<double>(config.parameter_count()) / published, 1, 0.01);
    Tracer tracer(config);
    const auto trace = tracer.get({}, {1, 1024, 0});
    ASSERT_TRUE(trace.ok());
    // The trace declares what forward uses; the configuration counts by formula. Final norms apart.
    EXPECT_NEAR(parameters(**trace, config) / static_cast<double>(config.parameter_count()), 1, 1e-4);
  }
  EXPECT_NEAR(static_cast<double>(deepseek_v3().active_parameter_count()) / 37e9, 1, 0.03);
}

TEST(PlanTrace, ALayersProductsAreTwiceItsWeightsForEachToken) {
  Tracer tracer(llama70b());
  const auto trace = tracer.get({}, {2, 1024, 0});
  ASSERT_TRUE(trace.ok());
  const spec::ModelConfig c = llama70b();
  const double norms = 2 * 8192;
  EXPECT_DOUBLE_EQ(matmul_flops((*trace)->dense), 2 * 2048 * ((*trace)->dense_parameters - norms));
  double attention = 0;
  for (const ops::OpCost& op : (*trace)->dense)
    attention += op.kind == ops::OpKind::kAttention ? op.flops : 0;
  EXPECT_DOUBLE_EQ(attention, 2.0 * 1024 * 1025 / 2 * 4 * 64 * 128);  // two sequences, causal, QK and PV
}

TEST(PlanTrace, ExpertsComputeWhatTokensTake) {
  Tracer tracer(deepseek_v3());
  const auto trace = tracer.get({}, {1, 4096, 0});
  ASSERT_TRUE(trace.ok());
  double routed = 0;
  for (const ops::OpCost& op : (*trace)->expert) routed += op.name == "moe_ffn" ? op.flops : 0;
  EXPECT_DOUBLE_EQ(routed, 2.0 * 4096 * 8 * 3 * 7168 * 2048);
}

TEST(PlanTrace, TensorParallelismDividesTheWorkAndMeetsTwiceALayer) {
  Tracer tracer(gpt3());
  const auto whole = tracer.get({}, {1, 2048, 0});
  const auto eighth = tracer.get({8, 1, 1, false}, {1, 2048, 0});
  const auto sequence = tracer.get({8, 1, 1, true}, {1, 2048, 0});
  ASSERT_TRUE(whole.ok() && eighth.ok() && sequence.ok());
  EXPECT_NEAR(matmul_flops((*whole)->dense) / matmul_flops((*eighth)->dense), 8, 1e-9);
  const auto collectives = [](const BlockTrace& t, ops::Collective kind) {
    double elements = 0;
    for (const ops::OpCost& op : t.dense) elements += op.collective == kind ? op.elements : 0;
    return elements;
  };
  EXPECT_EQ(collectives(**whole, ops::Collective::kAllReduce), 0);
  EXPECT_EQ(collectives(**eighth, ops::Collective::kAllReduce), 2.0 * 2048 * 12288);
  EXPECT_EQ(collectives(**sequence, ops::Collective::kAllReduce), 0);
  EXPECT_EQ(collectives(**sequence, ops::Collective::kAllGather), 2.0 * 2048 * 12288);
  EXPECT_EQ(collectives(**sequence, ops::Collective::kReduceScatter), 2.0 * 2048 * 12288);
  EXPECT_FALSE(tracer.get({7, 1, 1, false}, {1, 2048, 0}).ok());
}

TEST(PlanTrace, MoreSequencesAreOneRepeated) {
  for (const auto& config : {gpt3(), deepseek_v3()}) {
    const bool experts = config.experts.count > 0;
    const ops::Sharding sharding{4, 2, experts ? 8 : 1, true};
    // A trace of three sequences after a step that cannot be made of others: rows that do not divide.
    Tracer tracer(config);
    const auto repeated = tracer.get(sharding, {3, 1024, 0});
    const auto single = tracer.get(sharding, {1, 3072, 0});
    ASSERT_TRUE(repeated.ok() && single.ok());
    // As many rows in one sequence: all but attention is the same.
    const auto& ops = experts ? (*repeated)->expert : (*repeated)->dense;
    const auto& same = experts ? (*single)->expert : (*single)->dense;
    ASSERT_EQ(ops.size(), same.size());
    for (std::size_t i = 0; i < ops.size(); ++i) {
      EXPECT_EQ(ops[i].name, same[i].name);
      if (ops[i].kind == ops::OpKind::kAttention) continue;
      EXPECT_DOUBLE_EQ(ops[i].flops, same[i].flops) << ops[i].name;
      EXPECT_DOUBLE_EQ(ops[i].m, same[i].m) << ops[i].name;
      EXPECT_DOUBLE_EQ(ops[i].activation_bytes, same[i].activation_bytes) << ops[i].name;
      EXPECT_DOUBLE_EQ(ops[i].elements, same[i].elements) << ops[i].name;
      EXPECT_DOUBLE_EQ(ops[i].weight_bytes, same[i].weight_bytes) << ops[i].name;
    }
  }
}

TEST(PlanTrace, IsRemembered) {
  Tracer tracer(gpt3());
  const auto first = tracer.get({8, 1, 1, false}, {1, 2048, 0});
  const auto second = tracer.get({8, 1, 1, false}, {1, 2048, 0});
  EXPECT_EQ(*first, *second);
}

}  // namespace
}  // namespace tw::plan
