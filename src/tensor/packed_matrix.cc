#include "tensor/packed_matrix.h"

#include <algorithm>
#include <cstring>

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
    matrix.packed_ = {matrix.copy_.data(), matrix.copy_.size()};
  }
  return matrix;
}

PackedMatrix PackedMatrix::view(const kernels::MatmulKernel& kernel, DType type, const void* source,
                                std::int64_t n, std::int64_t k, std::span<const std::byte> panels) {
  TW_CHECK(kernel.packed_bytes != nullptr &&
               panels.size() == static_cast<std::size_t>(kernel.packed_bytes(type, n, k)),
           "packed panels have the kernel's size");
  PackedMatrix matrix;
  matrix.kernel_ = &kernel;
  matrix.type_ = type;
  matrix.source_ = source;
  matrix.n_ = n;
  matrix.k_ = k;
  matrix.packed_ = {const_cast<std::byte*>(panels.data()), panels.size()};  // written by pack_panels alone
  return matrix;
}

void PackedMatrix::pack_panels(std::int64_t begin, std::int64_t end) {
  if (packed_.empty()) return;
  const std::int64_t rows = kernel_->panel_rows;
  kernel_->pack({type_, source_, packed_.data(), begin * rows, std::min(end * rows, n_), n_, k_});
}

void PackedMatrix::copy_panels(std::span<const std::byte> from, std::int64_t begin, std::int64_t end) {
  TW_CHECK(copy_.size() > 0 && from.size() == copy_.size(), "panels are copied to a copy of their size");
  const auto panel = static_cast<std::int64_t>(copy_.size()) / panels();
  std::memcpy(copy_.data() + begin * panel, from.data() + begin * panel, (end - begin) * panel);
}

}  // namespace tw::tensor
