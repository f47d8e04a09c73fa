// Prompts times quantized weights by bf16 tiles: of a pair of panels (32 output rows) a stretch of K is
// dequantized to bf16 in the nearest cache, and then used by all rows of the step.
//
// A tile of weights is one block of a panel: 16 rows of pairs (k, k + 16) for 16 output rows; a tile of
// activations is 16 rows of the step, each block of 32 in the same order of pairs. Sums stay in fp32. The
// bits of a row depend on itself alone: a tile's rows do not mix, and stretches are cut by K alone.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"
#include "kernels/args.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

constexpr int kRows = 16;         // of a panel, and of a tile
constexpr int kTileBytes = 1024;  // 16 rows of 64 bytes
constexpr std::int64_t kStretch =
    9;  // most blocks of a stretch: 18 KiB of weights, 36 of 48 with activations
constexpr std::int64_t kColumns = 256;  // of which partial sums are kept at a time
constexpr std::int64_t kPairFloats = 2 * kRows * 2 * kRows;

std::int64_t pairs_of(std::int64_t rows) {
  return (rows + 2 * kRows - 1) / (2 * kRows);
}

std::int64_t stretches_of(std::int64_t blocks) {
  return (blocks + kStretch - 1) / kStretch;
}

// --- activations

std::int64_t prepared_bytes(std::int64_t rows, std::int64_t k) {
  return pairs_of(rows) * 2 * kRows * k * 2;
}

/// 32 values as bf16 pairs (k, k + 16).
__m512i pairs(const float* x) {
  const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x)));
  const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + 16)));
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

/// Tile by tile: [row / 16][k / 32][row % 16][32]. The last tile's missing rows are zero.
void prepare(const PrepareArgs& a) {
  const std::int64_t blocks = a.k / kPanelBlock;
  for (std::int64_t row = a.row_begin; row < (a.row_end + kRows - 1) / kRows * kRows; ++row) {
    auto* out = static_cast<std::uint8_t*>(a.prepared) + row / kRows * blocks * kTileBytes + row % kRows * 64;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const __m512i v =
          row < a.row_end ? pairs(a.x + row * a.x_stride + block * kPanelBlock) : _mm512_setzero_si512();
      _mm512_store_si512(out + block * kTileBytes, v);
    }
  }
}

// --- weights

/// Rounds to nearest and joins: `even` in the low halves, `odd` in the high ones.
__m512i join(__m512 even, __m512 odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i low = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(even), half), 16);
  return _mm512_mask_blend_epi16(0xAAAAAAAA, low, _mm512_add_epi32(_mm512_castps_si512(odd), half));
}

__m512 halves(const std::uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
__m512 signed_bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
__m512 bytes(const std::uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

/// value = scale * (stored number) + minimum, of the first and of the second 16 of a block.
struct Scales {
  __m512 scale[2], minimum[2];
};

/// What the numbers that are read are above the weights' own: int8 is read as unsigned, 128 higher.
constexpr int offset_of(PanelFormat f) {
  return f.is_signed ? 128 : f.offset;
}

template <DType kType>
Scales load_scales(const std::uint8_t* p, __m512 d, __m512 dmin) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr int kParts = f.halves ? 2 : 1;
  Scales s;
  for (int h = 0; h < 2; ++h) {
    const int part = f.halves ? h : 0;
    s.scale[h] = f.super ? _mm512_mul_ps(d, signed_bytes(p + part * kRows)) : halves(p);
    if constexpr (f.minimums && f.super) {
      s.minimum[h] =
          _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(dmin, bytes(p + (kParts + part) * kRows)));
    } else if constexpr (f.minimums) {
      s.minimum[h] = halves(p + 2 * kRows);
    } else {
      s.minimum[h] = _mm512_mul_ps(s.scale[h], _mm512_set1_ps(-static_cast<float>(offset_of(f))));
    }
  }
  return s;
}

/// Byte i of each 32-bit lane as a number.
template <int kByte>
__m512 byte_of(__m512i v) {
  const __m512i place = _mm512_set1_epi32(static_cast<int>(0x80808000U) | kByte);
  const __m512i lanes = _mm512_set4_epi32(0x0C0C0C0C, 0x08080808, 0x04040404, 0);
  return _mm512_cvtepi32_ps(_mm512_shuffle_epi8(v, _mm512_or_si512(place, lanes)));
}

/// Rows 4j + kByte of a tile, for the byte of that number in each lane of a nibble vector.
template <int kByte>
__m512i nibble_row(__m512i v, __m512 numbers, const Scales& s) {
  // Only the lowest four bits of an index count.
  const __m512 low = _mm512_permutexvar_ps(_mm512_srli_epi32(v, 8 * kByte), numbers);
  const __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(v, 8 * kByte + 4), numbers);
  return join(_mm512_fmadd_ps(low, s.scale[0], s.minimum[0]),
              _mm512_fmadd_ps(high, s.scale[1], s.minimum[1]));
}
template <int kByte>
__m512i byte_row(__m512i low, __m512i high, const Scales& s) {
  return join(_mm512_fmadd_ps(byte_of<kByte>(low), s.scale[0], s.minimum[0]),
              _mm512_fmadd_ps(byte_of<kByte>(high), s.scale[1], s.minimum[1]));
}

/// One block's weights as a tile.
template <DType kType>
void dequantize_block(const std::uint8_t* p, const Scales& s, std::uint8_t* tile) {
  constexpr PanelFormat f = panel_format(kType);
  const __m512 numbers = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int j = 0; j < 4; ++j) {
    __m512i v = _mm512_loadu_si512(p + j * 64);
    __m512i* out = reinterpret_cast<__m512i*>(tile + j * 256);
    if constexpr (f.bytes) {
      __m512i w = _mm512_loadu_si512(p + (j + 4) * 64);
      if constexpr (f.is_signed) {
        v = _mm512_xor_si512(v, _mm512_set1_epi8(-128));
        w = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
      }
      out[0] = byte_row<0>(v, w, s);
      out[1] = byte_row<1>(v, w, s);
      out[2] = byte_row<2>(v, w, s);
      out[3] = byte_row<3>(v, w, s);
    } else {
      out[0] = nibble_row<0>(v, numbers, s);
      out[1] = nibble_row<1>(v, numbers, s);
      out[2] = nibble_row<2>(v, numbers, s);
      out[3] = nibble_row<3>(v, numbers, s);
    }
  }
}

/// Blocks [begin, end) of a panel as tiles.
template <DType kType>
void dequantize(const std::uint8_t* panel, std::int64_t begin, std::int64_t end, std::uint8_t* tiles) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr std::int64_t kHeader = panel_header_bytes(f, kRows), kScale = panel_scale_bytes(f, kRows);
  constexpr std::int64_t kBlock = kScale + panel_weight_bytes(f, kRows);
  __m512 d = _mm512_setzero_ps(), dmin = _mm512_setzero_ps();
  for (std::int64_t block = begin; block < end; ++block) {
    if constexpr (f.super) {
      const std::uint8_t* header = panel + block / 8 * (8 * kBlock + kHeader);
      d = halves(header);
      if constexpr (f.minimums) dmin = halves(header + 2 * kRows);
    }
    const std::int64_t headers = f.super ? (block / 8 + 1) * kHeader : 0;
    const std::uint8_t* p = panel + block * kBlock + headers;
    dequantize_block<kType>(p + kScale, load_scales<kType>(p, d, dmin), tiles);
    tiles += kTileBytes;
  }
}

// --- the product

/// Partial sums of 32 rows and 32 columns: tiles 0 and 1 are the first 16 rows, 2 and 3 the others.
template <bool kBoth>
void load_sums(const float* sums) {
  tile_load<0>(sums, 128);
  tile_load<1>(sums + 16, 128);
  if constexpr (kBoth) {
    tile_load<2>(sums + 512, 128);
    tile_load<3>(sums + 528, 128);
  }
}
template <bool kBoth>
void zero_sums() {
  tile_zero<0>();
  tile_zero<1>();
  if constexpr (kBoth) {
    tile_zero<2>();
    tile_zero<3>();
  }
}
template <bool kBoth>
void store_sums(float* sums) {
  tile_store<0>(sums, 128);
  tile_store<1>(sums + 16, 128);
  if constexpr (kBoth) {
    tile_store<2>(sums + 512, 128);
    tile_store<3>(sums + 528, 128);
  }
}

/// Adds `count` blocks; x1 is the second tile of rows. Loads between the products keep the multiplier busier
/// than loads before them (by 8 % from the second cache).
template <bool kBoth>
void add_blocks(const std::uint8_t* x0, const std::uint8_t* x1, const std::uint8_t* weights,
                std::int64_t count) {
  const std::uint8_t* others = weights + count * kTileBytes;
  for (std::int64_t i = 0; i < count * kTileBytes; i += kTileBytes) {
    tile_load<6>(weights + i, 64);
    tile_load<4>(x0 + i, 64);
    tile_dot_bf16<0, 4, 6>();
    tile_load<7>(others + i, 64);
    tile_dot_bf16<1, 4, 7>();
    if constexpr (kBoth) {
      tile_load<5>(x1 + i, 64);
      tile_dot_bf16<3, 5, 7>();
      tile_dot_bf16<2, 5, 6>();
    }
  }
}

/// Bias and residual, then out: the rows and columns that exist of 32 by 32 sums.
void write_out(const MatmulArgs& a, std::int64_t row, std::int64_t n, const float* sums) {
  const std::int64_t rows = a.rows - row < 32 ? a.rows - row : 32;
  for (std::int64_t half = 0; half < 32 && n + half < a.n_end; half += 16) {
    const std::int64_t columns = a.n_end - n - half;
    const auto mask = static_cast<__mmask16>(columns < 16 ? (1 << columns) - 1 : 0xFFFF);
    const __m512 bias =
        a.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, a.bias + n + half);
    for (std::int64_t t = 0; t < rows; ++t) {
      const std::int64_t at = (row + t) * a.out_stride + n + half;
      __m512 y = _mm512_add_ps(_mm512_load_ps(sums + t * 32 + half), bias);
      if (a.residual != nullptr) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(mask, a.residual + at));
      _mm512_mask_storeu_ps(a.out + at, mask, y);
    }
  }
}

/// This call's memory: sums of the columns at hand, one more for the last stretch, and the weights' tiles.
struct Scratch {
  float* sums;  ///< [kColumns / 32][pairs of row tiles][32][32]
  float* last;
  std::uint8_t* weights;  ///< [2][kStretch] tiles
};

std::int64_t scratch_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t kept = stretches_of(k / kPanelBlock) > 1 ? kColumns / 32 * pairs_of(rows) : 0;
  return (kept + 1) * kPairFloats * 4 + 2 * kStretch * kTileBytes;
}

template <bool kBoth>
void run_pair(const MatmulArgs& a, const Scratch& scratch, std::int64_t n, float* kept, std::int64_t row,
              std::int64_t begin, std::int64_t end) {
  const std::int64_t blocks = a.k / kPanelBlock;
  const auto* x = static_cast<const std::uint8_t*>(a.x) + row / kRows * blocks * kTileBytes;
  if (begin == 0)
    zero_sums<kBoth>();
  else
    load_sums<kBoth>(kept);
  add_blocks<kBoth>(x + begin * kTileBytes, x + (blocks + begin) * kTileBytes, scratch.weights, end - begin);
  if (end < blocks) {
    store_sums<kBoth>(kept);
  } else {
    store_sums<kBoth>(scratch.last);
    write_out(a, row, n, scratch.last);
  }
}

template <DType kType>
void run(const MatmulArgs& a) {
  const TileConfig config = whole_tiles();
  const TileScope tiles(config);
  const std::int64_t blocks = a.k / kPanelBlock, stretches = stretches_of(blocks);
  const std::int64_t bytes = panel_bytes(panel_format(kType), kRows, a.k);
  Scratch scratch{};
  scratch.last = static_cast<float*>(a.scratch);
  scratch.weights = reinterpret_cast<std::uint8_t*>(scratch.last + kPairFloats);
  scratch.sums = reinterpret_cast<float*>(scratch.weights + 2 * kStretch * kTileBytes);
  for (std::int64_t first = a.n_begin; first < a.n_end; first += kColumns) {
    const std::int64_t last = first + kColumns < a.n_end ? first + kColumns : a.n_end;
    for (std::int64_t s = 0; s < stretches; ++s) {
      const std::int64_t begin = blocks * s / stretches, end = blocks * (s + 1) / stretches;
      for (std::int64_t n = first; n < last; n += 2 * kRows) {
        const auto* panel = static_cast<const std::uint8_t*>(a.weight) + n / kRows * bytes;
        dequantize<kType>(panel, begin, end, scratch.weights);
        if (n + kRows < a.n)
          dequantize<kType>(panel + bytes, begin, end, scratch.weights + (end - begin) * kTileBytes);
        float* kept = scratch.sums + (n - first) / 32 * pairs_of(a.rows) * kPairFloats;
        for (std::int64_t row = 0; row < a.rows; row += 2 * kRows, kept += kPairFloats) {
          if (row + kRows < a.rows)
            run_pair<true>(a, scratch, n, kept, row, begin, end);
          else
            run_pair<false>(a, scratch, n, kept, row, begin, end);
        }
      }
    }
  }
}

template <DType kType>
constexpr MatmulPath kPath = {
    panel_format(kType).bytes ? "amx bf16 tiles, from bytes" : "amx bf16 tiles, from nibbles",
    2 * kRows,
    prepared_bytes,
    prepare,
    kRows,
    scratch_bytes,
    run<kType>};

}  // namespace

void amx_prefill_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulPath& path) { slots.prefill[static_cast<int>(type)] = &path; };
  set(DType::kQ4_0, kPath<DType::kQ4_0>);
  set(DType::kQ4_1, kPath<DType::kQ4_1>);
  set(DType::kQ5_0, kPath<DType::kQ5_0>);
  set(DType::kQ5_1, kPath<DType::kQ5_1>);
  set(DType::kQ8_0, kPath<DType::kQ8_0>);
  set(DType::kQ2_K, kPath<DType::kQ2_K>);
  set(DType::kQ3_K, kPath<DType::kQ3_K>);
  set(DType::kQ4_K, kPath<DType::kQ4_K>);
  set(DType::kQ5_K, kPath<DType::kQ5_K>);
  set(DType::kQ6_K, kPath<DType::kQ6_K>);
}

}  // namespace tw::kernels
