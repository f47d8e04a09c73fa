#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/float16.h"
#include "kernels/ref/ref.h"

namespace tw::kernels {
namespace {

float load(const void* base, DType type, std::int64_t at) {
  if (type == DType::kF32) return static_cast<const float*>(base)[at];
  return half_to_float(static_cast<const std::uint16_t*>(base)[at]);
}

/// Where the block of a position begins, for this head (the same for keys and values).
std::int64_t block_at(const AttentionArgs& a, std::int64_t position) {
  const KvLayer& kv = a.kv;
  return (a.blocks[position / kv.block_tokens] * kv.kv_heads + a.kv_head) * kv.block_tokens * kv.head_dim;
}

/// Turns scores[begin, end) into probabilities.
void softmax(float* scores, std::int64_t begin, std::int64_t end) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t p = begin; p < end; ++p) largest = std::max(largest, scores[p]);
  float sum = 0;
  for (std::int64_t p = begin; p < end; ++p) sum += scores[p] = std::exp(scores[p] - largest);
  for (std::int64_t p = begin; p < end; ++p) scores[p] /= sum;
}

void one_row(const AttentionArgs& a, std::int64_t row, std::int64_t head, std::int64_t begin,
             std::int64_t end) {
  const std::int64_t d = a.kv.head_dim, tokens = a.kv.block_tokens;
  const float* q = a.q + row * a.stride + head * d;
  float* out = a.out + row * a.stride + head * d;
  float* scores = a.scratch;
  for (std::int64_t p = begin; p < end; ++p) {
    const std::int64_t at = block_at(a, p) + p % tokens;
    float score = 0;
    for (std::int64_t i = 0; i < d; ++i) score += q[i] * load(a.kv.keys, a.kv.type, at + i * tokens);
    scores[p] = score * a.scale;
  }
  softmax(scores, begin, end);
  std::fill(out, out + d, 0.0F);
  for (std::int64_t p = begin; p < end; ++p) {
    const std::int64_t at = block_at(a, p) + p % tokens * d;
    for (std::int64_t i = 0; i < d; ++i) out[i] += scores[p] * load(a.kv.values, a.kv.type, at + i);
  }
}

}  // namespace

void ref_attention(const AttentionArgs& a) {
  for (std::int64_t row = a.row_begin; row < a.row_end; ++row) {
    const std::int64_t end = a.first_position + (row - a.row_begin) + 1;
    const std::int64_t begin = a.sliding_window > 0 ? std::max<std::int64_t>(0, end - a.sliding_window) : 0;
    for (std::int64_t head = a.head_begin; head < a.head_end; ++head) one_row(a, row, head, begin, end);
  }
}

}  // namespace tw::kernels
