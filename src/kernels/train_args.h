// What the kernels of training are told: see args.h, whose conventions hold here. A `d_` is the loss's
// gradient by what follows it. Sums over rows run in one fixed order whatever the slice.
#pragma once

#include <cstdint>

#include "base/dtype_enum.h"

namespace tw::kernels {

struct AttentionArgs;

/// Of RmsNormArgs, by its input: d_x[t, :] (+)= r * (g - x * mean(g * x) * r²), g = d_out * weight, r = 1 /
/// sqrt(mean(x²) + epsilon). Rows lie beside each other.
struct RmsNormBackwardArgs {
  const float *x, *weight, *d_out;
  float* d_x;      ///< may be d_out
  float* inverse;  ///< [T]: r of each row, for the weight's gradient
  std::int64_t row_begin, row_end, width;
  float epsilon;
  bool add;  ///< to what is in d_x
};

/// Of LayerNormArgs, by its input: d_x[t, :] (+)= r * (g - mean(g) - u * mean(g * u)), g = d_out * weight, u
/// the row without its mean times r = 1 / sqrt(variance + epsilon).
struct LayerNormBackwardArgs {
  const float *x, *weight, *d_out;
  float* d_x;    ///< must not be d_out
  float* units;  ///< [T, D]: u of each row, for the weight's gradient
  std::int64_t row_begin, row_end, width;
  float epsilon;
  bool add;  ///< to what is in d_x
};

/// sums[i] += sum_t a[t, i] * b[t, i] * scale[t] for columns [column_begin, column_end).
struct ColumnSumArgs {
  const float* a;
  const float* b;      ///< null: 1
  const float* scale;  ///< [T]; null: 1
  float* sums;
  std::int64_t rows, column_begin, column_end, stride;
};

/// Of SiluMulArgs, everything in place: `gate` and `up` become their own gradients, `out`, which comes as the
/// gradient by the product, becomes the product.
struct SiluMulBackwardArgs {
  float *gate, *up, *out;
  std::int64_t begin, end;  ///< elements
};

/// Of GeluArgs, everything in place: `x` becomes its own gradient, `out`, which comes as the gradient by
/// gelu(x), becomes gelu(x).
struct GeluBackwardArgs {
  float *x, *out;
  std::int64_t begin, end;  ///< elements
};

/// Softmax cross-entropy of rows of logits (in place: they become its gradient, times the row's weight).
/// loss = log(sum(exp(logits))) - logits[target]; the gradient is that of loss + z_loss *
/// log(sum(exp(logits)))² (the z-loss of arXiv 2204.02311).
struct CrossEntropyArgs {
  float* logits;                ///< [T, V]
  const std::int32_t* targets;  ///< [T]
  const float* weights;         ///< [T]; null: no gradient is wanted, and the logits stay
  float* losses;                ///< [T], without weight and z-loss
  std::int64_t row_begin, row_end, vocab;
  float weight_scale;  ///< a factor of every weight
  float z_loss;
};

/// out[c, r] = in[r, c] for columns [column_begin, column_end) and all rows.
struct TransposeArgs {
  const float* in;  ///< [rows, columns]
  std::int64_t in_stride, rows, column_begin, column_end;
  void* out;  ///< [columns, rows] of `type`
  std::int64_t out_stride;
  base::DType type;  ///< kF32 or kBF16 (rounded to nearest even)
};

/// Elements [begin, end) of `in` as bf16, rounded to nearest even.
struct RoundArgs {
  const float* in;
  std::uint16_t* out;
  std::int64_t begin, end;
};

/// out[i] += x[i] for [begin, end).
struct AddArgs {
  const float* x;
  float* out;
  std::int64_t begin, end;
};

/// out[t, i] = add[t, i] + (kept ? scale * x[t, i] : 0): dropout (arXiv 1207.0580). Number i of row t is kept
/// where word i / 16 % 4 of base::philox, with `seed` for its key and (i / 64 * 16 + i % 16, first_row + t,
/// site, step) for its counter, is at least `dropped`. Rows lie beside each other.
struct DropoutArgs {
  const float* x;
  const float* add;  ///< null: 0
  float* out;        ///< may be x or add
  std::int64_t row_begin, row_end, width;
  std::uint32_t first_row, site, step;
  std::uint64_t seed;
  std::uint32_t dropped;  ///< so many of 2^32
  float scale;
};

/// What training leaves out of attention's weights (arXiv 1207.0580), behind the softmax: that of row t of a
/// step and query head h for the key at position p of its sequence is kept, times `scale`, where word p / 16
/// % 4 of base::philox, with `seed` for its key and (p / 64 * 16 + p % 16, first_row + t, site + h, step) for
/// its counter, is at least `dropped`. Else it is 0.
struct AttentionDropout {
  std::uint32_t first_row, site, step;
  std::uint64_t seed;
  std::uint32_t dropped;  ///< so many of 2^32
  float scale;
};

/// Gradients of causal attention (AttentionArgs) within one document: rows [row_begin, row_end), all of them,
/// and the query heads [head_begin, head_end) that share kv_head.
struct AttentionBackwardArgs {
  const float *q, *d_out, *out;         ///< [T, heads, d]
  const float* log_sums;                ///< [T, heads], of AttentionArgs
  const float *k, *v;                   ///< [T, kv_heads, d]
  float *d_q, *d_k, *d_v;               ///< overwritten
  std::int64_t q_stride, kv_stride, d;  ///< row to row
  std::int64_t row_begin, row_end, head_begin, head_end, kv_head;
  std::int64_t sliding_window;  ///< 0: none
  float scale;
  float* scratch;                             ///< attention_backward_scratch(...) floats, 64-byte aligned
  const AttentionDropout* dropout = nullptr;  ///< asked by dropped_attention_backward alone
};
inline constexpr std::int64_t kBackwardRows = 64;  ///< rows of a block of queries, and of keys
inline constexpr std::int64_t attention_backward_scratch(std::int64_t group, std::int64_t rows,
                                                         std::int64_t d) {
  const std::int64_t width = (d + 31) / 32 * 32, padded = (rows + 31) / 32 * 32;
  const std::int64_t vectors = group * padded + kBackwardRows * (8 * width + 2 * kBackwardRows);
  const std::int64_t tiles =
      padded * (3 * width + 2) + kBackwardRows * 4 * width + 16384;  // a head at a time
  return vectors > tiles ? vectors : tiles;
}

/// AdamW (arXiv 1711.05101) on elements [begin, end): one pass, PyTorch's formula.
struct AdamWArgs {
  float *weight, *first, *second;  ///< first and second moment
  const float* gradient;
  std::int64_t begin, end;
  float gradient_scale;  ///< of clipping
  float keep;            ///< 1 - rate * decay
  float beta1, beta2;
  float step;             ///< rate / (1 - beta1^t)
  float root_correction;  ///< 1 / sqrt(1 - beta2^t)
  float epsilon;
};

/// The kernels of training, all of them in fp32.
struct TrainSlots {
  void (*rms_norm_backward)(const RmsNormBackwardArgs&) = nullptr;
  void (*layer_norm_backward)(const LayerNormBackwardArgs&) = nullptr;
  void (*gelu_backward)(const GeluBackwardArgs&) = nullptr;
  void (*add_column_sums)(const ColumnSumArgs&) = nullptr;
  void (*silu_mul_backward)(const SiluMulBackwardArgs&) = nullptr;
  void (*cross_entropy)(const CrossEntropyArgs&) = nullptr;
  void (*transpose)(const TransposeArgs&) = nullptr;
  void (*round_bf16)(const RoundArgs&) = nullptr;
  void (*add)(const AddArgs&) = nullptr;
  void (*dropout)(const DropoutArgs&) = nullptr;
  void (*attention_backward)(const AttentionBackwardArgs&) = nullptr;
  /// With `dropout`, of any rows; pieces are merged as ever. The amx set has neither: it takes those of
  /// avx512.
  void (*dropped_attention)(const AttentionArgs&) = nullptr;
  void (*dropped_attention_backward)(const AttentionBackwardArgs&) = nullptr;
  void (*adamw)(const AdamWArgs&) = nullptr;
  /// Of a chunk of at most 65,536 numbers; in fp32, so that it is not finite where they are too large.
  double (*sum_squares)(const float* x, std::int64_t count) = nullptr;
};

}  // namespace tw::kernels
