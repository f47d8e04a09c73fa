// For tests: random weights of any type, and products with them.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "base/dtype.h"
#include "kernels/ref/dequantize.h"
#include "kernels/table.h"

namespace tw::kernels {

inline constexpr DType kWeightTypes[] = {DType::kF32,  DType::kF16,      DType::kBF16,    DType::kQ4_0,
                                         DType::kQ4_1, DType::kQ5_0,     DType::kQ5_1,    DType::kQ8_0,
                                         DType::kQ2_K, DType::kQ3_K,     DType::kQ4_K,    DType::kQ5_K,
                                         DType::kQ6_K, DType::kPalette4, DType::kPalette2};

inline std::vector<float> normal(std::size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(n);
  for (float& value : values) value = distribution(generator);
  return values;
}

/// Where random_weights has the tables of a palettized matrix: behind its rows.
inline const void* palettes_of(DType type, const std::vector<std::uint8_t>& weights, std::int64_t n,
                               std::int64_t k) {
  return base::palette_bits(type) == 0 ? nullptr : weights.data() + base::row_bytes(type, k) * n;
}

/// Random codes, and tables of normal numbers.
inline std::vector<std::uint8_t> random_palettes(DType type, std::int64_t n, std::int64_t k, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::uint8_t> bytes(base::row_bytes(type, k) * n);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  const std::int64_t groups = (n + base::kPaletteRows - 1) / base::kPaletteRows;
  const std::vector<float> entries =
      normal(static_cast<std::size_t>(groups) << base::palette_bits(type), seed);
  const std::size_t rows = bytes.size();
  bytes.resize(rows + 2 * entries.size());
  quantize_row(DType::kF16, entries.data(), bytes.data() + rows, std::ssize(entries));
  return bytes;
}

/// Random valid weights of any type: random bytes with tame scales.
inline std::vector<std::uint8_t> random_weights(DType type, std::int64_t n, std::int64_t k, unsigned seed) {
  if (base::palette_bits(type) != 0) return random_palettes(type, n, k, seed);
  const base::DTypeInfo& info = base::dtype_info(type);
  std::vector<std::uint8_t> bytes(base::row_bytes(type, k) * n);
  std::mt19937 generator(seed);
  if (!base::is_quantized(type)) {
    const std::vector<float> values = normal(static_cast<std::size_t>(n * k), seed);
    for (std::int64_t row = 0; row < n; ++row)
      quantize_row(type, values.data() + row * k, bytes.data() + row * base::row_bytes(type, k), k);
    return bytes;
  }
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  // Where each format keeps its fp16 scales: replaced by numbers between 0.001 and 0.03 of either sign.
  const auto places = [&]() -> std::vector<int> {
    switch (type) {
      case DType::kQ4_1:
      case DType::kQ5_1:
      case DType::kQ4_K:
      case DType::kQ5_K:
        return {0, 2};
      case DType::kQ2_K:
        return {80, 82};
      case DType::kQ3_K:
        return {108};
      case DType::kQ6_K:
        return {208};
      default:
        return {0};
    }
  }();
  for (std::size_t block = 0; block < bytes.size(); block += info.block_bytes) {
    for (const int place : places) {
      const float scale = (0.001F + 0.029F * static_cast<float>(generator() % 1000) / 1000) *
                          (generator() % 2 ? 1.0F : -1.0F);
      quantize_row(DType::kF16, &scale, bytes.data() + block + place, 1);
    }
  }
  return bytes;
}

/// Memory that begins at a cache line.
class Bytes {
 public:
  void resize(std::int64_t bytes) { lines_.resize((bytes + 63) / 64); }
  bool empty() const { return lines_.empty(); }
  void* data() { return lines_.data(); }

 private:
  struct alignas(64) Line {
    std::uint8_t bytes[64];
  };
  std::vector<Line> lines_;
};

/// The best set, whose prompts go by the products in 8 bits where it has some.
inline constexpr const char* kInt8Prompts = "int8 prompts";
inline Table int8_prompts_table() {
  Table table = make_table("", detect_features()).value();
  for (int i = 0; i < base::kDTypeCount; ++i) {
    if (table.int8_prefill[i] != nullptr) table.prefill[i] = table.int8_prefill[i];
  }
  return table;
}

/// A product by a kernel of generated tokens or of prompts, packed and prepared as it asks.
class Product {
 public:
  Product(const Table& table, DType type, const std::vector<std::uint8_t>& weights, std::int64_t n,
          std::int64_t k, bool prompt)
      : kernel_(*table.matmul[static_cast<int>(type)]),
        path_(prompt && table.prefill[static_cast<int>(type)] != nullptr
                  ? *table.prefill[static_cast<int>(type)]
                  : kernel_.decode),
        type_(type),
        weights_(weights),
        n_(n),
        k_(k) {
    if (kernel_.packed_bytes != nullptr) {
      packed_.resize(kernel_.packed_bytes(type, n, k));
      kernel_.pack({type, weights.data(), packed_.data(), 0, n, n, k, palettes_of(type, weights, n, k)});
    }
  }

  std::vector<float> run(const std::vector<float>& x, std::int64_t rows, const float* bias,
                         const float* residual) {
    std::vector<float> out(rows * n_, NAN);
    run_columns(x, rows, 0, n_, bias, residual, out.data());
    return out;
  }

  /// REQUIRES: begin is a multiple of slice_rows(); end too, or it is N.
  void run_columns(const std::vector<float>& x, std::int64_t rows, std::int64_t begin, std::int64_t end,
                   const float* bias, const float* residual, float* out) {
    const void* input = x.data();
    Bytes prepared, scratch;
    if (path_.scratch_bytes != nullptr) scratch.resize(path_.scratch_bytes(rows, k_));
    if (path_.prepare != nullptr) {
      prepared.resize(path_.prepared_bytes(rows, k_));
      path_.prepare({x.data(), k_, prepared.data(), 0, rows, k_});
      input = prepared.data();
    }
    path_.run({type_, weight(), begin, end, n_, k_, input, rows, out, n_, bias, residual, scratch.data()});
  }
  std::int64_t slice_rows() const { return path_.slice_rows; }
  const MatmulPath& path() const { return path_; }
  /// As the path takes it.
  const void* weight() {
    return packed_.empty() ? static_cast<const void*>(weights_.data()) : packed_.data();
  }

 private:
  const MatmulKernel& kernel_;
  const MatmulPath& path_;
  DType type_;
  const std::vector<std::uint8_t>& weights_;
  std::int64_t n_, k_;
  Bytes packed_;
};

}  // namespace tw::kernels
