// Products of many rows with F32, F16 and BF16 weights that lie in rows as in the file, in fp32: prompts, and
// where there are no tiles training, whose gradients take both sides as they lie. Once for all vector widths;
// needs AVX2 and F16C for the transposing. Everything is internal to the including file, which brings a
// vector policy V:
//   kLanes         fp32 numbers of a vector
//   kTileRows      rows of the left side that share what is loaded of the right one; twice as many sums fit
//                  the registers: 6 or 12
//   Floats         the vector type, with zeros, load, store, all, add, fma and in_register
//
//   for every kPromptRows rows of the left side
//     for every kPart of K: the rows' numbers, in tiles of kTileRows rows   1.5 MiB
//       for every strip of 2 vectors of outputs
//         for every kDeep of K: the right side's numbers, a row for each k  in the nearest cache
//           for every tile, for every k: 2 vectors of them times a number of each row
//
// The stretches of K are cut where they are for any number of rows and outputs, and each output has one sum
// in each: its bits depend on its row and its column of the sides alone. The order of the loops follows Goto
// and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34, 2008).
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
struct FloatProduct {
  static constexpr std::int64_t kWidth = 2 * V::kLanes;  ///< outputs of a strip
  static constexpr std::int64_t kDeep = 2048 / V::kLanes;
  static constexpr std::int64_t kTiles = kPromptRows / V::kTileRows;
  using Strip = float[kDeep][kWidth];
  using Tile = float[kPart][V::kTileRows];

  /// A worker's own.
  struct Scratch {
    alignas(64) Tile x[kTiles];
    alignas(64) Strip weights;  ///< behind the tiles: see gather()
    alignas(64) float sums[kPromptRows][kWidth];
  };
  static std::int64_t scratch_bytes(std::int64_t, std::int64_t) { return sizeof(Scratch); }

  static std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  /// A piece of the product: rows [t, t + rows), columns [n, n + columns), numbers [k, k + deep) of each.
  struct Piece {
    std::int64_t t, rows, n, columns, k, deep;
  };

  /// The rows' numbers, a tile after the other: rows that are missing in the last are zeros.
  static void gather(const MatmulArgs& a, const Piece& p, Tile* tiles) { gather_rows(a, a.k, p, tiles); }
  static void gather_rows(const MatmulArgs& a, std::int64_t stride, const Piece& p, Tile* tiles) {
    for (std::int64_t row = 0; row < p.rows; row += V::kTileRows)
      gather_tile(static_cast<const float*>(a.x) + (p.t + row) * stride + p.k, stride, p.rows - row, p.deep,
                  tiles[row / V::kTileRows][0]);
  }
  /// Eight numbers of up to eight rows at a time are turned and stored. Where a tile has six rows, that is
  /// two numbers too many, in the place of what is written next: the next k, the next tile, the strip.
  static void gather_tile(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t deep,
                          float* tile) {
    constexpr int kRows = V::kTileRows, kSecond = kRows > 8 ? kRows - 8 : 0;
    std::int64_t k = 0;
    if (rows >= kRows) {
      for (; k + 8 <= deep; k += 8) {
        for (int first = 0;; first = kSecond) {
          __m256 v[8];
          for (int i = 0; i < 8; ++i)
            v[i] = first + i < kRows ? _mm256_loadu_ps(x + (first + i) * stride + k) : _mm256_setzero_ps();
          transpose_eight(v);
          for (int i = 0; i < 8; ++i) _mm256_storeu_ps(tile + (k + i) * kRows + first, v[i]);
          if (first == kSecond) break;
        }
      }
    }
    for (; k < deep; ++k) {
      for (int r = 0; r < kRows; ++r) tile[k * kRows + r] = r < rows ? x[r * stride + k] : 0.0F;
    }
  }
  /// The same of a left side that lies by k.
  static void gather(const GradientMatmulArgs& a, const Piece& p, Tile* tiles) {
    if (!a.x_turned) return gather_rows(a, a.x_stride, p, tiles);
    for (std::int64_t row = 0; row < p.rows; row += V::kTileRows) {
      Tile& tile = tiles[row / V::kTileRows];
      const float* x = static_cast<const float*>(a.x) + p.k * a.x_stride + p.t + row;
      if (p.rows - row >= V::kTileRows) {
        for (std::int64_t k = 0; k < p.deep; ++k)
          for (int r = 0; r < V::kTileRows; ++r) tile[k][r] = x[k * a.x_stride + r];
        continue;
      }
      for (std::int64_t k = 0; k < p.deep; ++k)
        for (int r = 0; r < V::kTileRows; ++r) tile[k][r] = r < p.rows - row ? x[k * a.x_stride + r] : 0.0F;
    }
  }

  /// The right side's numbers, those of all columns one after the other; columns that are missing are zeros.
  template <DType kType>
  static void strip(const MatmulArgs& a, const Piece& p, Strip& out) {
    const std::int64_t row_bytes = a.k * kFloatBytes<kType>;
    const auto* first =
        static_cast<const std::uint8_t*>(a.weight) + p.n * row_bytes + p.k * kFloatBytes<kType>;
    for (std::int64_t n = 0; n < kWidth; n += 8) {
      const bool whole = n + 8 <= p.columns;
      for (std::int64_t k = 0; k < p.deep; k += 8) {
        const std::uint8_t* w = first + n * row_bytes + k * kFloatBytes<kType>;
        __m256 v[8];
        if (whole && k + 8 <= p.deep) {
          for (int i = 0; i < 8; ++i) v[i] = load_eight<kType>(w + i * row_bytes);
        } else {
          for (int i = 0; i < 8; ++i)
            v[i] = n + i < p.columns ? load_some<kType>(w + i * row_bytes, p.deep - k) : _mm256_setzero_ps();
        }
        transpose_eight(v);
        for (int i = 0; i < 8; ++i) _mm256_store_ps(&out[k + i][n], v[i]);
      }
    }
  }
  template <DType kType>
  static void strip(const GradientMatmulArgs& a, const Piece& p, Strip& out) {
    const std::int64_t row_bytes = a.weight_stride * kFloatBytes<kType>;
    const auto* w = static_cast<const std::uint8_t*>(a.weight) + p.k * row_bytes + p.n * kFloatBytes<kType>;
    for (std::int64_t k = 0; k < p.deep; ++k, w += row_bytes) {
      for (std::int64_t n = 0; n < kWidth; n += 8) {
        const std::int64_t there = p.columns - n;
        const __m256 v = there >= 8  ? load_eight<kType>(w + n * kFloatBytes<kType>)
                         : there > 0 ? load_some<kType>(w + n * kFloatBytes<kType>, there)
                                     : _mm256_setzero_ps();
        _mm256_store_ps(&out[k][n], v);
      }
    }
  }

  /// Where an output begins: the first part of K with bias and residual, later ones with what is there.
  struct Start {
    const float *bias, *before;  ///< of a piece's first output; may be null
    Start(const MatmulArgs& a, const Piece& p)
        : bias(p.k > 0 || a.bias == nullptr ? nullptr : a.bias + p.n),
          before(p.k > 0                 ? a.out + p.t * a.out_stride + p.n
                 : a.residual == nullptr ? nullptr
                                         : a.residual + p.t * a.out_stride + p.n) {}
  };

  /// What `deep` numbers of a tile's rows make, added to their sums if they have begun.
  struct Sums {
    typename V::Floats of[V::kTileRows][2];

    Sums(const float (*x)[V::kTileRows], const Strip& w, std::int64_t deep) {
      repeat<V::kTileRows>([&](auto r) { of[r.value][0] = of[r.value][1] = V::zeros(); });
      for (std::int64_t k = 0; k < deep; ++k) {
        const typename V::Floats left = V::in_register(V::load(w[k])),
                                 right = V::in_register(V::load(w[k] + V::kLanes));
        repeat<V::kTileRows>([&](auto r) {
          const typename V::Floats value = V::all(x[k][r.value]);
          of[r.value][0] = V::fma(value, left, of[r.value][0]);
          of[r.value][1] = V::fma(value, right, of[r.value][1]);
        });
      }
    }
    void add(const float (*sums)[kWidth]) {
      repeat<V::kTileRows>([&](auto r) {
        of[r.value][0] = V::add(V::load(sums[r.value]), of[r.value][0]);
        of[r.value][1] = V::add(V::load(sums[r.value] + V::kLanes), of[r.value][1]);
      });
    }
    void store(float (*sums)[kWidth]) const {
      repeat<V::kTileRows>([&](auto r) {
        V::store(sums[r.value], of[r.value][0]);
        V::store(sums[r.value] + V::kLanes, of[r.value][1]);
      });
    }
    void store(const MatmulArgs& a, const Start& start, std::int64_t row, float* out) const {
      repeat<V::kTileRows>([&](auto r) {
        const std::int64_t at = (row + r.value) * a.out_stride;
        repeat<2>([&](auto i) {
          const std::int64_t column = i.value * V::kLanes;
          typename V::Floats y = of[r.value][i.value];
          if (start.bias != nullptr) y = V::add(y, V::load(start.bias + column));
          if (start.before != nullptr) y = V::add(y, V::load(start.before + at + column));
          V::store(out + at + column, y);
        });
      });
    }
  };

  /// A row of sums where some rows or columns of a tile are missing.
  static void store_some(const MatmulArgs& a, const Piece& p, const Start& start, std::int64_t row,
                         const float* sums, float* out) {
    const std::int64_t at = row * a.out_stride;
    for (std::int64_t i = 0; i < p.columns; ++i) {
      float y = sums[i];
      if (start.bias != nullptr) y += start.bias[i];
      if (start.before != nullptr) y += start.before[at + i];
      out[at + i] = y;
    }
  }

  /// A strip of the piece's outputs.
  template <DType kType, typename Args>
  static void multiply_strip(const Args& a, const Piece& whole, Scratch& scratch) {
    const Start start(a, whole);
    float* const out = a.out + whole.t * a.out_stride + whole.n;
    Piece p = whole;
    for (p.k = whole.k; p.k < whole.k + whole.deep; p.k += kDeep) {
      const std::int64_t done = p.k - whole.k;
      p.deep = smaller(whole.deep - done, kDeep);
      const bool last = done + p.deep == whole.deep;
      strip<kType>(a, p, scratch.weights);
      for (std::int64_t row = 0; row < p.rows; row += V::kTileRows) {
        Sums sums(scratch.x[row / V::kTileRows] + done, scratch.weights, p.deep);
        float(*const kept)[kWidth] = scratch.sums + row;
        if (done > 0) sums.add(kept);
        if (last && p.columns == kWidth && p.rows - row >= V::kTileRows) {
          sums.store(a, start, row, out);
          continue;
        }
        sums.store(kept);
        if (!last) continue;
        for (std::int64_t r = row; r < smaller(row + V::kTileRows, p.rows); ++r)
          store_some(a, p, start, r, scratch.sums[r], out);
      }
    }
  }

  template <DType kType, typename Args>
  static void run(const Args& a) {
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
    return {name, kWidth, nullptr, nullptr, 1, scratch_bytes, run<kType, MatmulArgs>};
  }
  static void run_gradient(const GradientMatmulArgs& a) {
    if (a.type == DType::kF32) return run<DType::kF32>(a);
    if (a.type == DType::kF16) return run<DType::kF16>(a);
    run<DType::kBF16>(a);
  }
  static constexpr GradientMatmul gradient() { return {kWidth, sizeof(Scratch), run_gradient}; }
};

}  // namespace
}  // namespace tw::kernels
