// A weight matrix as the chosen kernel wants it.
#pragma once

#include "kernels/table.h"
#include "tensor/memory.h"

namespace tw::tensor {

/// W[N, K], used as x · Wᵀ. Either a view of the file's rows (the kernel takes them as they are; the file
/// must outlive it) or a packed copy that it owns.
class PackedMatrix {
 public:
  PackedMatrix() = default;

  /// Allocates the packed form; `pack_panels` then fills it, in any number of disjoint parts and threads.
  static base::Result<PackedMatrix> create(const kernels::MatmulKernel& kernel, DType type,
                                           const void* source, std::int64_t n, std::int64_t k);
  /// Packs panels [begin, end) of panels(). Thread-safe for disjoint ranges; nothing to do for a view.
  void pack_panels(std::int64_t begin, std::int64_t end);

  const kernels::MatmulKernel& kernel() const { return *kernel_; }
  DType type() const { return type_; }
  std::int64_t n() const { return n_; }
  std::int64_t k() const { return k_; }
  std::int64_t panels() const { return (n_ + kernel_->panel_rows - 1) / kernel_->panel_rows; }
  const void* data() const { return copy_.size() > 0 ? copy_.data() : source_; }
  /// The file's rows.
  const void* source() const { return source_; }
  /// Bytes one pass over the matrix reads.
  std::size_t bytes() const { return copy_.size() > 0 ? copy_.size() : base::row_bytes(type_, k_) * n_; }

 private:
  const kernels::MatmulKernel* kernel_ = nullptr;
  DType type_ = DType::kF32;
  const void* source_ = nullptr;
  std::int64_t n_ = 0, k_ = 0;
  Buffer copy_;
};

}  // namespace tw::tensor
