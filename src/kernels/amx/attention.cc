// Attention of prompts by bf16 tiles. The cache is gone through in parts of 128 positions, cut at absolute
// positions; a part's keys and values become tiles once for all rows of the call and all query heads that
// share them. A row keeps the largest score so far, the sum of its weights, and its mix of values
// (arXiv 2205.14135), and begins anew with each piece of kAttentionPiece: what pieces make is merged as
// piece_attention.h does it, by this call or by merge_attention.
//
// "Row" below is a row of the step for one query head: row m is row m / heads, head m % heads. The bits of a
// row depend on itself alone: a tile's rows do not mix, a position it does not see has a weight of exactly 0,
// and a piece it does not see leaves its sums as they are (times 1, plus 0).
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/power.h"
#include "kernels/amx/tiles.h"
#include "kernels/args.h"
#include "kernels/avx512/attention_vector.h"
#include "kernels/piece_attention.h"

namespace tw::kernels {
namespace {

constexpr std::int64_t kPiece = 128;                  // positions
constexpr std::int64_t kColumns = kPiece / kKvBlock;  // tiles of scores
constexpr std::int64_t kSteps = kPiece / 32;          // tiles of weights
constexpr std::int64_t kRows = 32;                    // that run together: two tiles
constexpr std::int64_t kTileBytes = 1024, kTileFloats = 256;
constexpr float kNever = -1e30F, kLn2 = 0.693147181F;
using Pieces = PieceAttention<AttentionVector>;

/// Positions [begin, end).
struct Range {
  std::int64_t begin, end;
};

/// What a call needs to know of its shape.
struct Shape {
  std::int64_t d, width, heads, rows, blocks;  ///< width: d in whole steps of 32; blocks of kRows rows
};

/// This call's memory. Tiles of 16 rows are in pairs, one for each half of a block's rows.
struct Scratch {
  float* out;             ///< [block][width / 16][32][16]
  float* merged;          ///< [row][attention_partial(d)]: of the pieces so far
  float* sums;            ///< [row][16], added up at the end
  float* largest;         ///< [row], as powers of two
  float* scores;          ///< [kColumns][32][16]
  float* mixed;           ///< [2][32][16]
  float* factors;         ///< [32]
  std::uint8_t* q;        ///< [block][width / 32] pairs of tiles
  std::uint8_t* keys;     ///< [kColumns][width / 32] tiles
  std::uint8_t* values;   ///< [width / 16][kSteps] tiles
  std::uint8_t* weights;  ///< [kSteps] pairs of tiles
};

Scratch divide(float* p, const Shape& s) {
  const std::int64_t rows = s.blocks * kRows;
  Scratch r{};
  const auto floats = [&](std::int64_t count) {
    float* begin = p;
    p += count;
    return begin;
  };
  const auto bytes = [&](std::int64_t count) { return reinterpret_cast<std::uint8_t*>(floats(count / 4)); };
  r.out = floats(rows * s.width);
  r.merged = floats(rows * (s.width + 2));
  r.sums = floats(rows * 16);
  r.largest = floats(rows);
  r.scores = floats(kColumns * kRows * 16);
  r.mixed = floats(2 * kRows * 16);
  r.factors = floats(kRows);
  r.q = bytes(rows * s.width * 2);
  r.keys = bytes(kPiece * s.width * 2);
  r.values = bytes(kPiece * s.width * 2);
  r.weights = bytes(kSteps * 2 * kTileBytes);
  return r;
}

std::int64_t smaller(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
std::int64_t larger(std::int64_t a, std::int64_t b) {
  return a > b ? a : b;
}

/// A multiple of 16 numbers.
void fill(float* p, std::int64_t count, float value) {
  for (std::int64_t i = 0; i < count; i += 16) _mm512_store_ps(p + i, _mm512_set1_ps(value));
}

/// Brings part `part` of `parts` of a piece's tiles into the nearest cache, if all of them fit there.
void fetch(const Shape& s, const std::uint8_t* tiles, std::int64_t part, std::int64_t parts) {
  const std::int64_t bytes = kPiece * s.width * 2 / parts;
  if (s.width > 64) return;
  for (std::int64_t i = part * bytes; i < (part + 1) * bytes; i += 64)
    _mm_prefetch(reinterpret_cast<const char*>(tiles) + i, _MM_HINT_T0);
}

/// The lowest n of 16 lanes, n of any size.
__mmask16 lanes_below(std::int64_t n) {
  return static_cast<__mmask16>(n <= 0 ? 0 : n >= 16 ? 0xFFFF : (1 << n) - 1);
}

/// Positions that row m sees.
Range seen_by(const AttentionArgs& a, const Shape& s, std::int64_t m) {
  const std::int64_t end = a.first_position + m / s.heads + 1;
  return {a.sliding_window > 0 ? larger(0, end - a.sliding_window) : 0, end};
}

template <DType kType>
std::int64_t block_at(const AttentionArgs& a, std::int64_t block) {
  return (a.blocks[block] * a.kv.kv_heads + a.kv_head) * kv_head_elements(kType, a.kv.head_dim);
}

/// The scales of a head's block of bytes that begins at `at`.
const float* scales_of(const AttentionArgs& a, const void* base, std::int64_t at) {
  return reinterpret_cast<const float*>(static_cast<const std::uint8_t*>(base) + at +
                                        kKvBlock * a.kv.head_dim);
}

/// Up to sixteen elements of the cache from `at` on, 0 in the other lanes. Bytes are multiplied by `scale`.
struct Part {
  __mmask16 mask;
  std::int64_t at;
  __m512 scale;
};
template <DType kType>
__m512 load(const void* base, const Part& p) {
  if constexpr (kType == DType::kF32)
    return _mm512_maskz_loadu_ps(p.mask, static_cast<const float*>(base) + p.at);
  else if constexpr (kType == DType::kI8) {
    const __m128i bytes = _mm_maskz_loadu_epi8(p.mask, static_cast<const std::int8_t*>(base) + p.at);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), p.scale);
  } else
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(p.mask, static_cast<const std::uint16_t*>(base) + p.at));
}

/// x then y, 32 numbers in bf16.
__m512i join(__m512 x, __m512 y) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(y, x));
}

/// Elements x and y of the cache in bf16, in turns: a row of a tile that is the second factor.
template <DType kType>
__m512i pairs(const void* base, const Part& x, const Part& y) {
  const __m512i turns =
      _mm512_set_epi32(0x1F000F, 0x1E000E, 0x1D000D, 0x1C000C, 0x1B000B, 0x1A000A, 0x190009, 0x180008,
                       0x170007, 0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);
  if constexpr (kType == DType::kBF16) {
    const auto* p = static_cast<const std::uint16_t*>(base);
    const __m512i low = _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(x.mask, p + x.at));
    const __m512i both = _mm512_inserti64x4(low, _mm256_maskz_loadu_epi16(y.mask, p + y.at), 1);
    return _mm512_permutexvar_epi16(turns, both);
  } else {
    return _mm512_permutexvar_epi16(turns, join(load<kType>(base, x), load<kType>(base, y)));
  }
}

/// Queries times scale / ln 2, so that weights are powers of two. Missing rows and elements are zero.
void convert_queries(const AttentionArgs& a, const Shape& s, std::uint8_t* tiles) {
  const __m512 scale = query_factor(a.scale);
  for (std::int64_t m = 0; m < s.blocks * kRows; ++m) {
    const float* q =
        a.q + (a.row_begin + m / s.heads) * a.stride + (a.head_begin + m % s.heads) * a.kv.head_dim;
    std::uint8_t* out = tiles + m / kRows * kRows * s.width * 2 + m % kRows * 64;
    for (std::int64_t i = 0; i < s.width; i += 32, out += 2 * kTileBytes) {
      const std::int64_t left = m < s.rows ? s.d - i : 0;
      const __m512 x = _mm512_maskz_loadu_ps(lanes_below(left), q + i);
      const __m512 y = _mm512_maskz_loadu_ps(lanes_below(left - 16), q + i + 16);
      _mm512_store_si512(out, join(_mm512_mul_ps(x, scale), _mm512_mul_ps(y, scale)));
    }
  }
}

/// Keys of the piece's blocks that hold positions of `seen`.
template <DType kType>
void convert_keys(const AttentionArgs& a, const Shape& s, std::int64_t piece, Range seen,
                  std::uint8_t* tiles) {
  for (std::int64_t c = (seen.begin - piece) / kKvBlock; piece + c * kKvBlock < seen.end; ++c) {
    const std::int64_t at = block_at<kType>(a, piece / kKvBlock + c);
    __m512 scales = _mm512_setzero_ps();
    if constexpr (kType == DType::kI8) scales = _mm512_loadu_ps(scales_of(a, a.kv.keys, at));
    std::uint8_t* out = tiles + c * s.width / 32 * kTileBytes;
    for (std::int64_t i = 0; i < s.width; i += 2, out += 64) {
      const Part x = {static_cast<__mmask16>(i < s.d ? 0xFFFF : 0), at + i * kKvBlock, scales};
      const Part y = {static_cast<__mmask16>(i + 1 < s.d ? 0xFFFF : 0), at + (i + 1) * kKvBlock, scales};
      _mm512_store_si512(out, pairs<kType>(a.kv.keys, x, y));
    }
  }
}

/// Values of `seen`, and zeros in what else is there of its steps of 32 positions.
template <DType kType>
void convert_values(const AttentionArgs& a, const Shape& s, std::int64_t piece, Range seen,
                    std::uint8_t* tiles) {
  const std::int64_t first = (seen.begin - piece) / 32 * 32, last = (seen.end - piece + 31) / 32 * 32;
  for (std::int64_t t = first; t < last; t += 2) {
    const std::int64_t p = piece + t;
    const bool even = p >= seen.begin && p < seen.end, odd = p + 1 >= seen.begin && p + 1 < seen.end;
    const std::int64_t block = even || odd ? block_at<kType>(a, p / kKvBlock) : 0;
    const std::int64_t at = block + p % kKvBlock * s.d;
    __m512 even_scale = _mm512_setzero_ps(), odd_scale = even_scale;
    if constexpr (kType == DType::kI8) {
      const float* scales = scales_of(a, a.kv.values, block) + p % kKvBlock;
      if (even) even_scale = _mm512_set1_ps(scales[0]);
      if (odd) odd_scale = _mm512_set1_ps(scales[1]);
    }
    std::uint8_t* out = tiles + t / 32 * kTileBytes + t % 32 * 32;
    for (std::int64_t i = 0; i < s.width; i += 16, out += kSteps * kTileBytes) {
      const __mmask16 mask = lanes_below(s.d - i), none = 0;
      const Part x = {even ? mask : none, at + i, even_scale};
      const Part y = {odd ? mask : none, at + s.d + i, odd_scale};
      _mm512_store_si512(out, pairs<kType>(a.kv.values, x, y));
    }
  }
}

/// Scores of a block's rows for columns [first, last) of the piece, where heads have at most 64
/// elements, so that a block's queries stay in tiles.
template <bool kBoth>
void score_narrow(const Shape& s, const std::uint8_t* q, const Scratch& r, std::int64_t first,
                  std::int64_t last) {
  const bool wide = s.width > 32;
  const std::uint8_t* keys = r.keys + first * s.width / 32 * kTileBytes;
  tile_load<4>(q, 64);
  tile_load<5>(q + kTileBytes, 64);
  if (wide) {
    tile_load<6>(q + 2 * kTileBytes, 64);
    tile_load<7>(q + 3 * kTileBytes, 64);
  }
  for (std::int64_t c = first; c < last; ++c, keys += s.width / 32 * kTileBytes) {
    float* out = r.scores + c * 2 * kTileFloats;
    tile_zero<0>();
    tile_load<2>(keys, 64);
    tile_dot_bf16<0, 4, 2>();
    if constexpr (kBoth) {
      tile_zero<1>();
      tile_dot_bf16<1, 5, 2>();
    }
    if (wide) {
      tile_load<3>(keys + kTileBytes, 64);
      tile_dot_bf16<0, 6, 3>();
      if constexpr (kBoth) tile_dot_bf16<1, 7, 3>();
    }
    tile_store<0>(out, 64);
    if constexpr (kBoth) tile_store<1>(out + kTileFloats, 64);
  }
}

/// The same for heads of any size.
template <bool kBoth>
void score(const Shape& s, const std::uint8_t* q, const Scratch& r, std::int64_t first, std::int64_t last) {
  const std::int64_t bytes = s.width / 32 * kTileBytes;
  for (std::int64_t c = first; c < last; c += 2) {
    const std::uint8_t* keys = r.keys + c * bytes;
    // With an odd number of columns the last one is computed twice.
    const std::int64_t second = c + 1 < last ? bytes : 0;
    tile_zero<0>();
    tile_zero<1>();
    tile_zero<2>();
    tile_zero<3>();
    for (std::int64_t i = 0; i < bytes; i += kTileBytes) {
      tile_load<6>(keys + i, 64);
      tile_load<7>(keys + second + i, 64);
      tile_load<4>(q + 2 * i, 64);
      tile_dot_bf16<0, 4, 6>();
      tile_dot_bf16<1, 4, 7>();
      if constexpr (kBoth) {
        tile_load<5>(q + 2 * i + kTileBytes, 64);
        tile_dot_bf16<2, 5, 6>();
        tile_dot_bf16<3, 5, 7>();
      }
    }
    float* out = r.scores + c * 2 * kTileFloats;
    float* next = out + (second == 0 ? 0 : 2 * kTileFloats);
    tile_store<0>(out, 64);
    tile_store<1>(next, 64);
    if constexpr (kBoth) {
      tile_store<2>(out + kTileFloats, 64);
      tile_store<3>(next + kTileFloats, 64);
    }
  }
}

/// Lane r: the largest number of v[r].
__m512 largest_of_each(const __m512* v) {
  __m512 a[8], b[4], c[2];
  for (int i = 0; i < 8; ++i)
    a[i] =
        _mm512_max_ps(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44), _mm512_shuffle_f32x4(v[i], v[i + 8], 0xEE));
  for (int i = 0; i < 4; ++i)
    b[i] =
        _mm512_max_ps(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88), _mm512_shuffle_f32x4(a[i], a[i + 4], 0xDD));
  for (int i = 0; i < 2; ++i)
    c[i] = _mm512_max_ps(_mm512_shuffle_ps(b[i], b[i + 2], 0x44), _mm512_shuffle_ps(b[i], b[i + 2], 0xEE));
  const __m512 all = _mm512_max_ps(_mm512_shuffle_ps(c[0], c[1], 0x88), _mm512_shuffle_ps(c[0], c[1], 0xDD));
  // The lanes are now rows 0 2 1 3, 8 10 9 11, 4 6 5 7, 12 14 13 15.
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), all);
}

/// 2^x as `power` has it, but to about 1e-7: it is applied again and again.
__m512 exact_power(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.0018671352F), f, _mm512_set1_ps(0.0090170186F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055799920F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24016444F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69315130F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, x);
}

/// Scores of 16 rows into weights in bf16, for steps [first, last) of the piece. `m` is the first row's
/// number, `half` its half of the block. kMasked: some row does not see every position of these steps.
template <bool kMasked>
void weigh(const AttentionArgs& a, const Shape& s, const Scratch& r, std::int64_t m, std::int64_t half,
           std::int64_t piece, std::int64_t first, std::int64_t last) {
  const float* scores = r.scores + half * kTileFloats;
  const auto mask_of = [&](std::int64_t row, std::int64_t c) {
    if constexpr (!kMasked) return static_cast<__mmask16>(0xFFFF);
    const Range seen = seen_by(a, s, m + row);
    const std::int64_t p = piece + c * kKvBlock;
    return static_cast<__mmask16>(lanes_below(seen.end - p) & ~lanes_below(seen.begin - p));
  };
  __m512 tops[16];
  for (std::int64_t row = 0; row < 16; ++row) {
    tops[row] = _mm512_set1_ps(kNever);
    for (std::int64_t c = 2 * first; c < 2 * last; ++c) {
      const __m512 x = _mm512_load_ps(scores + c * 2 * kTileFloats + row * 16);
      tops[row] = _mm512_mask_max_ps(tops[row], mask_of(row, c), tops[row], x);
    }
  }
  const __m512 old = _mm512_load_ps(r.largest + m);
  const __m512 top = _mm512_max_ps(old, largest_of_each(tops));
  _mm512_store_ps(r.largest + m, top);
  _mm512_store_ps(r.factors + half * 16, exact_power(_mm512_sub_ps(old, top)));
  for (std::int64_t row = 0; row < 16; ++row) {
    const __m512 reference = _mm512_set1_ps(r.largest[m + row]);
    __m512 sum = _mm512_setzero_ps();
    fetch(s, r.values, half * 16 + row, kRows);
    for (std::int64_t step = first; step < last; ++step) {
      const float* in = scores + step * 4 * kTileFloats + row * 16;
      const __m512 x =
          _mm512_maskz_mov_ps(mask_of(row, 2 * step), power(_mm512_sub_ps(_mm512_load_ps(in), reference)));
      const __m512 y = _mm512_maskz_mov_ps(
          mask_of(row, 2 * step + 1), power(_mm512_sub_ps(_mm512_load_ps(in + 2 * kTileFloats), reference)));
      sum = _mm512_add_ps(_mm512_add_ps(sum, x), y);
      _mm512_store_si512(r.weights + (2 * step + half) * kTileBytes + row * 64, join(x, y));
    }
    float* total = r.sums + (m + row) * 16;
    const __m512 factor = _mm512_set1_ps(r.factors[half * 16 + row]);
    _mm512_store_ps(total, _mm512_fmadd_ps(_mm512_load_ps(total), factor, sum));
  }
}

/// out = out * factor + weights * values, for a block's rows.
template <bool kBoth>
void mix(const Shape& s, const Scratch& r, float* out, std::int64_t first, std::int64_t last) {
  for (std::int64_t i = 0; i < s.width / 32; ++i, out += 4 * kTileFloats) {
    const std::uint8_t* values = r.values + 2 * i * kSteps * kTileBytes;
    tile_zero<0>();
    tile_zero<1>();
    tile_zero<2>();
    tile_zero<3>();
    for (std::int64_t step = first; step < last; ++step) {
      tile_load<6>(values + step * kTileBytes, 64);
      tile_load<7>(values + (kSteps + step) * kTileBytes, 64);
      tile_load<4>(r.weights + 2 * step * kTileBytes, 64);
      tile_dot_bf16<0, 4, 6>();
      tile_dot_bf16<1, 4, 7>();
      if constexpr (kBoth) {
        tile_load<5>(r.weights + (2 * step + 1) * kTileBytes, 64);
        tile_dot_bf16<2, 5, 6>();
        tile_dot_bf16<3, 5, 7>();
      }
    }
    tile_store<0>(r.mixed, 64);
    tile_store<1>(r.mixed + 2 * kTileFloats, 64);
    if constexpr (kBoth) {
      tile_store<2>(r.mixed + kTileFloats, 64);
      tile_store<3>(r.mixed + 3 * kTileFloats, 64);
    }
    constexpr std::int64_t kCount = kBoth ? 32 : 16;
    for (std::int64_t row = 0; row < kCount; ++row) {
      const __m512 factor = _mm512_set1_ps(r.factors[row]);
      fetch(s, r.keys, i * kRows + row, s.width / 32 * kRows);
      for (std::int64_t at = row * 16; at < 4 * kTileFloats; at += 2 * kTileFloats) {
        const __m512 sum = _mm512_fmadd_ps(_mm512_load_ps(out + at), factor, _mm512_load_ps(r.mixed + at));
        _mm512_store_ps(out + at, sum);
      }
    }
  }
}

/// Rows [m, m + kRows) against the positions of a piece that some row of the call sees.
template <bool kBoth>
void run_block(const AttentionArgs& a, const Shape& s, const Scratch& r, std::int64_t m, std::int64_t piece,
               Range seen) {
  const Range low = seen_by(a, s, m), high = seen_by(a, s, smaller(m + kRows, s.rows) - 1);
  const std::int64_t begin = larger(low.begin, seen.begin) - piece, end = smaller(high.end, seen.end) - piece;
  if (begin >= end) return;
  const std::int64_t first = begin / 32, last = (end + 31) / 32;
  const auto scores_of = s.width <= 64 ? score_narrow<kBoth> : score<kBoth>;
  scores_of(s, r.q + m * s.width * 2, r, begin / kKvBlock, (end + kKvBlock - 1) / kKvBlock);
  const bool whole = high.begin <= piece + first * 32 && low.end >= piece + last * 32;
  for (std::int64_t half = 0; half < (kBoth ? 2 : 1); ++half) {
    if (whole)
      weigh<false>(a, s, r, m + half * 16, half, piece, first, last);
    else
      weigh<true>(a, s, r, m + half * 16, half, piece, first, last);
  }
  mix<kBoth>(s, r, r.out + m * s.width, first, last);
}

/// What a piece has made of row m, as piece_attention.h keeps it.
void collect(const Shape& s, const Scratch& r, std::int64_t m, Pieces::Sums to) {
  to.largest() = r.largest[m] * kLn2;
  to.sum() = _mm512_reduce_add_ps(_mm512_load_ps(r.sums + m * 16));
  const float* mixed = r.out + m / kRows * kRows * s.width + m % kRows * 16;
  for (std::int64_t i = 0; i < s.d; i += 16)
    _mm512_mask_storeu_ps(to.mix() + i, lanes_below(s.d - i), _mm512_load_ps(mixed + i * kRows));
}

/// Leaves a piece's sums of all rows that see any of it, or merges them with those before.
void leave(const AttentionArgs& a, const Shape& s, const Scratch& r, std::int64_t piece) {
  for (std::int64_t m = 0; m < s.rows; ++m) {
    const Range seen = seen_by(a, s, m);
    if (seen.end <= piece * kAttentionPiece || seen.begin >= (piece + 1) * kAttentionPiece) continue;
    if (a.partials != nullptr) {
      collect(s, r, m, Pieces::partial(a, piece, m));
      continue;
    }
    const bool begins = seen.begin >= piece * kAttentionPiece,
               ends = seen.end <= (piece + 1) * kAttentionPiece;
    const Pieces::Sums all = {r.merged + m * (s.width + 2)}, next = {r.scores};
    if (begins) {  // nothing to be merged with
      collect(s, r, m, all);
    } else {
      collect(s, r, m, next);
      Pieces::merge(a, all, next);
    }
    if (ends) Pieces::write_out(a, m, all);
  }
}

/// Positions `seen` of one piece.
template <DType kType>
void run_piece(const AttentionArgs& a, const Shape& s, const Scratch& r, Range all) {
  fill(r.largest, s.blocks * kRows, kNever);
  fill(r.sums, s.blocks * kRows * 16, 0);
  fill(r.out, s.blocks * kRows * s.width, 0);
  for (std::int64_t part = all.begin / kPiece * kPiece; part < all.end; part += kPiece) {
    const Range seen = {larger(all.begin, part), smaller(all.end, part + kPiece)};
    convert_keys<kType>(a, s, part, seen, r.keys);
    convert_values<kType>(a, s, part, seen, r.values);
    for (std::int64_t m = 0; m < s.rows; m += kRows) {
      if (m + 16 < s.rows)
        run_block<true>(a, s, r, m, part, seen);
      else
        run_block<false>(a, s, r, m, part, seen);
    }
  }
}

template <DType kType>
void run(const AttentionArgs& a) {
  Shape s{};
  s.d = a.kv.head_dim;
  s.width = (s.d + 31) / 32 * 32;
  s.heads = a.head_end - a.head_begin;
  s.rows = (a.row_end - a.row_begin) * s.heads;
  s.blocks = (s.rows + kRows - 1) / kRows;
  const Scratch r = divide(a.scratch, s);
  const TileConfig config = whole_tiles();
  const TileScope tiles(config);
  convert_queries(a, s, r.q);
  const Range all = {seen_by(a, s, 0).begin, seen_by(a, s, s.rows - 1).end};
  const bool one = a.partials != nullptr;
  const std::int64_t first = one ? a.piece : all.begin / kAttentionPiece;
  const std::int64_t last = one ? a.piece + 1 : (all.end - 1) / kAttentionPiece + 1;
  for (std::int64_t piece = first; piece < last; ++piece) {
    const Range here = {larger(all.begin, piece * kAttentionPiece),
                        smaller(all.end, (piece + 1) * kAttentionPiece)};
    if (here.begin >= here.end) continue;
    run_piece<kType>(a, s, r, here);
    leave(a, s, r, piece);
  }
}

void attention(const AttentionArgs& a) {
  if (a.kv.type == DType::kF32)
    run<DType::kF32>(a);
  else if (a.kv.type == DType::kBF16)
    run<DType::kBF16>(a);
  else if (a.kv.type == DType::kI8)
    run<DType::kI8>(a);
  else
    run<DType::kF16>(a);
}

}  // namespace

void amx_attention_slots(KernelSlots& slots) {
  slots.prompt_attention = attention;
}

}  // namespace tw::kernels
