#include "tensor/packed_matrix.h"

#include <algorithm>
#include <cstring>

namespace tw::tensor {

std::size_t PackedMatrix::packed_bytes(const kernels::MatmulKernel& kernel, DType type, std::int64_t n,
                                       std::int64_t k) {
  return kernel.packed_bytes == nullptr ? 0 : static_cast<std::size_t>(kernel.packed_bytes(type, n, k));
}

PackedMatrix::PackedMatrix(const kernels::MatmulKernel& kernel, DType type, const void* source,
                           std::int64_t n, std::int64_t k, std::span<std::byte> panels, const void* palettes)
    : kernel_(&kernel), type_(type), source_(source), palettes_(palettes), n_(n), k_(k), packed_(panels) {
  TW_CHECK(panels.size() == packed_bytes(kernel, type, n, k), "packed panels have the kernel's size");
}

void PackedMatrix::pack_panels(std::int64_t begin, std::int64_t end) {
  if (packed_.empty()) return;
  const std::int64_t rows = kernel_->panel_rows;
  kernel_->pack({type_, source_, packed_.data(), begin * rows, std::min(end * rows, n_), n_, k_, palettes_});
}

void PackedMatrix::copy_panels(std::span<const std::byte> from, std::int64_t begin, std::int64_t end) {
  TW_CHECK(from.size() == packed_.size(), "panels are copied from panels of the same matrix");
  const auto panel = static_cast<std::int64_t>(packed_.size()) / panels();
  std::memcpy(packed_.data() + begin * panel, from.data() + begin * panel, (end - begin) * panel);
}

}  // namespace tw::tensor
