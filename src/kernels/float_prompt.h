// Products of many rows with F32, F16 and BF16 weights that lie in rows as in the file, in fp32: prompts, and
// training where there are no tiles. Once for all vector widths; needs AVX2 and F16C for the transposing.
// Everything is internal to the including file, which brings a vector policy V:
//   kLanes         fp32 numbers of a vector
//   kTileRows      activation rows that share what is loaded of the weights; twice as many sums fit the
//   registers Floats         the vector type, with zeros, load, store, all, add, fma and in_register
//
//   for every kPromptRows activation rows
//     for every kStrips strips of 2 vectors of outputs               sums: [strip][row], in the second cache
//       for every kDeep of K: the weights, transposed                kDeep x 2 vectors a strip: in the
//       nearest cache
//         for every strip, for every kTileRows rows                  the rows' kDeep numbers lie in the
//         second cache
//           for every k: 2 vectors of weights times a number of each row
//
// The stretches of K are cut where they are for any number of rows and outputs, and each output has one sum
// in each: its bits depend on its row and its weights alone. The order of the loops follows Goto and van de
// Geijn, "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34, 2008).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/args.h"
#include "kernels/repeat.h"

namespace tw::kernels {
namespace {

constexpr std::int64_t kPromptRows = 192;

template <DType kType>
constexpr int kFloatBytes = kType == DType::kF32 ? 4 : 2;

/// Eight numbers as fp32.
template <DType kType>
__m256 load_eight(const std::uint8_t* p) {
  if constexpr (kType == DType::kF32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  } else {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    if constexpr (kType == DType::kF16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
}

/// The first `count` numbers, at most 8, and zeros behind them.
template <DType kType>
__m256 load_some(const std::uint8_t* p, std::int64_t count) {
  if (count >= 8) return load_eight<kType>(p);
  alignas(32) std::uint8_t buffer[8 * kFloatBytes<kType>] = {};
  for (std::int64_t i = 0; i < count * kFloatBytes<kType>; ++i) buffer[i] = p[i];
  return load_eight<kType>(buffer);
}

/// Row i of v becomes lane i of each.
inline void transpose_eight(__m256* v) {
  __m256 pairs[8], fours[8];
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
    pairs[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
      fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xEE);
    }
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
    v[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
  }
}

template <typename V>
struct FloatPrompt {
  static constexpr std::int64_t kWidth = 2 * V::kLanes;  ///< outputs of a strip
  static constexpr std::int64_t kStrips = 64 / kWidth;
  static constexpr std::int64_t kDeep = 2048 / V::kLanes;
  using Strip = float[kDeep][kWidth];

  /// A worker's own.
  struct Scratch {
    alignas(64) Strip weights[kStrips];
    alignas(64) float sums[kStrips][kPromptRows][kWidth];
  };
  static std::int64_t scratch_bytes(std::int64_t, std::int64_t) { return sizeof(Scratch); }

  /// Numbers [0, count) of `columns` weight rows that begin at w, a number's row after the other; zeros where
  /// there are fewer than kWidth of them.
  template <DType kType>
  static void transpose(const std::uint8_t* w, std::int64_t row_bytes, std::int64_t columns,
                        std::int64_t count, Strip& out) {
    for (std::int64_t k = 0; k < count; k += 8) {
      for (std::int64_t n = 0; n < kWidth; n += 8) {
        __m256 v[8];
        for (int i = 0; i < 8; ++i) {
          const std::uint8_t* p = w + (n + i) * row_bytes + k * kFloatBytes<kType>;
          v[i] = n + i < columns ? load_some<kType>(p, count - k) : _mm256_setzero_ps();
        }
        transpose_eight(v);
        for (int i = 0; i < 8; ++i) _mm256_store_ps(&out[k + i][n], v[i]);
      }
    }
  }

  /// Adds what `count` numbers of kCount rows make, or begins their sums with it.
  template <int kCount>
  static void multiply(const Strip& w, const float* x, std::int64_t stride, std::int64_t count, bool first,
                       float (*sums)[kWidth]) {
    typename V::Floats sum[kCount][2];
    repeat<kCount>([&](auto r) { sum[r.value][0] = sum[r.value][1] = V::zeros(); });
    for (std::int64_t k = 0; k < count; ++k) {
      const typename V::Floats left = V::in_register(V::load(w[k])),
                               right = V::in_register(V::load(w[k] + V::kLanes));
      repeat<kCount>([&](auto r) {
        const typename V::Floats value = V::all(x[r.value * stride + k]);
        sum[r.value][0] = V::fma(value, left, sum[r.value][0]);
        sum[r.value][1] = V::fma(value, right, sum[r.value][1]);
      });
    }
    repeat<kCount>([&](auto r) {
      for (int i = 0; i < 2; ++i) {
        float* p = sums[r.value] + i * V::kLanes;
        V::store(p, first ? sum[r.value][i] : V::add(V::load(p), sum[r.value][i]));
      }
    });
  }

  /// Rows [0, rows), of which fewer than kTileRows are left over.
  template <int kCount>
  static void multiply_rows(const Strip& w, const float* x, std::int64_t stride, std::int64_t count,
                            bool first, float (*sums)[kWidth], std::int64_t rows) {
    for (; rows >= kCount; rows -= kCount, x += kCount * stride, sums += kCount)
      multiply<kCount>(w, x, stride, count, first, sums);
    if constexpr (kCount > 1) multiply_rows<(kCount + 1) / 2>(w, x, stride, count, first, sums, rows);
  }

  /// Bias and residual, then out: columns [n, n + columns) of a row.
  static void store(const MatmulArgs& a, std::int64_t t, std::int64_t n, std::int64_t columns,
                    const float* sums) {
    float* out = a.out + t * a.out_stride + n;
    const float* residual = a.residual == nullptr ? nullptr : a.residual + t * a.out_stride + n;
    if (columns == kWidth) {
      for (int i = 0; i < kWidth; i += V::kLanes) {
        typename V::Floats y = V::load(sums + i);
        if (a.bias != nullptr) y = V::add(y, V::load(a.bias + n + i));
        if (residual != nullptr) y = V::add(y, V::load(residual + i));
        V::store(out + i, y);
      }
      return;
    }
    for (std::int64_t i = 0; i < columns; ++i) {
      float y = sums[i];
      if (a.bias != nullptr) y += a.bias[n + i];
      if (residual != nullptr) y += residual[i];
      out[i] = y;
    }
  }

  template <DType kType>
  static void run(const MatmulArgs& a) {
    auto& scratch = *static_cast<Scratch*>(a.scratch);
    const auto* weight = static_cast<const std::uint8_t*>(a.weight);
    const std::int64_t row_bytes = a.k * kFloatBytes<kType>;
    for (std::int64_t t = 0; t < a.rows; t += kPromptRows) {
      const std::int64_t rows = a.rows - t < kPromptRows ? a.rows - t : kPromptRows;
      const float* x = static_cast<const float*>(a.x) + t * a.k;
      for (std::int64_t n = a.n_begin; n < a.n_end; n += kStrips * kWidth) {
        const std::int64_t columns = a.n_end - n < kStrips * kWidth ? a.n_end - n : kStrips * kWidth;
        for (std::int64_t k = 0; k < a.k; k += kDeep) {
          const std::int64_t count = a.k - k < kDeep ? a.k - k : kDeep;
          for (std::int64_t c = 0; c < columns; c += kWidth) {
            Strip& strip = scratch.weights[c / kWidth];
            transpose<kType>(weight + (n + c) * row_bytes + k * kFloatBytes<kType>, row_bytes, columns - c,
                             count, strip);
            multiply_rows<V::kTileRows>(strip, x + k, a.k, count, k == 0, scratch.sums[c / kWidth], rows);
          }
        }
        for (std::int64_t row = 0; row < rows; ++row) {
          for (std::int64_t c = 0; c < columns; c += kWidth) {
            const std::int64_t some = columns - c < kWidth ? columns - c : kWidth;
            store(a, t + row, n + c, some, scratch.sums[c / kWidth][row]);
          }
        }
      }
    }
  }

  template <DType kType>
  static constexpr MatmulPath path(const char* name) {
    return {name, kWidth, nullptr, nullptr, 1, scratch_bytes, run<kType>};
  }
};

}  // namespace
}  // namespace tw::kernels
