// Generated tokens times quantized weights: a few rows by dot products of bytes, more by tiles of bytes.
//
// A tile of weights is a block of a panel: 8 rows of four k for 16 output rows, unpacked to bytes if they are
// nibbles; a tile of activations is one plane of that block for up to 16 rows of the step. Both ways make the
// same integer sums, which are exact, and add them to a row's sums by the same operations in the same order:
// a row's bits do not depend on which way it went.
//
// All panels of a stretch of columns use a stretch of K before the next one: the activations stay in the
// nearest cache, and the weights come once from memory. The tiles of a block are multiplied while the sums of
// the block before are scaled.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/int8_tiles.h"
#include "kernels/amx/tiles.h"
#include "kernels/args.h"
#include "kernels/avx512vnni/panel_dot.h"
#include "kernels/pack.h"
#include "kernels/panel_prepare.h"
#include "kernels/panels.h"

namespace tw::kernels {
namespace {

constexpr int kTileRows = 16;
constexpr std::int64_t kMostDots = 4;  // rows that dot products are faster for
constexpr std::int64_t kStretch = 16;  // blocks of K: 16 KiB of activations
constexpr std::int64_t kPanels = 16;   // whose sums are kept at a time
constexpr std::int64_t kMostGroups = 4;
constexpr std::int64_t kSums = kTileRows * kPanelRows;          // of one panel
constexpr std::int64_t kWeightTile = kPanelBlock * kPanelRows;  // bytes

/// Rows [begin, begin + rows) of a step, at most kTileRows, and their numbers by block.
struct Group {
  const std::int8_t* q;
  std::int64_t stride;  ///< from row to row of q
  std::int64_t begin, rows;
  float* scales;  ///< [K/32][kTileRows]
  float* sums;    ///< [K/32][parts][kTileRows]
  float* totals;  ///< [kPanels][kTileRows][kPanelRows]
};

/// This call's memory.
struct Scratch {
  std::int32_t* products;  ///< [2][parts][planes][kTileRows][kPanelRows]
  std::uint8_t* weights;   ///< [2] tiles
  float* groups;
};
constexpr std::int64_t kProductFloats = 2 * 2 * 2 * kSums;

std::int64_t group_floats(std::int64_t k) {
  return k / kPanelBlock * 3 * kTileRows + kPanels * kSums;
}

std::int64_t scratch_bytes(std::int64_t rows, std::int64_t k) {
  std::int64_t groups = (rows + kTileRows - 1) / kTileRows;
  if (groups > kMostGroups) groups = kMostGroups;
  return 2 * kWeightTile + (kProductFloats + groups * group_floats(k)) * 4;
}

template <DType kType>
Group make_group(const MatmulArgs& a, std::int64_t begin, std::int64_t rows, float* memory) {
  const std::int64_t blocks = a.k / kPanelBlock;
  Group g{dot_row<kType>(a, begin).q, activation_row_bytes(a.k), begin, rows, memory, nullptr, nullptr};
  g.sums = g.scales + blocks * kTileRows;
  g.totals = g.sums + blocks * 2 * kTileRows;
  for (std::int64_t r = 0; r < kTileRows; ++r) {
    const DotRow row = dot_row<kType>(a, begin + (r < rows ? r : 0));
    for (std::int64_t i = 0; i < blocks; ++i) g.scales[i * kTileRows + r] = row.scales[i];
    if constexpr (!kCentered<kType>) {
      for (std::int64_t i = 0; i < blocks * kParts<kType>; ++i) g.sums[i * kTileRows + r] = row.sums[i];
    }
  }
  return g;
}

/// Tiles 0 to 3: products; 4: high, 5: low activations; 6 and 7: weights.
template <DType kType>
TileConfig byte_tiles(std::int64_t rows) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = tile == 4 || tile == 5 ? kPanelBlock / kParts<kType> : 64;
    config.rows[tile] = tile < 6 ? static_cast<std::uint8_t>(rows) : 8 / kParts<kType>;
  }
  return config;
}

/// Nibbles as bytes, signed if they have their zero in the middle (then 16 times themselves).
template <DType kType>
TW_INLINE void unpack_tile(const std::uint8_t* p, std::uint8_t* tile) {
  __m512i w[8];
  unpack_nibbles<kType>(p, w);
  for (int j = 0; j < 8; ++j) {
    if constexpr (kCentered<kType>) w[j] = _mm512_xor_si512(w[j], _mm512_set1_epi8(-128));
    _mm512_store_si512(tile + 64 * j, w[j]);
  }
}

template <DType kType, int kC, int kA, int kB>
TW_INLINE void tile_dot() {
  if constexpr (kCentered<kType>)
    tile_dot_ss<kC, kA, kB>();
  else
    tile_dot_su<kC, kA, kB>();
}

/// Products of part h of a block with both planes.
template <DType kType, int h>
TW_INLINE void multiply_part(const Group& g, const std::uint8_t* weights, std::int64_t block,
                             std::int32_t* products) {
  const std::int8_t* q = g.q + block * 2 * kPanelBlock + 16 * h;
  tile_load<6 + h>(weights + 256 * h, 64);
  tile_load<4>(q, g.stride);
  tile_load<5>(q + kPanelBlock, g.stride);
  tile_zero<2 * h>();
  tile_zero<2 * h + 1>();
  tile_dot<kType, 2 * h, 4, 6 + h>();
  tile_dot<kType, 2 * h + 1, 5, 6 + h>();
  tile_store<2 * h>(products + 2 * h * kSums, 64);
  tile_store<2 * h + 1>(products + (2 * h + 1) * kSums, 64);
}

template <DType kType>
struct Panel {
  static constexpr PanelFormat f = panel_format(kType);
  static constexpr std::int64_t kHeader = panel_header_bytes(f, kPanelRows);
  static constexpr std::int64_t kScale = panel_scale_bytes(f, kPanelRows);
  static constexpr std::int64_t kBlock = kScale + panel_weight_bytes(f, kPanelRows);
  static std::int64_t block_at(std::int64_t block) {
    return block * kBlock + (f.super ? (block / 8 + 1) * kHeader : 0);
  }
  static PanelScales scales(const std::uint8_t* panel, std::int64_t block) {
    const std::uint8_t* p = panel + block_at(block);
    __m512 d = _mm512_setzero_ps(), dmin = d;
    if constexpr (f.super) {
      const std::uint8_t* header = p - block % 8 * kBlock - kHeader;
      d = floats_of_halves(header);
      if constexpr (f.minimums) dmin = floats_of_halves(header + 2 * kPanelRows);
    }
    return panel_scales<kType>(p, d, dmin);
  }
};

/// Adds a block's products to the sums of kRows rows.
template <DType kType, int kRows>
TW_INLINE void scale_block(const Group& g, const PanelScales& s, std::int64_t block,
                           const std::int32_t* products, __m512* sum) {
  constexpr int kHalves = kParts<kType>;
  repeat<kRows>([&](auto t) {
    __m512i whole[2];
    for (int h = 0; h < kHalves; ++h) {
      const std::int32_t* high = products + 2 * h * kSums + t.value * kPanelRows;
      whole[h] =
          _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(high), 8), _mm512_load_si512(high + kSums));
    }
    sum[t.value] = add_block<kType, kTileRows>(sum[t.value], whole, s, g.scales[block * kTileRows + t.value],
                                               g.sums + block * kHalves * kTileRows + t.value);
  });
}

/// Blocks [begin, end) of a panel times a group, asking for the same blocks of the panel `ahead` bytes on.
template <DType kType, int kRows>
void multiply_stretch(const Group& g, const Scratch& scratch, const std::uint8_t* panel, std::int64_t ahead,
                      std::int64_t begin, std::int64_t end, float* totals) {
  using P = Panel<kType>;
  constexpr std::int64_t kBuffer = kProductFloats / 2;
  __m512 sum[kRows];
  repeat<kRows>([&](auto t) {
    sum[t.value] = begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(totals + t.value * kPanelRows);
  });
  if constexpr (!P::f.bytes) unpack_tile<kType>(panel + P::block_at(begin) + P::kScale, scratch.weights);
  for (std::int64_t block = begin; block <= end; ++block) {
    const std::int64_t parity = block & 1;
    if (block < end) {
      const std::uint8_t* p = panel + P::block_at(block);
      for (std::int64_t i = 0; i < P::kBlock; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(p + ahead + i), _MM_HINT_T0);
      const std::uint8_t* weights = p + P::kScale;
      if constexpr (!P::f.bytes) {
        weights = scratch.weights + ((block - begin) & 1) * kWeightTile;
        if (block + 1 < end)
          unpack_tile<kType>(panel + P::block_at(block + 1) + P::kScale,
                             scratch.weights + ((block + 1 - begin) & 1) * kWeightTile);
      }
      multiply_part<kType, 0>(g, weights, block, scratch.products + parity * kBuffer);
      if constexpr (kParts<kType> == 2)
        multiply_part<kType, 1>(g, weights, block, scratch.products + parity * kBuffer);
    }
    if (block > begin)
      scale_block<kType, kRows>(g, P::scales(panel, block - 1), block - 1,
                                scratch.products + (1 - parity) * kBuffer, sum);
  }
  repeat<kRows>([&](auto t) { _mm512_store_ps(totals + t.value * kPanelRows, sum[t.value]); });
}

template <DType kType>
void write_panel(const MatmulArgs& a, const Group& g, std::int64_t n, const float* totals) {
  for (std::int64_t t = 0; t < g.rows; ++t)
    store_panel(a, g.begin + t, n,
                _mm512_mul_ps(_mm512_load_ps(totals + t * kPanelRows), _mm512_set1_ps(1 / kExcess<kType>)));
}

/// Panels of columns [first, last) times one group, a stretch of K.
template <DType kType>
void multiply_panels(const MatmulArgs& a, const Group& g, const Scratch& scratch, std::int64_t first,
                     std::int64_t last, std::int64_t begin, std::int64_t end) {
  const TileConfig config = byte_tiles<kType>(g.rows);
  const TileScope tiles(config);
  const std::int64_t bytes = panel_bytes(panel_format(kType), kPanelRows, a.k);
  for (std::int64_t n = first; n < last; n += kPanelRows) {
    const auto* panel = static_cast<const std::uint8_t*>(a.weight) + n / kPanelRows * bytes;
    float* totals = g.totals + (n - first) / kPanelRows * kSums;
    if (g.rows > 8)
      multiply_stretch<kType, 16>(g, scratch, panel, bytes, begin, end, totals);
    else
      multiply_stretch<kType, 8>(g, scratch, panel, bytes, begin, end, totals);
    if (end == a.k / kPanelBlock) write_panel<kType>(a, g, n, totals);
  }
}

/// Columns [first, last): all rows but those that are left to dot products.
template <DType kType>
void multiply_columns(const MatmulArgs& a, const Group* groups, int count, const Scratch& scratch,
                      std::int64_t first, std::int64_t last) {
  const std::int64_t blocks = a.k / kPanelBlock;
  for (std::int64_t begin = 0; begin < blocks; begin += kStretch) {
    const std::int64_t end = begin + kStretch < blocks ? begin + kStretch : blocks;
    for (int g = 0; g < count; ++g) multiply_panels<kType>(a, groups[g], scratch, first, last, begin, end);
  }
}

template <DType kType>
void run(const MatmulArgs& a) {
  if (a.rows <= kMostDots) return run_dots<kType>(a, 0);
  Scratch scratch{};
  scratch.weights = static_cast<std::uint8_t*>(a.scratch);
  scratch.products = reinterpret_cast<std::int32_t*>(scratch.weights + 2 * kWeightTile);
  scratch.groups = reinterpret_cast<float*>(scratch.products + kProductFloats);
  for (std::int64_t row = 0; row < a.rows;) {
    Group groups[kMostGroups];
    int count = 0;
    for (; count < kMostGroups && a.rows - row > kMostDots; ++count) {
      const std::int64_t rows = a.rows - row < kTileRows ? a.rows - row : kTileRows;
      groups[count] = make_group<kType>(a, row, rows, scratch.groups + count * group_floats(a.k));
      row += rows;
    }
    const bool rest = a.rows - row <= kMostDots && row < a.rows;
    for (std::int64_t first = a.n_begin; first < a.n_end; first += kPanels * kPanelRows) {
      MatmulArgs columns = a;
      columns.n_begin = first;
      if (first + kPanels * kPanelRows < a.n_end) columns.n_end = first + kPanels * kPanelRows;
      multiply_columns<kType>(columns, groups, count, scratch, columns.n_begin, columns.n_end);
      if (rest) run_dots<kType>(columns, row);
    }
    if (rest) break;
  }
}

template <DType kType>
constexpr MatmulKernel kKernel = {
    kPanelRows,
    packed_bytes_16,
    pack_16,
    {panel_format(kType).bytes ? "amx int8 tiles, from bytes" : "amx int8 tiles, from nibbles", kPanelRows,
     prepared_rows_bytes, prepare<true>, 1, scratch_bytes, run<kType>}};

}  // namespace

void amx_decode_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulKernel& kernel) {
    slots.matmul[static_cast<int>(type)] = &kernel;
  };
  set(DType::kQ4_0, kKernel<DType::kQ4_0>);
  set(DType::kQ4_1, kKernel<DType::kQ4_1>);
  set(DType::kQ5_0, kKernel<DType::kQ5_0>);
  set(DType::kQ5_1, kKernel<DType::kQ5_1>);
  set(DType::kQ8_0, kKernel<DType::kQ8_0>);
  set(DType::kQ2_K, kKernel<DType::kQ2_K>);
  set(DType::kQ3_K, kKernel<DType::kQ3_K>);
  set(DType::kQ4_K, kKernel<DType::kQ4_K>);
  set(DType::kQ5_K, kKernel<DType::kQ5_K>);
  set(DType::kQ6_K, kKernel<DType::kQ6_K>);
}

}  // namespace tw::kernels
