// A weight matrix as the chosen kernel wants it.
#pragma once

#include <span>

#include "kernels/table.h"
#include "tensor/tensor.h"

namespace tw::tensor {

/// W[N, K], used as x · Wᵀ: a view of the file's rows, which some kernels take as they are, or of packed
/// panels. Both lie elsewhere and must outlive it.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// `panels`: packed_bytes(kernel, type, n, k) bytes, aligned to 64. They may be packed already, or are
  /// filled by pack_panels or copy_panels. `palettes`: the tables of a palettized source.
  PackedMatrix(const kernels::MatmulKernel& kernel, DType type, const void* source, std::int64_t n,
               std::int64_t k, std::span<std::byte> panels, const void* palettes = nullptr);
  /// 0: the kernel takes the file's rows.
  static std::size_t packed_bytes(const kernels::MatmulKernel& kernel, DType type, std::int64_t n,
                                  std::int64_t k);

  /// Packs panels [begin, end) of panels(). Thread-safe for disjoint ranges; nothing to do for a view of the
  /// file's rows. REQUIRES: the panels may be written.
  void pack_panels(std::int64_t begin, std::int64_t end);
  /// The same by copying from panels of the same matrix.
  void copy_panels(std::span<const std::byte> from, std::int64_t begin, std::int64_t end);

  const kernels::MatmulKernel& kernel() const { return *kernel_; }
  DType type() const { return type_; }
  std::int64_t n() const { return n_; }
  std::int64_t k() const { return k_; }
  std::int64_t panels() const { return (n_ + kernel_->panel_rows - 1) / kernel_->panel_rows; }
  const void* data() const { return packed_.empty() ? source_ : packed_.data(); }
  /// The packed panels; empty for a view of the file's rows.
  std::span<const std::byte> packed() const { return packed_; }
  std::int32_t tape_id() const { return tape_id_; }
  /// What a training tape knows it by; -1: no gradient is wanted.
  void set_tape_id(std::int32_t id) { tape_id_ = id; }
  /// Prompts are multiplied with it as it is even where others are rounded (kernels::Table::int8_prompts).
  bool exact() const { return exact_; }
  void set_exact(bool exact) { exact_ = exact; }
  /// The file's rows.
  const void* source() const { return source_; }
  /// The tables of palettized rows.
  const void* palettes() const { return palettes_; }
  /// Bytes one pass over the matrix reads.
  std::size_t bytes() const { return packed_.empty() ? base::row_bytes(type_, k_) * n_ : packed_.size(); }

 private:
  const kernels::MatmulKernel* kernel_ = nullptr;
  DType type_ = DType::kF32;
  const void *source_ = nullptr, *palettes_ = nullptr;
  std::int64_t n_ = 0, k_ = 0;
  std::int32_t tape_id_ = -1;
  bool exact_ = false;
  std::span<std::byte> packed_;
};

}  // namespace tw::tensor
