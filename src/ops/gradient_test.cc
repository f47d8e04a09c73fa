// The gradients of every op but the losses against finite differences of its definition.
#include <numeric>

#include "ops/test_documents.h"
#include "ops/test_gradient_check.h"

namespace tw::ops {
namespace {

const std::vector<std::int32_t> kIds = {3, 0, 6, 3, 3, 1, 6, 0, 3};
const std::vector<std::int32_t> kPlaces = {0, 1, 2, 3, 4, 0, 1, 0, 1};
const std::vector<std::int32_t> kTaken = {4, 0, 0, 36, 7};

constexpr std::uint32_t kSite = layer_site(3, LayerSite::kFfn);

/// The same with some of the branch left out that the op adds to its first input.
GradientCase dropped(const GradientCase& c) {
  GradientCase d = c;
  d.name = "dropped_" + c.name;
  d.dropout = {.branches = 0.3, .seed = 0x123456789ABCULL, .step = 5, .first_row = 100};
  const std::int64_t width = c.inputs[0].shape[1];
  d.definition = [c, width, dropout = d.dropout](auto& in) {
    Numbers branch = c.definition(in);
    for (std::size_t i = 0; i < branch.size(); ++i) branch[i] -= in[0][i];
    return plus(kept(branch, dropout, dropout.branches, kSite, width), in[0]);
  };
  return d;
}

/// Dropout alone, in whole and part vectors of every set.
GradientCase dropout_case() {
  constexpr std::int64_t kWidth = 90;
  const Dropout d{.branches = 0.4, .seed = 7, .step = 1, .first_row = 0};
  return {.name = "dropout",
          .inputs = {{Role::kValue, {kRows, kWidth}}},
          .definition = [=](auto& in) { return kept(in[0], d, d.branches, kEmbeddingSite, kWidth); },
          .op = [](Exec& ex, auto& in) { return dropout(ex, in.tensors[0], kEmbeddingSite); },
          .dropout = d};
}

GradientCase linear_case(std::int64_t n, std::int64_t k) {
  return {"linear_" + std::to_string(n) + "_" + std::to_string(k),
          {{Role::kValue, {kRows, k}}, {Role::kMatrix, {n, k}}, {Role::kVector, {n}}},
          [k](auto& in) { return times(in[0], in[1], k, in[2]); },
          [](Exec& ex, auto& in) { return linear(ex, in.tensors[0], in.matrices[1], 0, in.tensors[2]); }};
}

GradientCase residual_case() {
  return {"linear_residual",
          {{Role::kValue, {kRows, 24}},
           {Role::kValue, {kRows, 40}},
           {Role::kMatrix, {24, 40}},
           {Role::kVector, {24}}},
          [](auto& in) { return plus(times(in[1], in[2], 40, in[3]), in[0]); },
          [](Exec& ex, auto& in) {
            Branch branch(ex, in.tensors[0], ex.output({kRows, 24}), kSite);
            linear_residual(ex, in.tensors[1], in.matrices[2], 0, branch.residual(), branch.out(), {},
                            in.tensors[3]);
            return branch.end();
          }};
}

/// Of widths that are whole blocks of 32 it is kept rounded between products, where sets have tiles.
GradientCase ffn_case(std::int64_t width, std::int64_t hidden) {
  return {"gated_ffn_" + std::to_string(width) + "_" + std::to_string(hidden),
          {{Role::kValue, {kRows, width}},
           {Role::kValue, {kRows, width}},
           {Role::kMatrix, {hidden, width}},
           {Role::kMatrix, {hidden, width}},
           {Role::kMatrix, {width, hidden}}},
          [=](auto& in) {
            const Numbers middle = gated(times(in[1], in[2], width), times(in[1], in[3], width));
            return plus(times(middle, in[4], hidden), in[0]);
          },
          [=](Exec& ex, auto& in) {
            Branch branch(ex, in.tensors[0], ex.output({kRows, width}), kSite);
            gated_ffn(ex, in.tensors[1], in.matrices[2], in.matrices[3], in.matrices[4], 0, branch.residual(),
                      branch.out());
            return branch.end();
          }};
}

GradientCase gelu_ffn_case() {
  constexpr std::int64_t kWidth = 24, kHidden = 50;
  return {"gelu_ffn",
          {{Role::kValue, {kRows, kWidth}},
           {Role::kValue, {kRows, kWidth}},
           {Role::kMatrix, {kHidden, kWidth}},
           {Role::kVector, {kHidden}},
           {Role::kMatrix, {kWidth, kHidden}},
           {Role::kVector, {kWidth}}},
          [](auto& in) {
            const Numbers hidden = gelu_of(times(in[1], in[2], kWidth, in[3]));
            return plus(times(hidden, in[4], kHidden, in[5]), in[0]);
          },
          [](Exec& ex, auto& in) {
            const GeluWeights weights{&in.matrices[2], &in.matrices[4], in.tensors[3], in.tensors[5]};
            Branch branch(ex, in.tensors[0], ex.output({kRows, kWidth}), kSite);
            gelu_ffn(ex, in.tensors[1], weights, 0, branch.residual(), branch.out());
            return branch.end();
          }};
}

/// Who has an expert of those that each row finds likeliest, when that takes `most`: [rows][choice].
std::vector<std::vector<bool>> admitted(const std::vector<std::vector<std::int64_t>>& orders,
                                        std::int64_t chosen, std::int64_t experts, std::int64_t most) {
  std::vector<std::vector<bool>> taken(orders.size(), std::vector<bool>(chosen));
  std::vector<std::int64_t> rows(experts);
  for (std::int64_t i = 0; i < chosen; ++i) {
    for (std::size_t t = 0; t < orders.size(); ++t) taken[t][i] = rows[orders[t][i]]++ < most;
  }
  return taken;
}

/// What a row gets of its experts: inputs are the residual, x, the router, and each expert's gate, up, down.
Numbers of_experts(const std::vector<Numbers>& in, std::int64_t width, std::int64_t hidden,
                   std::int64_t chosen, bool normed, std::int64_t most) {
  const auto experts = static_cast<std::int64_t>(in[2].size()) / width;
  const Numbers logits = times(in[1], in[2], width);
  Numbers out = in[0];
  std::vector<Numbers> made;
  for (std::int64_t e = 0; e < experts; ++e) {
    const Numbers middle = gated(times(in[1], in[3 + 3 * e], width), times(in[1], in[4 + 3 * e], width));
    made.push_back(times(middle, in[5 + 3 * e], hidden));
  }
  std::vector<std::vector<std::int64_t>> orders(kRows, std::vector<std::int64_t>(experts));
  for (std::int64_t t = 0; t < kRows; ++t) {
    const double* row = &logits[t * experts];
    std::iota(orders[t].begin(), orders[t].end(), 0);
    std::sort(orders[t].begin(), orders[t].end(), [&](auto a, auto b) { return row[a] > row[b]; });
  }
  const auto taken = admitted(orders, chosen, experts, most);
  for (std::int64_t t = 0; t < kRows; ++t) {
    const double* row = &logits[t * experts];
    const std::vector<std::int64_t>& order = orders[t];
    double sum = 0;
    for (std::int64_t i = 0; i < (normed ? chosen : experts); ++i) sum += std::exp(row[order[i]]);
    for (std::int64_t i = 0; i < chosen; ++i) {
      if (!taken[t][i]) continue;
      for (std::int64_t c = 0; c < width; ++c)
        out[t * width + c] += std::exp(row[order[i]]) / sum * made[order[i]][t * width + c];
    }
  }
  return out;
}

/// Of five experts. With a capacity each takes at most `most` rows.
GradientCase moe_case(std::int64_t chosen, bool normed, double capacity = 0, std::int64_t most = kRows) {
  constexpr std::int64_t kWidth = 24, kHidden = 18, kExperts = 5;
  GradientCase c{
      fmt::format("moe_ffn_{}_{}_{}", chosen, normed, capacity),
      {{Role::kValue, {kRows, kWidth}}, {Role::kValue, {kRows, kWidth}}, {Role::kMatrix, {kExperts, kWidth}}},
      [=](auto& in) { return of_experts(in, kWidth, kHidden, chosen, normed, most); },
      [=](Exec& ex, auto& in) {
        // They must live until the tape was walked.
        thread_local std::vector<const PackedMatrix*> gates, ups, downs;
        gates.clear(), ups.clear(), downs.clear();
        for (std::int64_t e = 3; e < 3 + 3 * kExperts; e += 3) {
          gates.push_back(&in.matrices[e]), ups.push_back(&in.matrices[e + 1]);
          downs.push_back(&in.matrices[e + 2]);
        }
        ExpertWeights w{&in.matrices[2], gates, ups, downs};
        w.experts = w.local = kExperts;
        w.chosen = chosen;
        w.normed = normed;
        w.capacity = capacity;
        Branch branch(ex, in.tensors[0], ex.output({kRows, kWidth}), kSite);
        moe_ffn(ex, in.tensors[1], w, 0, branch.residual(), branch.out());
        return branch.end();
      }};
  for (std::int64_t e = 0; e < kExperts; ++e) {
    c.inputs.push_back({Role::kMatrix, {kHidden, kWidth}});
    c.inputs.push_back({Role::kMatrix, {kHidden, kWidth}});
    c.inputs.push_back({Role::kMatrix, {kWidth, kHidden}});
  }
  return c;
}

/// With the load-balancing loss of rows x that take their likeliest experts.
GradientCase balanced(GradientCase c, std::int64_t chosen) {
  c.name = "balanced_" + c.name;
  c.balance = 300;  // as heavy as what the op computes
  c.besides = [=, weight = c.balance](const std::vector<Numbers>& in) {
    const std::int64_t width = c.inputs[1].shape[1], experts = c.inputs[2].shape[0];
    const Numbers logits = times(in[1], in[2], width);
    Numbers taken(experts), likely(experts);  // shares of rows, mean probabilities
    for (std::int64_t t = 0; t < kRows; ++t) {
      const double* row = &logits[t * experts];
      double sum = 0;
      for (std::int64_t e = 0; e < experts; ++e) sum += std::exp(row[e]);
      for (std::int64_t e = 0; e < experts; ++e) {
        likely[e] += std::exp(row[e]) / sum / kRows;
        if (std::count_if(row, row + experts, [&](double other) { return other > row[e]; }) < chosen)
          taken[e] += 1.0 / kRows;
      }
    }
    double sum = 0;
    for (std::int64_t e = 0; e < experts; ++e) sum += taken[e] * likely[e];
    return weight * static_cast<double>(experts) * sum;
  };
  return c;
}

/// `gated`: how much the expert counts is learnt, too; an odd width, so that a rest is left of the lanes.
GradientCase shared_case(bool gated_by_row) {
  constexpr std::int64_t kWidth = 27, kHidden = 50;
  return {gated_by_row ? "shared_ffn" : "shared_ffn_whole",
          {{Role::kValue, {kRows, kWidth}},
           {Role::kValue, {kRows, kWidth}},
           {Role::kMatrix, {kHidden, kWidth}},
           {Role::kMatrix, {kHidden, kWidth}},
           {Role::kMatrix, {kWidth, kHidden}},
           {Role::kVector, {kWidth}}},
          [=](auto& in) {
            const Numbers hidden = gated(times(in[1], in[2], kWidth), times(in[1], in[3], kWidth));
            Numbers made = times(hidden, in[4], kHidden);
            Numbers shares = times(in[1], in[5], kWidth);
            for (double& v : shares) v = 1 / (1 + std::exp(-v));
            for (std::size_t i = 0; gated_by_row && i < made.size(); ++i) made[i] *= shares[i / kWidth];
            return plus(made, in[0]);
          },
          [=](Exec& ex, auto& in) {
            const Tensor out = ex.output({kRows, kWidth});
            const SharedExpert expert{&in.matrices[2], &in.matrices[3], &in.matrices[4],
                                      gated_by_row ? in.tensors[5] : Tensor{}};
            shared_ffn(ex, in.tensors[1], expert, 0, in.tensors[0], out);
            return out;
          }};
}

/// With biases, norms of heads and the rotation; then attention, for gradients of all three.
GradientCase qkv_case(const char* name, const Heads& h, bool interleaved, bool norms,
                      std::int64_t rows = kRows, bool turned = true, const Dropout& d = {}) {
  constexpr std::int64_t kWidth = 20;
  const std::int64_t q = h.heads * h.d, kv = h.kv_heads * h.d;
  auto documents = std::make_shared<Documents>(rows, h);
  return {name,
          {{Role::kValue, {rows, kWidth}},
           {Role::kMatrix, {q, kWidth}},
           {Role::kMatrix, {kv, kWidth}},
           {Role::kMatrix, {kv, kWidth}},
           {Role::kVector, {q}},
           {Role::kVector, {kv}},
           {Role::kVector, {kv}},
           {Role::kVector, {h.d}},
           {Role::kVector, {h.d}}},
          [=](auto& in) {
            Numbers queries = times(in[0], in[1], kWidth, in[4]), keys = times(in[0], in[2], kWidth, in[5]);
            if (norms) queries = rms_normed(queries, in[7], 1e-3), keys = rms_normed(keys, in[8], 1e-3);
            const auto& positions = documents->positions;
            if (turned) {
              queries = rotated(queries, positions, frequencies(h.d), interleaved);
              keys = rotated(keys, positions, frequencies(h.d), interleaved);
            }
            return attended(queries, keys, times(in[0], in[3], kWidth, in[6]), positions, h, d,
                            weights_site(3, h.heads));
          },
          [=](Exec& ex, auto& in) {
            const auto& t = in.tensors;
            QkvWeights w{&in.matrices[1], &in.matrices[2], &in.matrices[3], t[4], t[5], t[6], {}, {}};
            if (norms) w.q_norm = t[7], w.k_norm = t[8];
            const AttentionShape shape{h.heads, h.kv_heads, h.d, h.window, interleaved, 1e-3};
            const AttentionPlace place = documents->place(h);
            const RopeTable rope =
                turned ? rope_table(ex, documents->positions, frequencies(h.d)) : RopeTable{};
            return attention(ex, qkv_rope(ex, t[0], w, rope, shape, place), shape, place,
                             weights_site(3, h.heads));
          },
          false,
          {},
          d};
}

/// Of attention's weights; documents of more than one group of words, and a window that ends within one.
std::vector<GradientCase> dropped_attention_cases() {
  const Dropout d{.attention = 0.3, .seed = 0x123456789ABCULL, .step = 5, .first_row = 100};
  return {qkv_case("attention_dropped", {4, 2, 6, 0}, true, false, kRows, true, d),
          qkv_case("attention_dropped_window", {2, 2, 16, 5}, false, false, kRows, true, d),
          qkv_case("attention_dropped_long", {3, 1, 4, 0}, false, true, 150, true, d),
          qkv_case("attention_dropped_long_window", {2, 1, 4, 70}, true, false, 150, true, d)};
}

std::vector<GradientCase> row_cases() {
  return {
      {"embed",
       {{Role::kTable, {7, 10}}},
       [](auto& in) {
         Numbers out;
         for (const std::int32_t id : kIds) out.insert(out.end(), &in[0][id * 10], &in[0][id * 10] + 10);
         return out;
       },
       [](Exec& ex, auto& in) { return embed(ex, kIds, in.tables[0]); }},
      {"embed_with_positions",
       {{Role::kTable, {7, 10}}, {Role::kTable, {5, 10}}},
       [](auto& in) {
         Numbers out;
         for (std::size_t t = 0; t < kIds.size(); ++t) {
           for (std::int64_t i = 0; i < 10; ++i)
             out.push_back(in[0][kIds[t] * 10 + i] + in[1][kPlaces[t] * 10 + i]);
         }
         return out;
       },
       [](Exec& ex, auto& in) {
         const LearnedPositions learned{kPlaces, in.tables[1]};
         return embed(ex, kIds, in.tables[0], &learned);
       }},
      {"gather_rows",
       {{Role::kValue, {kRows, 11}}},
       [](auto& in) {
         Numbers out;
         for (const std::int32_t row : kTaken) out.insert(out.end(), &in[0][row * 11], &in[0][row * 11] + 11);
         return out;
       },
       [](Exec& ex, auto& in) { return gather_rows(ex, in.tensors[0], kTaken); }},
      {"rms_norm",
       {{Role::kValue, {kRows, 45}}, {Role::kVector, {45}}},
       [](auto& in) { return rms_normed(in[0], in[1], 0.5); },
       [](Exec& ex, auto& in) { return rms_norm(ex, in.tensors[0], in.tensors[1], 0.5); }},
      {"layer_norm",
       {{Role::kValue, {kRows, 45}}, {Role::kVector, {45}}, {Role::kVector, {45}}},
       [](auto& in) { return layer_normed(in[0], in[1], in[2], 0.5); },
       [](Exec& ex, auto& in) { return layer_norm(ex, in.tensors[0], in.tensors[1], in.tensors[2], 0.5); }}};
}

std::vector<GradientCase> all_cases() {
  std::vector<GradientCase> cases = row_cases();
  const std::vector<GradientCase> products = {
      linear_case(40, 24), linear_case(13, 7),
      linear_case(1100, 3),  // more rows of the weight than are multiplied at a time
      residual_case(), ffn_case(24, 50), ffn_case(32, 96), moe_case(1, false), moe_case(2, true),
      moe_case(3, false),
      // 37 rows: 0.7 * 37 / 5 is 5.2, 1 * 37 * 2 / 5 is 14.8, and 0.5 * 37 * 3 / 5 is 11.1.
      moe_case(1, false, 0.7, 6), moe_case(2, true, 1, 15), moe_case(3, false, 0.5, 12), shared_case(true),
      shared_case(false), gelu_ffn_case(), qkv_case("attention_interleaved", {4, 2, 6, 0}, true, false),
      qkv_case("attention_halves_norms", {4, 2, 8, 0}, false, true),
      // With norms, or the gradient of the keys' bias were 0: softmax does not see it.
      qkv_case("attention_unturned", {2, 2, 8, 0}, false, true, kRows, false),
      qkv_case("attention_window", {2, 2, 16, 5}, false, false),
      qkv_case("attention_long", {3, 1, 4, 0}, false, true, 150),
      qkv_case("attention_long_window", {2, 1, 4, 70}, true, false, 150), dropout_case(),
      dropped(residual_case()), dropped(ffn_case(24, 50)), dropped(gelu_ffn_case()),
      dropped(moe_case(2, true)), balanced(moe_case(2, true), 2), balanced(moe_case(1, false), 1)};
  cases.insert(cases.end(), products.begin(), products.end());
  const std::vector<GradientCase> dropped_attention = dropped_attention_cases();
  cases.insert(cases.end(), dropped_attention.begin(), dropped_attention.end());
  return cases;
}

class Gradients : public GradientCheck {};

TEST_P(Gradients, AreThoseOfFiniteDifferences) {
  for (const GradientCase& c : all_cases()) check_types(c);
}

INSTANTIATE_TEST_SUITE_P(Sets, Gradients,
                         ::testing::ValuesIn(kernels::available_sets(kernels::detect_features())),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace tw::ops
