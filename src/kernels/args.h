// What kernels are told: plain data, so that files built with wider instruction sets need no other header.
// Shapes: T rows of a step, D width, N output features, K input features, H heads, d head size. All matrices
// are row-major; strides count elements. A kernel computes exactly the slice it is given and keeps no state.
#pragma once

#include <cstdint>

#include "base/dtype_enum.h"
#include "kernels/train_args.h"

namespace tw::kernels {

using base::DType;

struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false, avxvnni = false;
  bool avx512f = false, avx512bw = false, avx512vl = false, avx512dq = false, avx512vnni = false,
       avx512bf16 = false;
  bool gfni = false;
  bool amx_int8 = false, amx_bf16 = false;
};

/// Rows [row_begin, row_end) of a weight matrix from the file's layout into the kernel's.
struct PackArgs {
  DType type;
  const void* source;               ///< [N, K] as in the file
  void* packed;                     ///< the whole packed matrix
  std::int64_t row_begin, row_end;  ///< multiples of the kernel's panel_rows (row_end may be N)
  std::int64_t n, k;
  const void* palettes = nullptr;  ///< of palettized types: F16 [ceil(N / 16), 2^bits]
};

/// fp32 activations into the form a matmul path wants.
struct PrepareArgs {
  const float* x;  ///< [T, K]
  std::int64_t x_stride;
  void* prepared;                   ///< prepared_bytes(T, k)
  std::int64_t row_begin, row_end;  ///< row_begin is a multiple of the path's prepare_rows; row_end too, or T
  std::int64_t k;
};

/// out[t, n] = sum_k x[t, k] * weight[n, k] (+ bias[n]) (+ residual[t, n]) for all T rows and n in [n_begin,
/// n_end). The bits of a row do not depend on T, on the other rows, or on n_begin and n_end.
struct MatmulArgs {
  DType type;
  const void* weight;                 ///< packed, or as in the file when the kernel does not pack
  std::int64_t n_begin, n_end, n, k;  ///< n_begin is a multiple of slice_rows; n_end too, or it is N
  const void* x;                      ///< [T, K] prepared, or fp32 when the path does not prepare
  std::int64_t rows;                  ///< T
  float* out;                         ///< [T, N]
  std::int64_t out_stride;
  const float* bias;      ///< [N] or null
  const float* residual;  ///< [T, N] with out_stride, or null; may be `out` itself
  void* scratch;          ///< scratch_bytes(T, k) bytes of this worker's own, 64-byte aligned
};

/// out[t, n] = sum_k x[t, k] * weight[k, n], with bias and residual as in MatmulArgs: both sides as they lie
/// for the gradients of a product y = x · Wᵀ, which are d_y · W and d_yᵀ · x. Bits as there; no rounding of
/// x.
struct GradientMatmulArgs : MatmulArgs {
  bool x_turned;               ///< x is [K, T]
  std::int64_t x_stride;       ///< of its rows
  std::int64_t weight_stride;  ///< of the weight's rows, which are of kF32, kF16 or kBF16
};
struct GradientMatmul {
  std::int64_t slice_columns;  ///< slices of N are multiples of it
  std::int64_t scratch_bytes;
  void (*run)(const GradientMatmulArgs&);
};

/// The product of a gated feed-forward layer (arXiv 2002.05202): silu(x gateᵀ) * (x upᵀ) for all T rows and
/// outputs [n_begin, n_end), as x of the layer that follows: in the form that the set's bf16 paths read. Bits
/// as in MatmulArgs.
struct GatedMatmulArgs {
  const void *gate, *up;              ///< [N, K] each, packed, of one type
  std::int64_t n_begin, n_end, n, k;  ///< all multiples of slice_rows
  const void* x;                      ///< [T, K] prepared
  std::int64_t rows;                  ///< T
  void* out;                          ///< [T, N], of a bf16 path's prepared_bytes
  void* scratch;                      ///< as MatmulArgs'
};

/// out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + epsilon) * weight
struct RmsNormArgs {
  const float* x;
  float* out;           ///< may be x
  const float* weight;  ///< [D]
  std::int64_t row_begin, row_end, width;
  std::int64_t stride;  ///< of x and out
  float epsilon;
};

/// LayerNorm: out[t, :] = (x[t, :] - mean) / sqrt(variance + epsilon) * weight + bias. Rows lie beside each
/// other.
struct LayerNormArgs {
  const float* x;
  float* out;                  ///< may be x
  const float *weight, *bias;  ///< [D]
  std::int64_t row_begin, row_end, width;
  float epsilon;
};

/// Rotates rows in place: pair i of each head by the angle whose cosine and sine are cos[t, i], sin[t, i].
struct RopeArgs {
  float* x;             ///< [T, heads, d]
  std::int64_t stride;  ///< from row to row
  const float* cos;     ///< [T, d/2]
  const float* sin;
  std::int64_t row_begin, row_end, heads, head_dim;
  bool interleaved;  ///< pairs (2i, 2i+1); else (i, i + d/2)
};

inline constexpr std::int64_t kKvBlock = 16;

/// One layer's paged keys and values. Position p of a sequence lies in block blocks[p / block_tokens], whose
/// part for a head begins at element (block * kv_heads + head) * kv_head_elements(type, d). From there, with
/// t = p % block_tokens, element i of the value is at t * d + i, and element i of the key at i * block_tokens
/// + t: keys are transposed, so that the scores of a block's positions are lanes of a vector. With kI8 these
/// are bytes, and block_tokens fp32 scales follow them: a number is its byte times the scale of its position.
struct KvLayer {
  void* keys;
  void* values;
  DType type;                                     ///< kF32, kF16, kBF16 or kI8
  std::int64_t block_tokens, kv_heads, head_dim;  ///< block_tokens is kKvBlock
};
inline constexpr std::int64_t kv_element_bytes(DType type) {
  return type == DType::kF32 ? 4 : type == DType::kI8 ? 1 : 2;
}
/// Elements of a block's keys (or values) for one head, scales included.
inline constexpr std::int64_t kv_head_elements(DType type, std::int64_t d) {
  return kKvBlock * d + (type == DType::kI8 ? kKvBlock * static_cast<std::int64_t>(sizeof(float)) : 0);
}

/// Writes rows of keys and values to their places in the cache. kF16: held within its finite range. kI8: the
/// largest magnitude of a position's head becomes 127 (infinity counts as the largest fp32 number; below
/// 1e-30 all are 0; with a NaN all are NaN), and numbers are rounded to the nearest step, halves to even.
struct StoreKvArgs {
  KvLayer kv;
  const float* keys;  ///< [T, kv_heads, d]
  const float* values;
  std::int64_t stride;                ///< of both
  const std::int32_t* positions;      ///< [T]
  const std::int32_t* const* blocks;  ///< [T]: the row's block table
  std::int64_t row_begin, row_end;
};

/// Causal softmax attention of rows [row_begin, row_end), ALL of one sequence and at consecutive positions,
/// at most kAttentionRows of them, for query heads that share a key and value head, so that its cache is read
/// once for all of them. The bits of a row and head depend on its query and its sequence's cache alone.
struct AttentionArgs {
  KvLayer kv;
  const float* q;               ///< [T, heads, d], rotated
  float* out;                   ///< [T, heads, d]
  std::int64_t stride;          ///< of q and out
  const std::int32_t* blocks;   ///< the sequence's block table
  std::int64_t first_position;  ///< of row_begin; row r sees positions <= first_position + (r - row_begin)
  std::int64_t row_begin, row_end;
  std::int64_t head_begin, head_end;  ///< query heads, all of kv_head's group
  std::int64_t kv_head;
  std::int64_t sliding_window;  ///< 0: none
  float scale;
  float* scratch;  ///< attention_scratch(...) floats of this worker's own, 64-byte aligned
  /// Where pieces of kAttentionPiece positions are left for merge_attention, attention_partial(d) floats for
  /// each [piece of the sequence, row, head]: only piece `piece` is run. Null: all pieces are, into `out`,
  /// with the same bits.
  float* partials = nullptr;
  std::int64_t piece = 0;
  const AttentionDropout* dropout = nullptr;  ///< asked by TrainSlots::dropped_attention alone
  /// [T, heads]: log(sum(exp(scale * q · k))) of each row, with what goes into `out`; null: not wanted.
  float* log_sums = nullptr;
};
inline constexpr std::int64_t kAttentionPiece = 512;
/// Largest score, sum of weights, and mix of values.
inline constexpr std::int64_t attention_partial(std::int64_t d) {
  return 2 + d;
}
inline constexpr std::int64_t kAttentionRows = 128;
/// Floats of scratch for `group` heads of size d: every row's query, output and sums, in whole tiles of rows
/// and of d, what its pieces so far have made, and room for a piece of the cache.
inline constexpr std::int64_t attention_scratch(std::int64_t group, std::int64_t d) {
  const std::int64_t rows = (kAttentionRows * group + 31) / 32 * 32, width = (d + 31) / 32 * 32;
  return rows * (width * 5 / 2 + 20) + 128 * width + 8192;
}

/// out[t, i] = silu(gate[t, i]) * up[t, i], silu(x) = x / (1 + exp(-x))
struct SiluMulArgs {
  const float* gate;
  const float* up;
  float* out;  ///< may be gate
  std::int64_t row_begin, row_end, column_begin, column_end;
  std::int64_t stride;  ///< of all three
};

/// GELU by its tanh form (arXiv 1606.08415, section 2): 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))).
struct GeluArgs {
  const float* x;
  float* out;  ///< may be x
  std::int64_t row_begin, row_end, column_begin, column_end;
  std::int64_t stride;  ///< of both
};

/// One way to run the products of a weight type. Immutable.
struct MatmulPath {
  const char* name;         ///< "avx512 vnni panels of 16, nibbles", for info and bench
  std::int64_t slice_rows;  ///< slices of N are multiples of it
  std::int64_t (*prepared_bytes)(std::int64_t rows, std::int64_t k);  ///< null: fp32 rows are used
  void (*prepare)(const PrepareArgs&);                                ///< null with prepared_bytes
  std::int64_t prepare_rows;  ///< slices of rows to prepare begin at multiples of it
  std::int64_t (*scratch_bytes)(std::int64_t rows, std::int64_t k);  ///< null: none needed
  void (*run)(const MatmulArgs&);
  void (*run_gated)(const GatedMatmulArgs&) = nullptr;  ///< null: the path has no such form
  /// Weights and activations are rounded to bf16; all such paths of a set prepare rows alike.
  bool bf16 = false;
  /// As `run`, but the results are rounded and make a left side [M, N] of TrainMatmul's, `side`; N is a
  /// multiple of 32. Nothing is added, the args' `out` is not looked at, and scratch is
  /// TrainMatmul::rounded_scratch_bytes(K). Null: the path has no such form.
  void (*run_rounded)(const MatmulArgs&, void* side) = nullptr;
};

/// A packed form of one weight type, and how generated tokens (and logits) are multiplied with it. Immutable.
struct MatmulKernel {
  std::int64_t panel_rows;  ///< packing goes by so many rows
  std::int64_t (*packed_bytes)(DType, std::int64_t n,
                               std::int64_t k);  ///< null: the file's layout is used as it is
  void (*pack)(const PackArgs&);                 ///< null with packed_bytes
  MatmulPath decode;
};

/// One side of a product of weights that are learnt, from fp32: rows [begin, end) of a side [R, K].
struct SideArgs {
  const float* x;  ///< [R, K], or with `transposed` [K, R]
  std::int64_t stride, rows, k;
  bool transposed;
  void* out;                ///< of all rows
  std::int64_t begin, end;  ///< begin is a multiple of 16; end too, or R
};

/// Both left sides of x [T, N], of which N is a multiple of 32, in one reading: of rows [row_begin, row_end);
/// row_begin is a multiple of 32, row_end too, or T.
struct LeftSidesArgs {
  const float* x;
  std::int64_t stride, rows, columns;
  void* as_is;       ///< of x: T rows
  void* transposed;  ///< of xᵀ: N rows
  std::int64_t row_begin, row_end;
};

/// A row's gradients by its logits: scale * exp(logit - largest), less `weight` at the target.
struct LogitGradient {
  float largest, scale, weight;
};

/// Softmax cross-entropy of rows of logits that are a left side [T, V]; V is a multiple of 32. See
/// CrossEntropyArgs.
struct RoundedLossArgs {
  const void* logits;
  const std::int32_t* targets;             ///< [T]
  const float* weights;                    ///< [T]
  float* losses;                           ///< [T], without weight and z-loss
  std::int64_t row_begin, row_end, vocab;  ///< row_begin is a multiple of 16; row_end too, or T
  float weight_scale, z_loss;
  LogitGradient* gradients;  ///< [T]
};

/// Logits [T, N] as a left side become the gradients by them, of which the other left side is made too: of
/// rows [row_begin, row_end), as LeftSidesArgs'.
struct LogitLeftsArgs {
  void* logits;
  void* transposed;  ///< null: not wanted
  std::int64_t rows, columns;
  const LogitGradient* gradients;  ///< [T]
  const std::int32_t* targets;     ///< [T]
  std::int64_t row_begin, row_end;
};

/// silu(gates) * ups, all three left sides [T, N]; N is a multiple of 32.
struct GatedLeftArgs {
  const void *gates, *ups;
  std::int64_t columns;  ///< N
  void* out;
  std::int64_t row_begin, row_end;  ///< row_begin is a multiple of 16; row_end too, or T
};

/// Gates and ups of silu(gates) * ups, left sides [T, N], become the gradients by them, from its own gradient
/// d, of which the other left sides are made too: of rows [row_begin, row_end), as LeftSidesArgs'. What it
/// was itself becomes a right side, N rows that are T deep.
struct GatedLeftsArgs {
  void *gates, *ups;
  const void* d;  ///< a left side
  std::int64_t rows, columns;
  void *gates_transposed, *ups_transposed, *right;
  std::int64_t row_begin, row_end;
};

/// How weights that are learnt are multiplied where there is a better way than by plain rows: products
/// out[M, N] = left[M, K] · right[N, K]ᵀ of two sides, which are made from fp32, from each other, or by a
/// product. Immutable.
struct TrainMatmul {
  /// Of right sides, of packed_bytes(type, N, K) bytes; it has no `pack`. Left sides that are not transposed
  /// are made by its path's `prepare`. Generated tokens are multiplied as prompts are.
  MatmulKernel kernel;
  void (*make_right)(const SideArgs&);
  void (*make_left)(const SideArgs&);
  void (*make_lefts)(const LeftSidesArgs&);
  /// As kernel.decode.run, of numbers [k_begin, k_end) of K alone, multiples of 32 or K: `weight` is the
  /// right side of these. Bias and residual are added to what they give.
  void (*run_part)(const MatmulArgs&, std::int64_t k_begin, std::int64_t k_end);
  /// As kernel.decode.run with Wᵀ, of which `weight` is the right side of W [K, N], turned on the way.
  void (*run_turned)(const MatmulArgs&);
  /// As kernel.decode.run or run_turned, but the results are rounded and make a left side [M, N], `side`; N
  /// is a multiple of 32. Nothing is added, and the args' `out` is not looked at. Rows of the last tile that
  /// are not there stay as they are. Its scratch is rounded_scratch_bytes(K).
  void (*run_rounded)(const MatmulArgs&, bool turned, void* side);
  std::int64_t (*rounded_scratch_bytes)(std::int64_t k);
  void (*rounded_loss)(const RoundedLossArgs&);
  void (*make_logit_lefts)(const LogitLeftsArgs&);
  void (*make_gated_left)(const GatedLeftArgs&);
  void (*make_gated_lefts)(const GatedLeftsArgs&);
};

/// Rows [row_begin, row_end) of a weight [N, K] that is not learnt, of some of its columns: their part of a
/// right side of TrainMatmul, with a row for each column, N deep.
struct FrozenSideArgs {
  DType type;           ///< kF32, kF16 or kBF16
  const void* rows;     ///< the first of them, at the first column
  std::int64_t stride;  ///< numbers from row to row
  std::int64_t columns;
  std::int64_t row_begin, row_end;  ///< multiples of 32; row_end may be N
  std::int64_t n;
  void* out;  ///< the whole side
};

/// For measuring what a machine can do (probe.h): reads all of `data` and returns a sum of it.
struct ReadArgs {
  const std::uint8_t* data;  ///< 64-byte aligned
  std::int64_t bytes;        ///< a multiple of 1024
  std::int64_t prefetch;     ///< bytes ahead that are asked for; 0: the processor is left to guess
};

/// One of a set's ways to multiply and add, run from registers `rounds` times over.
struct PeakArgs {
  int way;                   ///< 0, 1, ...
  const std::uint8_t* data;  ///< kPeakBytes random bytes, 64-byte aligned
  const float* values;       ///< kPeakBytes / 4 random numbers of magnitude below 1, 64-byte aligned
  std::int64_t rounds;
};
inline constexpr int kPeakBytes = 1024;
struct PeakResult {
  const char* name;  ///< "avx2 fp32 fma"; null: the set has no such way
  double flops;      ///< done; a multiply-add is two
  double sum;        ///< of the products, so that they are needed
};

/// What a set of kernels fills in. A null entry is taken from the next lower set.
struct KernelSlots {
  const MatmulKernel* matmul[base::kDTypeCount] = {};  ///< by weight type
  /// How prompts are multiplied with the form that `matmul` packs; null: as generated tokens are.
  const MatmulPath* prefill[base::kDTypeCount] = {};
  /// The same with weights and activations rounded to 8 bits, for whoever asks for it; null: there is none.
  const MatmulPath* int8_prefill[base::kDTypeCount] = {};
  void (*rms_norm)(const RmsNormArgs&) = nullptr;
  void (*rope)(const RopeArgs&) = nullptr;
  void (*store_kv)(const StoreKvArgs&) = nullptr;
  void (*attention)(const AttentionArgs&) = nullptr;         ///< of generated tokens
  void (*merge_attention)(const AttentionArgs&) = nullptr;   ///< of what `attention` left in partials
  void (*prompt_attention)(const AttentionArgs&) = nullptr;  ///< of prompts
  void (*silu_mul)(const SiluMulArgs&) = nullptr;
  void (*layer_norm)(const LayerNormArgs&) = nullptr;
  void (*gelu)(const GeluArgs&) = nullptr;
  TrainSlots train;
  const GradientMatmul* gradient_matmul = nullptr;
  const TrainMatmul* train_matmul = nullptr;             ///< in bf16; null: by plain rows and gradient_matmul
  void (*frozen_side)(const FrozenSideArgs&) = nullptr;  ///< null: there is no train_matmul
  std::uint64_t (*read_sum)(const ReadArgs&) = nullptr;
  PeakResult (*peak)(const PeakArgs&) = nullptr;
};

}  // namespace tw::kernels
