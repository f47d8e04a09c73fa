#include <algorithm>
#include <cmath>
#include <utility>

#include "ops/attention_backward.h"
#include "ops/linear.h"
#include "ops/low_rank.h"
#include "ops/norm.h"
#include "ops/ops.h"

namespace tw::ops {
namespace {

/// The three projections, still unrotated: q [T, H*d], k and v [T, Hk*d].
struct Projected {
  Tensor q, k, v;
};

void project(Exec& ex, const Input& x, const QkvWeights& w, std::int64_t generated, const Projected& out,
             LowRankSum& low) {
  const Prepared for_q = prepare(ex, x, *w.q, generated);
  const Prepared for_k = prepare_again(ex, x, *w.k, for_q);
  const Prepared for_v = prepare_again(ex, x, *w.v, for_k);
  matmul_slice(ex, for_q, *w.q, out.q.f32(), w.q_bias.f32(), nullptr);
  matmul_slice(ex, for_k, *w.k, out.k.f32(), w.k_bias.f32(), nullptr);
  matmul_slice(ex, for_v, *w.v, out.v.f32(), w.v_bias.f32(), nullptr);
  low.project(ex, x.x, for_q);
  if (!ex.tracing()) ex.barrier();
  low.add_all(ex, {out.q, out.k, out.v});
}

/// RMSNorm of each head of `raw` into x, then the rotation, of rows [begin, end), as far as they are wanted.
/// Without a norm both are the same.
void norm_and_rotate(Exec& ex, Tensor raw, Tensor x, Tensor norm, const RopeTable& rope,
                     const AttentionShape& s, std::int64_t heads, std::int64_t begin, std::int64_t end) {
  if (norm.data != nullptr) {
    ex.table().rms_norm({raw.f32(), x.f32(), norm.f32(), begin * heads, end * heads, s.head_dim, s.head_dim,
                         static_cast<float>(s.norm_epsilon)});
  }
  if (rope.cos.shape.rank() == 0) return;
  ex.table().rope({x.f32(), x.row_stride(), rope.cos.f32(), rope.sin.f32(), begin, end, heads, s.head_dim,
                   s.interleaved});
}

struct SavedQkv {
  Tensor x;
  Tensor raw_q, raw_k;  ///< before the norms; none without
  QkvWeights weights;
  RopeTable rope;
  AttentionShape shape;
  SavedLowRank low[3];
};

/// Takes the rotation and the norm of each head back: d becomes the gradient of the projection.
void unrotate(const Backward& b, const SavedQkv& s, Tensor& d, Tensor raw, Tensor norm, std::int64_t heads) {
  Exec& ex = b.ex;
  if (!ex.tracing() && s.rope.cos.shape.rank() > 0) {
    ex.slice(d.rows(), 1, [&](std::int64_t begin, std::int64_t end) {
      ex.table().rope({d.f32(), d.row_stride(), s.rope.cos.f32(), s.rope.negative_sin.f32(), begin, end,
                       heads, s.shape.head_dim, s.shape.interleaved});
    });
    ex.barrier();
  }
  if (norm.shape.rank() == 0) return;
  const Tensor d_raw = ex.temporary(d.shape);
  norm_gradients(b, {raw, d, d_raw, norm, static_cast<float>(s.shape.norm_epsilon), false});
  d = d_raw;
}

void qkv_rope_backward(const Backward& b, const SavedQkv& s) {
  const QkvWeights& w = s.weights;
  const std::int64_t rows = s.x.rows();
  Tensor d_q{DType::kF32, {rows, w.q->n()}, b.d_out(0).data},
      d_k{DType::kF32, {rows, w.k->n()}, b.d_out(1).data};
  const Tensor d_v{DType::kF32, {rows, w.v->n()}, b.d_out(2).data};
  unrotate(b, s, d_q, s.raw_q, w.q_norm, s.shape.heads);
  unrotate(b, s, d_k, s.raw_k, w.k_norm, s.shape.kv_heads);
  const TransposedInput x = transpose_learnt(
      b, s.x, {w.q, w.k, w.v, s.low[0].a_of_input(), s.low[1].a_of_input(), s.low[2].a_of_input()});
  linear_gradients(b,
                   {{d_q, {*w.q, w.q_bias, s.low[0]}},
                    {d_k, {*w.k, w.k_bias, s.low[1]}},
                    {d_v, {*w.v, w.v_bias, s.low[2]}}},
                   s.x, x, 0, b.adds());
}

}  // namespace

Qkv qkv_rope(Exec& ex, const Input& x, const QkvWeights& w, const RopeTable& rope, const AttentionShape& s,
             const AttentionPlace& place) {
  const std::int64_t rows = x.x.rows();
  TW_CHECK(w.q->n() == s.heads * s.head_dim && w.k->n() == s.kv_heads * s.head_dim && w.v->n() == w.k->n(),
           "attention: a projection has the wrong width");
  const Tensor q = ex.output({rows, w.q->n()});
  tensor::Arena::Scope scope(ex.arena(), ex.training());
  const Qkv out{q, ex.output({rows, w.k->n()}), ex.output({rows, w.v->n()})};
  Projected raw{out.q, out.k, out.v};
  if (ex.training() && w.q_norm.shape.rank() > 0)
    raw = {ex.temporary(q.shape), ex.temporary(out.k.shape), out.v};
  LowRankSum low(ex, w.adapters, 0, 3, place.generated);
  {
    const tensor::Arena::Scope prepared(ex.arena());
    project(ex, x, w, place.generated, raw, low);
  }
  if (!ex.tracing()) {
    ex.slice(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      norm_and_rotate(ex, raw.q, out.q, w.q_norm, rope, s, s.heads, begin, end);
      norm_and_rotate(ex, raw.k, out.k, w.k_norm, rope, s, s.kv_heads, begin, end);
      ex.table().store_kv({place.kv, out.k.f32(), out.v.f32(), s.kv_heads * s.head_dim,
                           place.positions.data(), place.row_blocks.data(), begin, end});
    });
    ex.barrier();
  } else {
    ex.record(fused_cost("qkv_rope", rows, {w.q, w.k, w.v}));
    const auto rotated = static_cast<double>(rows * (w.q->n() + w.k->n()));
    if (rope.cos.shape.rank() > 0) ex.record(rows_cost("rope", rotated, rotated));
  }
  if (!ex.training()) return {q, {}, {}};
  if (Tape* tape = ex.recording())
    tape->record<qkv_rope_backward>(
        SavedQkv{x.x, raw.q, raw.k, w, rope, s, {low.saved(0), low.saved(1), low.saved(2)}},
        {out.q, out.k, out.v}, {x.x});
  return out;
}

namespace {

/// Up to so many generated rows have long contexts shared out piece by piece; with more there is work enough
/// for all workers as it is.
constexpr std::int64_t kSharedRows = 8;

std::int64_t pieces_of(std::int64_t length) {
  return (length + kernels::kAttentionPiece - 1) / kernels::kAttentionPiece;
}

/// Pieces of the longest generated row, if a step's generated rows are few and long: a rule by shape, and one
/// that changes no bits. Else 1.
std::int64_t shared_pieces(const AttentionPlace& place) {
  if (place.generated > kSharedRows) return 1;
  std::int64_t longest = 0;
  for (std::int64_t row = 0; row < place.generated; ++row)
    longest = std::max<std::int64_t>(longest, place.positions[row] + 1);
  return std::max<std::int64_t>(1, pieces_of(longest));
}

/// Into how many parts the rows of each tile are cut, so that workers have about four items each: larger
/// tiles read less of the cache, and no bit depends on them.
std::int64_t cuts_of(std::int64_t items, std::int64_t workers) {
  return items >= 4 * workers ? 1 : items >= 2 * workers ? 2 : 4;
}

/// Most floats of what a prompt's pieces leave: 32 MiB.
constexpr std::int64_t kPromptPartials = std::int64_t{8} << 20;

/// Pieces of the longest prompt, where they are shared out: each part then makes tiles of its own piece of
/// the cache alone. Else 1.
std::int64_t prompt_pieces(const AttentionPlace& place, std::int64_t items, std::int64_t workers,
                           std::int64_t floats_a_piece) {
  if (items >= 4 * workers) return 1;
  std::int64_t longest = 0;
  for (const AttentionPlace::Tile& t : place.tiles) {
    if (t.row_begin >= place.generated)
      longest = std::max<std::int64_t>(longest, place.positions[t.row_end - 1] + 1);
  }
  const std::int64_t pieces = pieces_of(longest);
  return pieces > 1 && pieces * floats_a_piece <= kPromptPartials ? pieces : 1;
}

/// One step's attention: what every call of a kernel is told.
class AttentionRun {
 public:
  AttentionRun(const AttentionShape& s, const AttentionPlace& place, Tensor q, Tensor out, float* scratch,
               const kernels::AttentionDropout* dropout, Tensor log_sums)
      : s_(s), place_(place), q_(q), out_(out), scratch_(scratch), dropout_(dropout), log_sums_(log_sums) {}

  const AttentionPlace::Tile& tile(std::int64_t item) const { return place_.tiles[item / s_.kv_heads]; }

  /// Item i: tile i / kv_heads, key and value head i % kv_heads.
  kernels::AttentionArgs args(std::int64_t item) const {
    const AttentionPlace::Tile& t = tile(item);
    const std::int64_t kv_head = item % s_.kv_heads, group = s_.heads / s_.kv_heads;
    return {place_.kv,
            q_.f32(),
            out_.f32(),
            q_.row_stride(),
            place_.row_blocks[t.row_begin],
            place_.positions[t.row_begin],
            t.row_begin,
            t.row_end,
            kv_head * group,
            (kv_head + 1) * group,
            kv_head,
            s_.sliding_window,
            1.0F / std::sqrt(static_cast<float>(s_.head_dim)),
            scratch_,
            nullptr,
            0,
            dropout_,
            log_sums_.f32()};
  }

  /// The same for one piece: a tile and head's partials follow those of the rows before it, from `first` on.
  kernels::AttentionArgs piece(std::int64_t item, std::int64_t piece, std::int64_t pieces, float* partials,
                               std::int64_t first) const {
    kernels::AttentionArgs a = args(item);
    const std::int64_t rows = (a.row_begin - first) * s_.heads + a.head_begin * (a.row_end - a.row_begin);
    a.partials = partials + rows * pieces * kernels::attention_partial(s_.head_dim);
    a.piece = piece;
    return a;
  }

  /// The same for part `cut` of `cuts` of a whole tile's rows; there may be none.
  kernels::AttentionArgs cut(std::int64_t item, std::int64_t cut, std::int64_t cuts) const {
    kernels::AttentionArgs a = args(item);
    const std::int64_t rows = kernels::kAttentionRows / cuts, begin = a.row_begin;
    a.row_begin = std::min(begin + cut * rows, a.row_end);
    a.row_end = std::min(begin + (cut + 1) * rows, a.row_end);
    a.first_position += a.row_begin - begin;
    return a;
  }

 private:
  const AttentionShape& s_;
  const AttentionPlace& place_;
  Tensor q_, out_;
  float* scratch_;
  const kernels::AttentionDropout* dropout_;  ///< null: all weights count
  Tensor log_sums_;                           ///< none: they are not wanted
};

/// (query, key) pairs of one head in the traced step. Without groups it is the worst step: every row against
/// half of the longest context on average would flatter it.
OpCost attention_cost(const Exec& ex, Tensor q, const AttentionShape& s, const AttentionPlace& place) {
  const double rows = static_cast<double>(q.rows()),
               width = s.head_dim + (s.value_dim > 0 ? s.value_dim : s.head_dim);
  double pairs = 0, all = 0, cached = 0;
  for (const AttentionPlace::Group& g : place.groups) {
    // A rank's rows meet the keys of all ranks of its sequence; the causal share is even by zigzag order.
    const double count = g.count, fresh = g.fresh, past = g.past, whole = fresh * ex.sharding().context;
    const double seen = past + (whole + 1) / 2, window = s.sliding_window;
    pairs += count * fresh * (window > 0 ? std::min(seen, window) : seen);
    all += count * fresh * (past + whole);
    cached += count * (past + whole);
  }
  if (place.groups.empty()) pairs = all = cached = rows * place.longest;
  const std::int64_t block = 2 * kernels::kv_head_elements(place.kv.type, s.head_dim) *
                             kernels::kv_element_bytes(place.kv.type);  // keys and values
  OpCost cost{"attention", 2 * pairs * s.heads * width, 0,
              2.0 * static_cast<double>(q.bytes()) +
                  cached * s.kv_heads * static_cast<double>(block) / kernels::kKvBlock};
  cost.kind = OpKind::kAttention;
  cost.m = rows, cost.n = s.heads, cost.k = s.head_dim;
  cost.pairs = pairs, cost.all_pairs = all;
  return cost;
}

/// Keys and values go round the ranks that share a sequence (arXiv 2310.01889).
OpCost context_exchange(const Exec& ex, Tensor q, const AttentionShape& s) {
  OpCost cost{.name = "context_exchange", .kind = OpKind::kCollective};
  cost.collective = Collective::kRing;
  cost.axis = Axis::kContext;
  cost.elements = 2.0 * static_cast<double>(q.rows()) * ex.sharding().context * s.kv_heads * s.head_dim;
  return cost;
}

}  // namespace

Tensor attention(Exec& ex, const Qkv& qkv, const AttentionShape& s, const AttentionPlace& place,
                 std::uint32_t site) {
  const std::int64_t value_dim = s.value_dim > 0 ? s.value_dim : s.head_dim;
  const Tensor q = qkv.q, out = ex.output({q.rows(), s.heads * value_dim});
  const Tensor log_sums = ex.training() ? ex.temporary({q.rows(), s.heads}) : Tensor{};
  record_attention(ex, qkv, out, log_sums, s, place, site);
  const std::int64_t group = s.heads / s.kv_heads, record = kernels::attention_partial(s.head_dim);
  auto* scratch =
      static_cast<float*>(ex.scratch(kernels::attention_scratch(group, s.head_dim) * sizeof(float)));
  tensor::Arena::Scope scope(ex.arena());
  if (ex.tracing()) {
    const std::int64_t longest = pieces_of(place.longest) * s.heads * record;
    ex.temporary({std::min(q.rows(), kSharedRows) * longest});
    if (longest > s.heads * record) ex.temporary({std::min(q.rows() * longest, kPromptPartials)});
    ex.record(attention_cost(ex, q, s, place));
    if (ex.sharding().context > 1) ex.record(context_exchange(ex, q, s));
    return out;
  }
  const bool drops = drops_weights(ex);
  const kernels::AttentionDropout dropout =
      drops ? attention_dropout(ex.dropout(), site) : kernels::AttentionDropout{};
  const auto prompt_attention = drops ? ex.table().train.dropped_attention : ex.table().prompt_attention;
  const AttentionRun run(s, place, q, out, scratch, drops ? &dropout : nullptr, log_sums);
  const std::int64_t all = static_cast<std::int64_t>(place.tiles.size()) * s.kv_heads;
  std::int64_t generated = 0;  // items
  while (generated < all && run.tile(generated).row_begin < place.generated) generated += s.kv_heads;
  const std::int64_t pieces = shared_pieces(place), parts = generated * pieces, prompts = all - generated;
  const std::int64_t prompt_floats = (q.rows() - place.generated) * s.heads * record;
  const std::int64_t divided = prompt_pieces(place, prompts, ex.workers(), prompt_floats);
  const std::int64_t cuts = divided > 1 ? divided : cuts_of(prompts, ex.workers());
  const std::int64_t total = parts + prompts * cuts;
  float* partials = pieces > 1 ? ex.temporary({place.generated * s.heads * pieces, record}).f32() : nullptr;
  float* prompt_partials = divided > 1 ? ex.temporary({divided, prompt_floats}).f32() : nullptr;
  ex.each(total, [&](std::int64_t part) {
    const std::int64_t i = total - 1 - part;  // from the back: the last rows of a prompt see most
    if (part >= parts && divided > 1) {
      prompt_attention(
          run.piece(generated + i / divided, i % divided, divided, prompt_partials, place.generated));
    } else if (part >= parts) {
      const kernels::AttentionArgs args = run.cut(generated + i / cuts, i % cuts, cuts);
      if (args.row_begin < args.row_end) prompt_attention(args);
    } else if (pieces > 1) {
      ex.table().attention(run.piece(part / pieces, part % pieces, pieces, partials, 0));
    } else {
      ex.table().attention(run.args(part));
    }
  });
  ex.barrier();
  if (pieces == 1 && divided == 1) return out;
  ex.each(all, [&](std::int64_t item) {
    if (item < generated && pieces > 1)
      ex.table().merge_attention(run.piece(item, 0, pieces, partials, 0));
    else if (item >= generated && divided > 1)
      ex.table().merge_attention(run.piece(item, 0, divided, prompt_partials, place.generated));
  });
  ex.barrier();
  return out;
}

}  // namespace tw::ops
