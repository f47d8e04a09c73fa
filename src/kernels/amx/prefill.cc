// Prompts times weights by bf16 tiles (bf16_product.h): quantized weights are made bf16 a stretch at a time,
// or for many rows a group of panels. F32 weights stay fp32.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_palette.h"
#include "kernels/amx/bf16_product.h"
#include "kernels/amx/bf16_rows.h"
#include "kernels/amx/bf16_weights.h"
#include "kernels/amx/prompt_product.h"
#include "kernels/amx/sides_product.h"

namespace tw::kernels {
namespace {

/// Of more than kRowsAtOnce rows: sums, and the tiles of a group of panels.
std::int64_t scratch_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t blocks = blocks_of(k), few = few_scratch_bytes(rows, blocks);
  if (rows <= kRowsAtOnce) return few;
  const std::int64_t many = kSumBytes + pairs_at_once(blocks) * 2 * blocks * kTileBytes;
  return few > many ? few : many;  // a gated product takes its rows kRowsAtOnce at a time
}

Activations activations(const void* x, std::int64_t rows, std::int64_t k) {
  const std::int64_t blocks = blocks_of(k);
  return {static_cast<const std::uint8_t*>(x), rows, blocks, bf16_pair_bytes(blocks)};
}

/// More than kRowsAtOnce rows, which training has: tiles are made of a group of panels, once, and all rows
/// meet them in the second cache. Sums are added in the same order.
template <typename Weights, typename Out>
void run_many(const MatmulArgs& a, const Out& out) {
  const TileConfig config = whole_tiles();
  const TileScope scope(config);
  const Weights weights(a.weight, a.n, a.k);
  const std::int64_t blocks = blocks_of(a.k);
  auto* const room = static_cast<std::uint8_t*>(a.scratch) + kSumBytes;
  const auto tiles_of_group = [&](std::int64_t first, std::int64_t last) {
    std::uint8_t* to = room;
    for (std::int64_t panel = 2 * first; panel < 2 * last && kRows * panel < a.n; ++panel) {
      weights.tiles(panel, 0, blocks, to);
      to += blocks * kTileBytes;
    }
    return Right{room, first, 0, blocks};
  };
  run_groups(a, {0, blocks, stretches_of(blocks)}, tiles_of_group, out);
}

template <typename Weights>
void run_rounded(const MatmulArgs& a, void* side) {
  run_many<Weights>(a, [&](std::int64_t i, std::int64_t row) { return LeftRows(a, side, row, i); });
}

template <typename Weights>
void run(const MatmulArgs& a) {
  if (a.rows > kRowsAtOnce)
    return run_many<Weights>(a,
                             [&](std::int64_t i, std::int64_t row) { return OutRows(a, row, 32 * i, true); });
  run_panels<Weights, false>(a, activations(a.x, a.rows, a.k));
}

template <typename Weights>
void run_gated(const GatedMatmulArgs& a) {
  run_gated_panels<Weights, false>(a, activations(a.x, a.rows, a.k));
}

template <typename Weights>
constexpr MatmulPath path(const char* name) {
  return {name,          2 * kRows,    prepared_bytes,     prepare, kRows,
          scratch_bytes, run<Weights>, run_gated<Weights>, true,    run_rounded<Weights>};
}

constexpr const char* kNames[] = {"amx bf16 tiles, from bytes", "amx bf16 tiles, from nibbles",
                                  "amx bf16 tiles, from bits"};
template <DType kType>
constexpr MatmulPath kPath = path<PanelWeights<kType>>(kNames[name_of(panel_format(kType))]);
template <int kBits>
constexpr MatmulPath kPalettePath = path<PaletteWeights<kBits>>("amx bf16 tiles, from palettes");
constexpr MatmulPath kBF16 = path<RowWeights<DType::kBF16>>("amx bf16 tiles");
constexpr MatmulPath kF16 = path<RowWeights<DType::kF16>>("amx bf16 tiles, from fp16");

}  // namespace

void amx_prefill_slots(KernelSlots& slots) {
  const auto set = [&](DType type, const MatmulPath& path) { slots.prefill[static_cast<int>(type)] = &path; };
  set(DType::kBF16, kBF16);
  set(DType::kF16, kF16);
  for_panel_types([&]<DType kType>() { slots.prefill[static_cast<int>(kType)] = &kPath<kType>; });
  set(DType::kPalette4, kPalettePath<4>);
  set(DType::kPalette2, kPalettePath<2>);
}

}  // namespace tw::kernels
