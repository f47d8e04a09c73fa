// Prompts times quantized weights, both rounded to bytes: twice the products of bf16 tiles, for whoever asks
// for it. A row of activations has a scale for each stretch of K, and so has an output row of weights; sums
// over a stretch are exact. What leaves a gated product is bf16.
#include <immintrin.h>

#include <cstdint>

#include "kernels/amx/amx.h"
#include "kernels/amx/int8_weights.h"
#include "kernels/amx/prompt_product.h"

namespace tw::kernels {
namespace {

std::int64_t byte_tiles_of(std::int64_t k) {
  return (k + kTileColumns - 1) / kTileColumns;
}

/// Bytes of 32 prepared rows: two rows of tiles, then scales [stretch][32].
std::int64_t byte_pair_bytes(std::int64_t k) {
  const std::int64_t tiles = byte_tiles_of(k);
  return 2 * tiles * kTileBytes + stretches_of(tiles) * 2 * kRows * 4;
}

std::int64_t prepared_byte_rows(std::int64_t rows, std::int64_t k) {
  return pairs_of(rows) * byte_pair_bytes(k);
}

/// Numbers x[begin, end) of a row of k, those past it zero, are rounded to 64 bytes a tile. Returns their
/// scale: NaN if one is infinite or none.
float round_stretch(const float* x, std::int64_t begin, std::int64_t end, std::int64_t k, std::uint8_t* out) {
  __m512 largest = _mm512_setzero_ps(), damage = _mm512_setzero_ps();
  for (std::int64_t i = begin; i < end; i += kRows) {
    const __m512 v = _mm512_maskz_loadu_ps(lanes(k - i), x + i);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(v));
    damage = _mm512_add_ps(damage, _mm512_sub_ps(v, v));
  }
  const float top = _mm512_reduce_max_ps(largest);
  const __m512 inverse = _mm512_set1_ps(top > 0 ? 127 / top : 0);
  for (std::int64_t i = begin; i < end; i += kTileColumns, out += kTileBytes) {
    for (int part = 0; part < 4; ++part) {
      const std::int64_t at = i + part * kRows;
      const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(k - at), x + at), inverse);
      _mm_store_si128(reinterpret_cast<__m128i*>(out + part * kRows),
                      _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)));
    }
  }
  return top / 127 + _mm512_reduce_add_ps(damage);
}

/// Rows of the last tiles that are not there are zero.
void prepare_bytes(const PrepareArgs& a) {
  const std::int64_t tiles = byte_tiles_of(a.k), stretches = stretches_of(tiles);
  for (std::int64_t row = a.row_begin; row < (a.row_end + 31) / 32 * 32; ++row) {
    auto* const pair = static_cast<std::uint8_t*>(a.prepared) + row / 32 * byte_pair_bytes(a.k);
    std::uint8_t* const out = pair + row % 32 / kRows * tiles * kTileBytes + row % kRows * 64;
    auto* const scales = reinterpret_cast<float*>(pair + 2 * tiles * kTileBytes) + row % 32;
    for (std::int64_t s = 0; s < stretches; ++s) {
      const std::int64_t begin = tiles * s / stretches, end = tiles * (s + 1) / stretches;
      if (row < a.row_end) {
        scales[s * 32] = round_stretch(a.x + row * a.x_stride, begin * kTileColumns, end * kTileColumns, a.k,
                                       out + begin * kTileBytes);
        continue;
      }
      scales[s * 32] = 0;
      for (std::int64_t tile = begin; tile < end; ++tile)
        _mm512_store_si512(out + tile * kTileBytes, _mm512_setzero_si512());
    }
  }
}

std::int64_t byte_scratch_bytes(std::int64_t rows, std::int64_t k) {
  return few_scratch_bytes(rows, byte_tiles_of(k));
}

Activations byte_activations(const void* x, std::int64_t rows, std::int64_t k) {
  return {static_cast<const std::uint8_t*>(x), rows, byte_tiles_of(k), byte_pair_bytes(k)};
}

template <typename Weights>
void run(const MatmulArgs& a) {
  run_panels<Weights, true>(a, byte_activations(a.x, a.rows, a.k));
}

template <typename Weights>
void run_gated(const GatedMatmulArgs& a) {
  run_gated_panels<Weights, true>(a, byte_activations(a.x, a.rows, a.k));
}

template <DType kType>
constexpr MatmulPath kPath = {"amx int8 tiles, rounded",
                              2 * kRows,
                              prepared_byte_rows,
                              prepare_bytes,
                              2 * kRows,
                              byte_scratch_bytes,
                              run<ByteWeights<kType>>,
                              run_gated<ByteWeights<kType>>};

}  // namespace

void amx_int8_prefill_slots(KernelSlots& slots) {
  for_panel_types([&]<DType kType>() { slots.int8_prefill[static_cast<int>(kType)] = &kPath<kType>; });
}

}  // namespace tw::kernels
