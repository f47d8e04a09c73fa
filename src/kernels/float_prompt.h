// Products of many rows with F32, F16 and BF16 weights that lie in rows as in the file, in fp32: prompts, and
// training where there are no tiles. Once for all vector widths; needs AVX2 and F16C for the transposing.
// Everything is internal to the including file, which brings a vector policy V:
//   kLanes         fp32 numbers of a vector
//   kTileRows      activation rows that share what is loaded of the weights; twice as many sums fit the
//   registers Floats         the vector type, with zeros, load, store, all, add, fma and in_register
//
//   for every kPromptRows activation rows
//     for every kPart of K: the rows' numbers, in tiles of kTileRows rows   1.5 MiB
//       for every strip of 2 vectors of outputs                             sums of all rows: in the nearest
//       cache
//         for every kDeep of K: the weights, transposed                     in the nearest cache
//           for every tile, for every k: 2 vectors of weights times a number of each row
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
constexpr std::int64_t kPart = 2048;

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
  static constexpr std::int64_t kDeep = 2048 / V::kLanes;
  static constexpr std::int64_t kTiles = kPromptRows / V::kTileRows;
  using Strip = float[kDeep][kWidth];
  using Tile = float[kPart][V::kTileRows];

  /// A worker's own.
  struct Scratch {
    alignas(64) Tile x[kTiles];
    alignas(64) Strip weights;
    alignas(64) float sums[kPromptRows][kWidth];
  };
  static std::int64_t scratch_bytes(std::int64_t, std::int64_t) { return sizeof(Scratch); }

  static std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  /// A piece of the product: rows [t, t + rows), columns [n, n + columns), numbers [k, k + deep) of each.
  struct Piece {
    std::int64_t t, rows, n, columns, k, deep;
  };

  /// The rows' numbers, a tile after the other: rows that are missing in the last are zeros.
  static void gather(const MatmulArgs& a, const Piece& p, Tile* tiles) {
    for (std::int64_t row = 0; row < p.rows; row += V::kTileRows) {
      Tile& tile = tiles[row / V::kTileRows];
      for (std::int64_t r = 0; r < V::kTileRows; ++r) {
        const float* x = static_cast<const float*>(a.x) + (p.t + row + r) * a.k + p.k;
        const bool there = row + r < p.rows;
        for (std::int64_t k = 0; k < p.deep; ++k) tile[k][r] = there ? x[k] : 0.0F;
      }
    }
  }

  /// The weights' numbers, those of all columns one after the other; columns that are missing are zeros.
  template <DType kType>
  static void transpose(const MatmulArgs& a, const Piece& p, Strip& out) {
    const std::int64_t row_bytes = a.k * kFloatBytes<kType>;
    const auto* first =
        static_cast<const std::uint8_t*>(a.weight) + p.n * row_bytes + p.k * kFloatBytes<kType>;
    for (std::int64_t n = 0; n < kWidth; n += 8) {
      for (std::int64_t k = 0; k < p.deep; k += 8) {
        __m256 v[8];
        for (int i = 0; i < 8; ++i) {
          const std::uint8_t* w = first + (n + i) * row_bytes + k * kFloatBytes<kType>;
          v[i] = n + i < p.columns ? load_some<kType>(w, p.deep - k) : _mm256_setzero_ps();
        }
        transpose_eight(v);
        for (int i = 0; i < 8; ++i) _mm256_store_ps(&out[k + i][n], v[i]);
      }
    }
  }

  /// The first part of K begins an output with bias and residual, later ones add to it.
  static void store(const MatmulArgs& a, const Piece& p, std::int64_t row, const float* sums) {
    const std::int64_t at = (p.t + row) * a.out_stride + p.n;
    const float* before = p.k > 0 ? a.out + at : a.residual == nullptr ? nullptr : a.residual + at;
    const float* bias = p.k > 0 || a.bias == nullptr ? nullptr : a.bias + p.n;
    if (p.columns == kWidth) {
      for (int i = 0; i < 2; ++i) {
        const std::int64_t column = i * V::kLanes;
        typename V::Floats y = V::load(sums + column);
        if (bias != nullptr) y = V::add(y, V::load(bias + column));
        if (before != nullptr) y = V::add(y, V::load(before + column));
        V::store(a.out + at + column, y);
      }
      return;
    }
    for (std::int64_t i = 0; i < p.columns; ++i) {
      float y = sums[i];
      if (bias != nullptr) y += bias[i];
      if (before != nullptr) y += before[i];
      a.out[at + i] = y;
    }
  }

  /// Adds what `deep` numbers of a tile's rows make to their sums, or begins them with it.
  static void multiply(const float (*x)[V::kTileRows], const Strip& w, std::int64_t deep, bool first,
                       float (*sums)[kWidth]) {
    typename V::Floats sum[V::kTileRows][2];
    repeat<V::kTileRows>([&](auto r) { sum[r.value][0] = sum[r.value][1] = V::zeros(); });
    for (std::int64_t k = 0; k < deep; ++k) {
      const typename V::Floats left = V::in_register(V::load(w[k])),
                               right = V::in_register(V::load(w[k] + V::kLanes));
      repeat<V::kTileRows>([&](auto r) {
        const typename V::Floats value = V::all(x[k][r.value]);
        sum[r.value][0] = V::fma(value, left, sum[r.value][0]);
        sum[r.value][1] = V::fma(value, right, sum[r.value][1]);
      });
    }
    repeat<V::kTileRows>([&](auto r) {
      for (int i = 0; i < 2; ++i) {
        float* p = sums[r.value] + i * V::kLanes;
        V::store(p, first ? sum[r.value][i] : V::add(V::load(p), sum[r.value][i]));
      }
    });
  }

  /// A strip of the piece's outputs.
  template <DType kType>
  static void multiply_strip(const MatmulArgs& a, const Piece& whole, Scratch& scratch) {
    Piece p = whole;
    for (p.k = whole.k; p.k < whole.k + whole.deep; p.k += kDeep) {
      const std::int64_t done = p.k - whole.k;
      p.deep = smaller(whole.deep - done, kDeep);
      transpose<kType>(a, p, scratch.weights);
      for (std::int64_t row = 0; row < p.rows; row += V::kTileRows) {
        multiply(scratch.x[row / V::kTileRows] + done, scratch.weights, p.deep, done == 0,
                 scratch.sums + row);
      }
    }
    for (std::int64_t row = 0; row < p.rows; ++row) store(a, whole, row, scratch.sums[row]);
  }

  template <DType kType>
  static void run(const MatmulArgs& a) {
    auto& scratch = *static_cast<Scratch*>(a.scratch);
    Piece p{};
    for (p.t = 0; p.t < a.rows; p.t += kPromptRows) {
      p.rows = smaller(a.rows - p.t, kPromptRows);
      for (p.k = 0; p.k < a.k; p.k += kPart) {
        p.deep = smaller(a.k - p.k, kPart);
        gather(a, p, scratch.x);
        for (p.n = a.n_begin; p.n < a.n_end; p.n += kWidth) {
          p.columns = smaller(a.n_end - p.n, kWidth);
          multiply_strip<kType>(a, p, scratch);
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
