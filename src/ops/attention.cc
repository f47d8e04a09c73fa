#include <cmath>

#include "ops/linear.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// The three projections, still unrotated: q [T, H*d], k and v [T, Hk*d].
struct Projected {
  Tensor q, k, v;
};

void project(Exec& ex, Tensor x, const QkvWeights& w, std::int64_t generated, const Projected& out) {
  const Prepared for_q = prepare(ex, x, *w.q, generated);
  const Prepared for_k = prepare_again(ex, x, *w.k, for_q);
  const Prepared for_v = prepare_again(ex, x, *w.v, for_k);
  matmul_slice(ex, for_q, *w.q, out.q.f32(), w.q_bias.f32(), nullptr);
  matmul_slice(ex, for_k, *w.k, out.k.f32(), w.k_bias.f32(), nullptr);
  matmul_slice(ex, for_v, *w.v, out.v.f32(), w.v_bias.f32(), nullptr);
  if (!ex.tracing()) ex.barrier();
}

/// RMSNorm of each head, then the rotation, of rows [begin, end).
void norm_and_rotate(Exec& ex, Tensor x, Tensor norm, const RopeTable& rope, const AttentionShape& s,
                     std::int64_t heads, std::int64_t begin, std::int64_t end) {
  if (norm.data != nullptr) {
    ex.table().rms_norm({x.f32(), x.f32(), norm.f32(), begin * heads, end * heads, s.head_dim, s.head_dim,
                         static_cast<float>(s.norm_epsilon)});
  }
  ex.table().rope({x.f32(), x.row_stride(), rope.cos.f32(), rope.sin.f32(), begin, end, heads, s.head_dim,
                   s.interleaved});
}

}  // namespace

Tensor qkv_rope(Exec& ex, Tensor x, const QkvWeights& w, const RopeTable& rope, const AttentionShape& s,
                const AttentionPlace& place) {
  const std::int64_t rows = x.rows();
  TW_CHECK(w.q->n() == s.heads * s.head_dim && w.k->n() == s.kv_heads * s.head_dim && w.v->n() == w.k->n(),
           "attention: a projection has the wrong width");
  const Tensor q = ex.output({rows, w.q->n()});
  tensor::Arena::Scope scope(ex.arena());
  const Projected out{q, ex.output({rows, w.k->n()}), ex.output({rows, w.v->n()})};
  project(ex, x, w, place.generated, out);
  if (ex.tracing()) {
    OpCost cost = linear_cost("qkv_rope", rows, *w.q);
    for (const PackedMatrix* weight : {w.k, w.v}) {
      const OpCost more = linear_cost("", rows, *weight);
      cost.flops += more.flops;
      cost.weight_bytes += more.weight_bytes;
      cost.activation_bytes += more.activation_bytes;
    }
    ex.record(std::move(cost));
    return q;
  }
  ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    norm_and_rotate(ex, out.q, w.q_norm, rope, s, s.heads, begin, end);
    norm_and_rotate(ex, out.k, w.k_norm, rope, s, s.kv_heads, begin, end);
    ex.table().store_kv({place.kv, out.k.f32(), out.v.f32(), s.kv_heads * s.head_dim, place.positions.data(),
                         place.row_blocks.data(), begin, end});
  });
  ex.barrier();
  return q;
}

Tensor attention(Exec& ex, Tensor q, const AttentionShape& s, const AttentionPlace& place) {
  const Tensor out = ex.output(q.shape);
  const std::int64_t block = place.kv.block_tokens;
  const std::int64_t longest = (place.longest + block - 1) / block * block;
  const std::int64_t group = s.heads / s.kv_heads;
  auto* scratch =
      static_cast<float*>(ex.scratch(kernels::attention_scratch(longest, group, s.head_dim) * sizeof(float)));
  if (ex.tracing()) {
    // Every row against half of the longest context on average would flatter it: the worst step is what is
    // traced.
    const double pairs = static_cast<double>(q.rows()) * s.heads * longest;
    ex.record({"attention", 4 * pairs * s.head_dim, 0,
               2.0 * static_cast<double>(q.bytes()) + 4.0 * pairs / group * s.head_dim});
    return out;
  }
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
  ex.each(static_cast<std::int64_t>(place.tiles.size()) * s.kv_heads, [&](std::int64_t item) {
    const AttentionPlace::Tile tile = place.tiles[item / s.kv_heads];
    const std::int64_t kv_head = item % s.kv_heads;
    const auto run = tile.row_begin < place.generated ? ex.table().attention : ex.table().prompt_attention;
    run({place.kv, q.f32(), out.f32(), q.row_stride(), place.row_blocks[tile.row_begin],
         place.positions[tile.row_begin], tile.row_begin, tile.row_end, kv_head * group,
         (kv_head + 1) * group, kv_head, s.sliding_window, scale, scratch});
  });
  ex.barrier();
  return out;
}

}  // namespace tw::ops
