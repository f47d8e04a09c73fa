#include "tensor/packed_matrix.h"

#include <algorithm>

namespace tw::tensor {

base::Result<PackedMatrix> PackedMatrix::create(const kernels::MatmulKernel& kernel, DType type,
                                                const void* source, std::int64_t n, std::int64_t k) {
  PackedMatrix matrix;
  matrix.kernel_ = &kernel;
  matrix.type_ = type;
  matrix.source_ = source;
  matrix.n_ = n;
  matrix.k_ = k;
  if (kernel.packed_bytes != nullptr) {
    TW_ASSIGN_OR_RETURN(matrix.copy_,
                        Buffer::allocate(kernel.packed_bytes(type, n, k), "a packed weight matrix"));
  }
  return matrix;
}

void PackedMatrix::pack_panels(std::int64_t begin, std::int64_t end) {
  if (copy_.size() == 0) return;
  const std::int64_t rows = kernel_->panel_rows;
  kernel_->pack({type_, source_, copy_.data(), begin * rows, std::min(end * rows, n_), n_, k_});
}

}  // namespace tw::tensor
