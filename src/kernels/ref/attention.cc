// Attention as it is defined, in fp32, but for one thing: pieces of positions are summed up by themselves and
// then merged in order, so that they can be shared out among workers.
#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "kernels/ref/float16.h"
#include "kernels/ref/ref.h"

namespace tw::kernels {
namespace {

constexpr float kNeverSeen = -1e30F;

/// Element `at` of the block of a position, for this head: of keys or of values.
float load(const AttentionArgs& a, const void* base, std::int64_t position, std::int64_t at) {
  const KvLayer& kv = a.kv;
  const std::int64_t begin = (a.blocks[position / kv.block_tokens] * kv.kv_heads + a.kv_head) *
                             kv_head_elements(kv.type, kv.head_dim);
  switch (kv.type) {
    case DType::kF32:
      return static_cast<const float*>(base)[begin + at];
    case DType::kF16:
      return half_to_float(static_cast<const std::uint16_t*>(base)[begin + at]);
    case DType::kBF16:
      return bfloat16_to_float(static_cast<const std::uint16_t*>(base)[begin + at]);
    default: {  // kI8
      const std::int8_t* bytes = static_cast<const std::int8_t*>(base) + begin;
      const auto* scales = reinterpret_cast<const float*>(bytes + kv.block_tokens * kv.head_dim);
      return static_cast<float>(bytes[at]) * scales[position % kv.block_tokens];
    }
  }
}

/// A row of the step for one query head, and the positions it sees.
struct Row {
  std::int64_t row, head, begin, end;
};

template <typename F>
void for_each_row(const AttentionArgs& a, F&& f) {
  for (std::int64_t row = a.row_begin; row < a.row_end; ++row) {
    const std::int64_t end = a.first_position + (row - a.row_begin) + 1;
    const std::int64_t begin = a.sliding_window > 0 ? std::max<std::int64_t>(0, end - a.sliding_window) : 0;
    for (std::int64_t head = a.head_begin; head < a.head_end; ++head) f(Row{row, head, begin, end});
  }
}

float* partial(const AttentionArgs& a, std::int64_t piece, const Row& r) {
  const std::int64_t rows = a.row_end - a.row_begin, heads = a.head_end - a.head_begin;
  const std::int64_t index = (piece * rows + r.row - a.row_begin) * heads + r.head - a.head_begin;
  return a.partials + index * attention_partial(a.kv.head_dim);
}

/// What a row's weight for the key at position p is multiplied with.
float kept(const AttentionArgs& a, const Row& r, std::int64_t p) {
  if (a.dropout == nullptr) return 1;
  const AttentionDropout& d = *a.dropout;
  const auto words = base::philox(
      {static_cast<std::uint32_t>(p / 64 * 16 + p % 16), d.first_row + static_cast<std::uint32_t>(r.row),
       d.site + static_cast<std::uint32_t>(r.head), d.step},
      {static_cast<std::uint32_t>(d.seed), static_cast<std::uint32_t>(d.seed >> 32)});
  return words[p / 16 % 4] >= d.dropped ? d.scale : 0;
}

/// Positions [begin, end) of one piece into a partial: largest score, sum of weights, mix of values.
void run_piece(const AttentionArgs& a, const Row& r, std::int64_t begin, std::int64_t end, float* out) {
  const std::int64_t d = a.kv.head_dim, tokens = a.kv.block_tokens;
  const float* q = a.q + r.row * a.stride + r.head * d;
  float* scores = a.scratch;
  float largest = kNeverSeen, sum = 0;
  for (std::int64_t p = begin; p < end; ++p) {
    float score = 0;
    for (std::int64_t i = 0; i < d; ++i) score += q[i] * load(a, a.kv.keys, p, i * tokens + p % tokens);
    scores[p - begin] = score * a.scale;
    largest = std::max(largest, scores[p - begin]);
  }
  std::fill(out, out + 2 + d, 0.0F);
  for (std::int64_t p = begin; p < end; ++p) {
    const float weight = std::exp(scores[p - begin] - largest);
    sum += weight;
    const float used = weight * kept(a, r, p);
    for (std::int64_t i = 0; i < d; ++i) out[2 + i] += used * load(a, a.kv.values, p, p % tokens * d + i);
  }
  out[0] = largest;
  out[1] = sum;
}

/// Adds the next piece to all before it.
void merge(const AttentionArgs& a, float* all, const float* next) {
  const float largest = std::max(all[0], next[0]);
  const float old = std::exp(all[0] - largest), add = std::exp(next[0] - largest);
  for (std::int64_t i = 1; i < attention_partial(a.kv.head_dim); ++i) all[i] = all[i] * old + next[i] * add;
  all[0] = largest;
}

/// All pieces of a row, each taken from `piece_of(piece, begin, end)`, into out.
template <typename F>
void merge_row(const AttentionArgs& a, const Row& r, F&& piece_of) {
  const std::int64_t d = a.kv.head_dim;
  float* all = a.scratch + kAttentionPiece;
  std::fill(all, all + attention_partial(d), 0.0F);
  all[0] = kNeverSeen;
  for (std::int64_t piece = r.begin / kAttentionPiece; piece * kAttentionPiece < r.end; ++piece) {
    merge(a, all,
          piece_of(piece, std::max(r.begin, piece * kAttentionPiece),
                   std::min(r.end, (piece + 1) * kAttentionPiece)));
  }
  for (std::int64_t i = 0; i < d; ++i) a.out[r.row * a.stride + r.head * d + i] = all[2 + i] / all[1];
  if (a.log_sums != nullptr) a.log_sums[r.row * (a.stride / d) + r.head] = all[0] + std::log(all[1]);
}

}  // namespace

void ref_attention(const AttentionArgs& a) {
  for_each_row(a, [&](const Row& r) {
    if (a.partials == nullptr) {
      float* next = a.scratch + kAttentionPiece + attention_partial(a.kv.head_dim);
      return merge_row(a, r, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        run_piece(a, r, begin, end, next);
        return next;
      });
    }
    const std::int64_t begin = std::max(r.begin, a.piece * kAttentionPiece);
    const std::int64_t end = std::min(r.end, (a.piece + 1) * kAttentionPiece);
    if (begin < end) run_piece(a, r, begin, end, partial(a, a.piece, r));
  });
}

void ref_merge_attention(const AttentionArgs& a) {
  for_each_row(a, [&](const Row& r) {
    merge_row(a, r, [&](std::int64_t piece, std::int64_t, std::int64_t) { return partial(a, piece, r); });
  });
}

}  // namespace tw::kernels
