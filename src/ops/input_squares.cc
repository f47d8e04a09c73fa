#include "ops/input_squares.h"

#include "ops/exec.h"

namespace tw::ops {

void InputSquares::watch(const tensor::PackedMatrix& weight) {
  sums_[&weight].squares.assign(static_cast<std::size_t>(weight.k()), 0);
}

void InputSquares::add(const Exec& ex, Tensor x, const tensor::PackedMatrix& weight) {
  const auto found = sums_.find(&weight);
  if (found == sums_.end()) return;
  Sums& sums = found->second;
  const std::int64_t rows = x.rows(), width = weight.k();
  if (ex.worker() == 0) sums.rows += rows;
  ex.slice(width, 8, [&](std::int64_t begin, std::int64_t end) {  // cache lines of doubles are not shared
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* values = x.f32() + row * width;
      for (std::int64_t column = begin; column < end; ++column) {
        const auto value = static_cast<double>(values[column]);
        sums.squares[static_cast<std::size_t>(column)] += value * value;
      }
    }
  });
}

std::vector<float> InputSquares::means(const tensor::PackedMatrix& weight) const {
  const Sums& sums = sums_.at(&weight);
  std::vector<float> means;
  if (sums.rows == 0) return means;
  means.reserve(sums.squares.size());
  for (const double square : sums.squares)
    means.push_back(static_cast<float>(square / static_cast<double>(sums.rows)));
  return means;
}

}  // namespace tw::ops
