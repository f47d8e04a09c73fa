// Attention over the paged cache: the positions of a block are lanes for the scores, the elements of a head
// for the mix. Up to four rows share each load. A row's additions have the same order in any company.
#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/math.h"

namespace tw::kernels {
namespace {

constexpr int kTile = 4;

/// Eight elements of the cache as fp32.
template <DType kType>
__m256 load(const void* base, std::int64_t at) {
  if constexpr (kType == DType::kF32) return _mm256_loadu_ps(static_cast<const float*>(base) + at);
  return _mm256_cvtph_ps(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const std::uint16_t*>(base) + at)));
}

template <DType kType>
float load_one(const void* base, std::int64_t at) {
  if constexpr (kType == DType::kF32) return static_cast<const float*>(base)[at];
  return _cvtsh_ss(static_cast<const std::uint16_t*>(base)[at]);
}

std::int64_t block_at(const AttentionArgs& a, std::int64_t block) {
  return (a.blocks[block] * a.kv.kv_heads + a.kv_head) * kKvBlock * a.kv.head_dim;
}

/// Positions that one row sees.
struct Range {
  std::int64_t begin, end;
};

Range range_of(const AttentionArgs& a, std::int64_t row) {
  const std::int64_t end = a.first_position + (row - a.row_begin) + 1;
  return {a.sliding_window > 0 && end > a.sliding_window ? end - a.sliding_window : 0, end};
}

/// Scores of kCount rows against blocks [first, last): 16 positions a block.
template <DType kType, int kCount>
void score_blocks(const AttentionArgs& a, std::int64_t row, std::int64_t head, std::int64_t first,
                  std::int64_t last, float* const* scores) {
  const std::int64_t d = a.kv.head_dim;
  const float* q = a.q + row * a.stride + head * d;
  const __m256 scale = _mm256_set1_ps(a.scale);
  for (std::int64_t block = first; block < last; ++block) {
    const std::int64_t at = block_at(a, block);
    __m256 low[kCount], high[kCount];
    for (int r = 0; r < kCount; ++r) low[r] = high[r] = _mm256_setzero_ps();
    for (std::int64_t i = 0; i < d; ++i) {
      const __m256 k0 = load<kType>(a.kv.keys, at + i * kKvBlock),
                   k1 = load<kType>(a.kv.keys, at + i * kKvBlock + 8);
      for (int r = 0; r < kCount; ++r) {
        const __m256 x = _mm256_broadcast_ss(q + r * a.stride + i);
        low[r] = _mm256_fmadd_ps(x, k0, low[r]);
        high[r] = _mm256_fmadd_ps(x, k1, high[r]);
      }
    }
    for (int r = 0; r < kCount; ++r) {
      _mm256_storeu_ps(scores[r] + block * kKvBlock, _mm256_mul_ps(low[r], scale));
      _mm256_storeu_ps(scores[r] + block * kKvBlock + 8, _mm256_mul_ps(high[r], scale));
    }
  }
}

/// Turns a row's scores into probabilities; positions of its blocks that it does not see get 0.
void softmax(float* scores, Range range, std::int64_t first, std::int64_t last) {
  constexpr float kNever = -1e30F;  // exp gives 0
  for (std::int64_t p = first * kKvBlock; p < range.begin; ++p) scores[p] = kNever;
  for (std::int64_t p = range.end; p < last * kKvBlock; ++p) scores[p] = kNever;
  __m256 largest = _mm256_set1_ps(kNever);
  for (std::int64_t p = first * kKvBlock; p < last * kKvBlock; p += 8)
    largest = _mm256_max_ps(largest, _mm256_loadu_ps(scores + p));
  const __m256 top = _mm256_set1_ps(max_lanes(largest));
  __m256 sum = _mm256_setzero_ps();
  for (std::int64_t p = first * kKvBlock; p < last * kKvBlock; p += 8) {
    const __m256 e = exp_lanes(_mm256_sub_ps(_mm256_loadu_ps(scores + p), top));
    _mm256_storeu_ps(scores + p, e);
    sum = _mm256_add_ps(sum, e);
  }
  const __m256 inverse = _mm256_set1_ps(1.0F / sum_lanes(sum));
  for (std::int64_t p = first * kKvBlock; p < last * kKvBlock; p += 8) {
    _mm256_storeu_ps(scores + p, _mm256_mul_ps(_mm256_loadu_ps(scores + p), inverse));
  }
}

/// out = sum over positions [begin, end) of probability * value, elements [i, i + 16) of kCount rows.
template <DType kType, int kCount>
void mix16(const AttentionArgs& a, std::int64_t row, std::int64_t head, Range range, std::int64_t i,
           const float* const* scores) {
  const std::int64_t d = a.kv.head_dim;
  __m256 low[kCount], high[kCount];
  for (int r = 0; r < kCount; ++r) low[r] = high[r] = _mm256_setzero_ps();
  for (std::int64_t p = range.begin; p < range.end; ++p) {
    const std::int64_t at = block_at(a, p / kKvBlock) + p % kKvBlock * d + i;
    const __m256 v0 = load<kType>(a.kv.values, at), v1 = load<kType>(a.kv.values, at + 8);
    for (int r = 0; r < kCount; ++r) {
      const __m256 x = _mm256_broadcast_ss(scores[r] + p);
      low[r] = _mm256_fmadd_ps(x, v0, low[r]);
      high[r] = _mm256_fmadd_ps(x, v1, high[r]);
    }
  }
  for (int r = 0; r < kCount; ++r) {
    float* out = a.out + (row + r) * a.stride + head * d + i;
    _mm256_storeu_ps(out, low[r]);
    _mm256_storeu_ps(out + 8, high[r]);
  }
}

/// The elements past the last multiple of 16.
template <DType kType>
void mix_tail(const AttentionArgs& a, std::int64_t row, std::int64_t head, Range range, std::int64_t first,
              const float* scores) {
  const std::int64_t d = a.kv.head_dim;
  for (std::int64_t i = first; i < d; ++i) {
    float sum = 0;
    for (std::int64_t p = range.begin; p < range.end; ++p) {
      sum += scores[p] * load_one<kType>(a.kv.values, block_at(a, p / kKvBlock) + p % kKvBlock * d + i);
    }
    a.out[row * a.stride + head * d + i] = sum;
  }
}

template <DType kType, int kCount>
void rows(const AttentionArgs& a, std::int64_t row, std::int64_t head) {
  const std::int64_t d = a.kv.head_dim;
  const Range seen = {range_of(a, row).begin, range_of(a, row + kCount - 1).end};
  const std::int64_t first = seen.begin / kKvBlock, last = (seen.end + kKvBlock - 1) / kKvBlock;
  const std::int64_t length =
      (a.first_position + (a.row_end - a.row_begin) + kKvBlock - 1) / kKvBlock * kKvBlock;
  float* scores[kCount];
  for (int r = 0; r < kCount; ++r) scores[r] = a.scratch + r * length;
  score_blocks<kType, kCount>(a, row, head, first, last, scores);
  for (int r = 0; r < kCount; ++r) softmax(scores[r], range_of(a, row + r), first, last);
  std::int64_t i = 0;
  for (; i + 16 <= d; i += 16) mix16<kType, kCount>(a, row, head, seen, i, scores);
  if (i < d) {
    for (int r = 0; r < kCount; ++r) mix_tail<kType>(a, row + r, head, range_of(a, row + r), i, scores[r]);
  }
}

template <DType kType>
void attention_of(const AttentionArgs& a) {
  for (std::int64_t head = a.head_begin; head < a.head_end; ++head) {
    std::int64_t row = a.row_begin;
    for (; row + kTile <= a.row_end; row += kTile) rows<kType, kTile>(a, row, head);
    for (; row < a.row_end; ++row) rows<kType, 1>(a, row, head);
  }
}

void attention(const AttentionArgs& a) {
  if (a.kv.type == DType::kF32)
    attention_of<DType::kF32>(a);
  else
    attention_of<DType::kF16>(a);
}

}  // namespace

void avx2_attention_slots(KernelSlots& slots) {
  slots.attention = slots.prompt_attention = attention;
}

}  // namespace tw::kernels
