// Generated tokens times quantized weights: a few rows by dot products of bytes, more by tiles of bytes.
//
// A tile of weights is a block of a panel: 8 rows of four k for 16 output rows; a tile of activations is one
// plane of that block for up to 16 rows of the step. Nibbles become bytes, and 16 times themselves in 8 rows
// more: then one tile of activations has both planes, and one product sums them (panels.h, kNarrowBase). Both
// ways make the same integer sums, which are exact, and add them to a row's sums by the same operations in
// the same order: a row's bits do not depend on which way it went.
//
// All panels of a stretch of columns use a stretch of K before the next one: the activations stay in the
// nearest cache, and the weights come once from memory. Tiles are multiplied while the sums of blocks before
// are scaled.
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

/// Weights that are multiplied with both planes at once.
template <DType kType>
constexpr bool kJoined = panel_format(kType).bits == 4 && kParts<kType> == 1;
template <DType kType>
constexpr int kBits = kJoined<kType> ? 4 : 8;

/// This call's memory.
struct Scratch {
  std::int32_t* products;  ///< [kBuffers][parts][planes, if they are not joined][kTileRows][kPanelRows]
  std::uint8_t* weights;   ///< [2] blocks
  float* groups;
};
constexpr std::int64_t kLag = 2;      // blocks from multiplying to scaling
constexpr std::int64_t kBuffers = 4;  // a power of two above kLag
constexpr std::int64_t kProductFloats = kBuffers * 2 * 2 * kSums;

std::int64_t group_floats(std::int64_t k) {
  return k / kPanelBlock * 3 * kTileRows + kPanels * kSums;
}

std::int64_t scratch_bytes(std::int64_t rows, std::int64_t k) {
  std::int64_t groups = (rows + kTileRows - 1) / kTileRows;
  if (groups > kMostGroups) groups = kMostGroups;
  return 4 * kWeightTile + (kProductFloats + groups * group_floats(k)) * 4;
}

template <DType kType>
Group make_group(const MatmulArgs& a, std::int64_t begin, std::int64_t rows, float* memory) {
  const std::int64_t blocks = a.k / kPanelBlock;
  Group g{dot_row<kType>(a, begin).q, activation_row_bytes(a.k), begin, rows, memory, nullptr, nullptr};
  g.sums = g.scales + blocks * kTileRows;
  g.totals = g.sums + blocks * 2 * kTileRows;
  for (std::int64_t r = 0; r < kTileRows; ++r) {
    const DotRow row = dot_row<kType>(a, begin + (r < rows ? r : 0));
    // Dot products of nibbles are kExcess times too large, joined ones are not: a power of two changes no
    // bit.
    constexpr float kFactor = kJoined<kType> ? kExcess<kType> : 1;
    for (std::int64_t i = 0; i < blocks; ++i) g.scales[i * kTileRows + r] = kFactor * row.scales[i];
    if constexpr (!kCentered<kType>) {
      for (std::int64_t i = 0; i < blocks * kParts<kType>; ++i) g.sums[i * kTileRows + r] = row.sums[i];
    }
  }
  return g;
}

/// Tiles 0 to 3: products, two at a time; 4: high, 5: low activations; 6 and 7: weights, in turn. Joined:
/// tiles 0 and 2: products, 4: activations.
template <DType kType>
TileConfig byte_tiles(std::int64_t rows) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    const bool activations = tile == 4 || tile == 5;
    config.row_bytes[tile] = activations && !kJoined<kType> ? kPanelBlock / kParts<kType> : 64;
    config.rows[tile] = tile < 6 ? static_cast<std::uint8_t>(rows) : kJoined<kType> ? 16 : 8 / kParts<kType>;
  }
  return config;
}

/// A matrix for gf2p8affineqb that makes bit i of each byte from its bit from[i], or 0 where that is
/// negative.
constexpr long long bits_from(const int (&from)[8]) {
  unsigned long long matrix = 0;
  for (int i = 0; i < 8; ++i) {
    if (from[i] >= 0) matrix |= 1ULL << from[i] << 8 * (7 - i);
  }
  return static_cast<long long>(matrix);
}

/// Nibbles of 16 rows: first 16 times themselves, then as they are, each in one instruction. Those that have
/// their zero in the middle become signed: their top bit is turned over, and fills the bits above.
template <DType kType>
TW_INLINE void unpack_joined(const std::uint8_t* p, std::uint8_t* tile) {
  constexpr bool kSigned = kCentered<kType>;
  constexpr int kTop = kSigned ? 0x80 : 0, kAbove = kSigned ? 0xF8 : 0, kLow = kSigned ? 3 : -1,
                kHigh = kSigned ? 7 : -1;
  const __m512i low_up = _mm512_set1_epi64(bits_from({-1, -1, -1, -1, 0, 1, 2, 3}));
  const __m512i high_up = _mm512_set1_epi64(bits_from({-1, -1, -1, -1, 4, 5, 6, 7}));
  const __m512i low = _mm512_set1_epi64(bits_from({0, 1, 2, 3, kLow, kLow, kLow, kLow}));
  const __m512i high = _mm512_set1_epi64(bits_from({4, 5, 6, 7, kHigh, kHigh, kHigh, kHigh}));
  for (int j = 0; j < 4; ++j) {
    const __m512i v = _mm512_loadu_si512(p + 64 * j);
    const auto store = [&](int row, __m512i w) { _mm512_store_si512(tile + 64 * row, w); };
    store(j, _mm512_gf2p8affine_epi64_epi8(v, low_up, kTop));
    store(4 + j, _mm512_gf2p8affine_epi64_epi8(v, high_up, kTop));
    store(8 + j, _mm512_gf2p8affine_epi64_epi8(v, low, kAbove));
    store(12 + j, _mm512_gf2p8affine_epi64_epi8(v, high, kAbove));
  }
}

/// A block's weights as bytes that begin at a cache line, since loading rows of a tile across lines is slow.
/// Numbers that have their zero in the middle become signed (and then kExcess times themselves).
template <DType kType>
TW_INLINE void unpack_tile(const std::uint8_t* p, std::uint8_t* tile) {
  if constexpr (kJoined<kType>) return unpack_joined<kType>(p, tile);
  __m512i w[8];
  if constexpr (panel_format(kType).bits == 8)
    for (int j = 0; j < 8; ++j) w[j] = _mm512_loadu_si512(p + 64 * j);
  else
    unpack<kType>(p, w);
  for (int j = 0; j < 8; ++j) {
    if constexpr (kCentered<kType> && panel_format(kType).bits < 8)
      w[j] = _mm512_xor_si512(w[j], _mm512_set1_epi8(-128));
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

/// Products of part h of a block with both planes, in tiles kC and kC + 1; joined in kC alone.
template <DType kType, int h, int kC>
TW_INLINE void multiply_part(const Group& g, const std::uint8_t* weights, std::int64_t block) {
  constexpr int kB = 6 + kC / 2;
  const std::int8_t* q = g.q + block * 2 * kPanelBlock + 16 * h;
  tile_load<kB>(weights + 256 * h, 64);
  tile_load<4>(q, g.stride);
  tile_zero<kC>();
  tile_dot<kType, kC, 4, kB>();
  if constexpr (kJoined<kType>) return;
  tile_load<5>(q + kPanelBlock, g.stride);
  tile_zero<kC + 1>();
  tile_dot<kType, kC + 1, 5, kB>();
}
template <DType kType, int kC>
TW_INLINE void store_part(std::int32_t* products) {
  tile_store<kC>(products, 64);
  if constexpr (!kJoined<kType>) tile_store<kC + 1>(products + kSums, 64);
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

/// Adds a block's products to the sums of kRows rows. Meanwhile a block's lines at `ask` are asked for, not
/// all at once: there are only so many places to wait in.
template <DType kType, int kRows>
TW_INLINE void scale_block(const Group& g, const PanelScales& s, std::int64_t block,
                           const std::int32_t* products, const std::uint8_t* ask, __m512* sum) {
  constexpr int kHalves = kParts<kType>;
  constexpr int kLines = (Panel<kType>::kBlock + 63) / 64;
  repeat<kRows>([&](auto t) {
    for (int line = t.value * kLines / kRows; line < (t.value + 1) * kLines / kRows; ++line)
      _mm_prefetch(reinterpret_cast<const char*>(ask + line * 64), _MM_HINT_T1);
    __m512i whole[2];
    for (int h = 0; h < kHalves; ++h) {
      const std::int32_t* high = products + 2 * h * kSums + t.value * kPanelRows;
      whole[h] = _mm512_load_si512(high);
      if constexpr (!kJoined<kType>)
        whole[h] = _mm512_add_epi32(_mm512_slli_epi32(whole[h], 8), _mm512_load_si512(high + kSums));
    }
    sum[t.value] = add_block<kType, kTileRows>(sum[t.value], whole, s, g.scales[block * kTileRows + t.value],
                                               g.sums + block * kHalves * kTileRows + t.value);
  });
}

/// Where the products of a block's part and its unpacked weights are kept meanwhile.
template <DType kType>
TW_INLINE std::int32_t* products_of(const Scratch& scratch, std::int64_t block, int h) {
  return scratch.products + (block % kBuffers * kParts<kType> + h) * (2 * kSums);
}
template <DType kType>
TW_INLINE void unpack_block(const Scratch& scratch, const std::uint8_t* panel, std::int64_t block) {
  using P = Panel<kType>;
  unpack_tile<kType>(panel + P::block_at(block) + P::kScale, scratch.weights + block % 2 * (2 * kWeightTile));
}

/// A stretch: blocks [begin, end) of a panel, while the same blocks `ahead` bytes on are asked for.
struct Stretch {
  const std::uint8_t* panel;
  std::int64_t ahead, begin, end;
};

/// Multiplies a block into tiles kC and kC + 1 (its second half into the two others), then stores the
/// products before these: storing tiles that are still multiplied would hold up all that follows. At the end
/// there are only those to store.
template <DType kType, int kC>
TW_INLINE void multiply_block(const Group& g, const Scratch& scratch, const Stretch& s, std::int64_t block) {
  constexpr int kOther = kC ^ 2;
  if (block < s.end) {
    if (block + 1 < s.end) unpack_block<kType>(scratch, s.panel, block + 1);
    multiply_part<kType, 0, kC>(g, scratch.weights + block % 2 * (2 * kWeightTile), block);
  }
  if (block > s.begin && block <= s.end)
    store_part<kType, kOther>(products_of<kType>(scratch, block - 1, kParts<kType> - 1));
  if constexpr (kParts<kType> == 2) {
    if (block >= s.end) return;
    multiply_part<kType, 1, kOther>(g, scratch.weights + block % 2 * (2 * kWeightTile), block);
    store_part<kType, kC>(products_of<kType>(scratch, block, 0));
  }
}

/// A stretch times a group. A block is scaled kLag blocks after it was multiplied.
template <DType kType, int kRows>
void multiply_stretch(const Group& g, const Scratch& scratch, const Stretch& s, float* totals) {
  using P = Panel<kType>;
  __m512 sum[kRows];
  repeat<kRows>([&](auto t) {
    sum[t.value] = s.begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(totals + t.value * kPanelRows);
  });
  const auto scale = [&](std::int64_t block) __attribute__((always_inline)) {
    if (block >= s.begin && block < s.end)
      scale_block<kType, kRows>(g, P::scales(s.panel, block), block, products_of<kType>(scratch, block, 0),
                                s.panel + P::block_at(block) + s.ahead, sum);
  };
  constexpr int kSecond = kParts<kType> == 2 ? 0 : 2;
  unpack_block<kType>(scratch, s.panel, s.begin);
  for (std::int64_t block = s.begin; block < s.end + kLag; block += 2) {
    multiply_block<kType, 0>(g, scratch, s, block);
    scale(block - kLag);
    multiply_block<kType, kSecond>(g, scratch, s, block + 1);
    scale(block + 1 - kLag);
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
    const Stretch stretch = {panel, bytes, begin, end};
    float* totals = g.totals + (n - first) / kPanelRows * kSums;
    if (g.rows > 8)
      multiply_stretch<kType, 16>(g, scratch, stretch, totals);
    else
      multiply_stretch<kType, 8>(g, scratch, stretch, totals);
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
  if (a.rows <= kMostDots) return run_dots<kType, kBits<kType>>(a, 0);
  Scratch scratch{};
  scratch.weights = static_cast<std::uint8_t*>(a.scratch);
  scratch.products = reinterpret_cast<std::int32_t*>(scratch.weights + 4 * kWeightTile);
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
      if (rest) run_dots<kType, kBits<kType>>(columns, row);
    }
    if (rest) break;
  }
}

constexpr const char* kNames[] = {"amx int8 tiles, from bytes", "amx int8 tiles, from nibbles",
                                  "amx int8 tiles, from bits"};

template <DType kType>
constexpr MatmulKernel kKernel = {
    kPanelRows,
    packed_bytes_16,
    pack_16,
    {kNames[name_of(panel_format(kType))], kPanelRows, prepared_rows_bytes,
     prepare<kJoined<kType> ? Planes::kNarrow : Planes::kWide>, 1, scratch_bytes, run<kType>}};

}  // namespace

void amx_decode_slots(KernelSlots& slots) {
  for_panel_types([&]<DType kType>() { slots.matmul[static_cast<int>(kType)] = &kKernel<kType>; });
}

}  // namespace tw::kernels
