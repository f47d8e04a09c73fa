// A typed view of memory that something else owns.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/check.h"
#include "base/dtype.h"

namespace tw::tensor {

using base::DType;

/// Up to four extents, outermost first. Cheap to copy.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) {
    TW_CHECK(extents.size() <= kMaxRank, "a shape has at most four extents");
    for (const std::int64_t extent : extents) extents_[rank_++] = extent;
  }
  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return extents_[i]; }
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extents_[i];
    return n;
  }
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

/// A contiguous row-major view. data is null while tracing. Plain types only: quantized weights are a
/// PackedMatrix.
struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  void* data = nullptr;
  std::int32_t tape_id = -1;  ///< what a training tape knows it by; -1: nothing is learnt through it

  float* f32() const {
    TW_CHECK(dtype == DType::kF32, "the tensor is not fp32");
    return static_cast<float*>(data);
  }
  std::int64_t rows() const { return shape[0]; }
  /// Elements from one row (first extent) to the next.
  std::int64_t row_stride() const {
    return shape.rank() == 0 || shape[0] == 0 ? 0 : shape.elements() / shape[0];
  }
  std::size_t bytes() const { return base::row_bytes(dtype, shape.elements()); }
};

}  // namespace tw::tensor
