#include "ops/attention_backward.h"

#include <algorithm>
#include <cmath>

namespace tw::ops {
namespace {

struct SavedAttention {
  Qkv qkv;
  Tensor out, log_sums;
  AttentionShape shape;
  std::span<const std::int32_t> positions;
  std::int64_t longest;
  std::uint32_t site;  ///< of dropout
};

/// Calls f(begin, end) for the rows of each document.
template <typename F>
void for_documents(std::span<const std::int32_t> positions, F&& f) {
  const auto rows = static_cast<std::int64_t>(positions.size());
  for (std::int64_t begin = 0; begin < rows;) {
    std::int64_t end = begin + 1;
    while (end < rows && positions[end] != 0) ++end;
    f(begin, end);
    begin = end;
  }
}

/// A worker's item is a document's key and value head with its queries: sums have one order.
void attention_backward(const Backward& b, const SavedAttention& s) {
  Exec& ex = b.ex;
  const std::int64_t d = s.shape.head_dim, group = s.shape.heads / s.shape.kv_heads;
  auto* scratch = static_cast<float*>(
      ex.scratch(kernels::attention_backward_scratch(group, s.longest, d) * sizeof(float)));
  if (ex.tracing()) {
    const double pairs = static_cast<double>(s.qkv.q.rows()) * s.shape.heads * s.longest / 2;
    return ex.record({"attention_backward", 12 * pairs * d, 0,
                      4.0 * static_cast<double>(s.qkv.q.bytes() + s.qkv.k.bytes())});
  }
  kernels::AttentionBackwardArgs a{};
  a.q = s.qkv.q.f32(), a.k = s.qkv.k.f32(), a.v = s.qkv.v.f32(), a.out = s.out.f32(),
  a.d_out = b.d_out().f32(), a.log_sums = s.log_sums.f32();
  a.d_q = b.d_in(0).f32(), a.d_k = b.d_in(1).f32(), a.d_v = b.d_in(2).f32();
  a.q_stride = s.shape.heads * d, a.kv_stride = s.shape.kv_heads * d, a.d = d;
  a.sliding_window = s.shape.sliding_window;
  a.scale = 1.0F / std::sqrt(static_cast<float>(d));
  a.scratch = scratch;
  const bool drops = drops_weights(ex);
  const kernels::AttentionDropout dropout =
      drops ? attention_dropout(ex.dropout(), s.site) : kernels::AttentionDropout{};
  if (drops) a.dropout = &dropout;
  const auto backward =
      drops ? ex.table().train.dropped_attention_backward : ex.table().train.attention_backward;
  // Not `each` document by document: its turns go on from one to the next.
  std::int64_t item = 0;
  const std::int64_t round = 2 * ex.workers();
  for_documents(s.positions, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t head = 0; head < s.shape.kv_heads; ++head, ++item) {
      const std::int64_t turn = item % round;
      if (std::min(turn, round - 1 - turn) != ex.worker()) continue;
      a.row_begin = begin, a.row_end = end, a.kv_head = head;
      a.head_begin = head * group, a.head_end = (head + 1) * group;
      backward(a);
    }
  });
  ex.barrier();
}

}  // namespace

void record_attention(Exec& ex, const Qkv& qkv, Tensor out, Tensor log_sums, const AttentionShape& shape,
                      const AttentionPlace& place, std::uint32_t site) {
  Tape* tape = ex.recording();
  if (tape == nullptr) return;
  TW_CHECK(place.generated == 0 && (place.positions.empty() || place.positions[0] == 0),
           "what is learnt from are whole sequences");
  tape->record<attention_backward>(
      SavedAttention{qkv, out, log_sums, shape, place.positions, place.longest, site}, {out},
      {qkv.q, qkv.k, qkv.v});
}

}  // namespace tw::ops
