#include "tensor/memory.h"

#include <sys/mman.h>

#include <algorithm>

namespace tw::tensor {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

base::Result<Buffer> Buffer::allocate(std::size_t bytes, const char* purpose, Pages pages) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  // mmap gives zeroed pages that cost nothing until touched; one huge page more, so that the end lies in a
  // whole one.
  const std::size_t mapped = bytes + kHugePage;
  void* raw = bytes <= PTRDIFF_MAX / 2
                  ? ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                  : MAP_FAILED;
  if (raw == MAP_FAILED) {
    return base::error(base::Code::kResourceExhausted, "cannot get {:.1f} MiB of memory for {}",
                       static_cast<double>(bytes) / (1 << 20), purpose);
  }
  // A hint, in both directions: some systems give huge pages unasked.
  ::madvise(raw, mapped, pages == Pages::kHuge && bytes >= kHugePage ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  buffer.data_ = {static_cast<std::byte*>(raw), UnmapMemory{mapped}};
  buffer.size_ = bytes;
  return buffer;
}

void UnmapMemory::operator()(std::byte* data) const {
  ::munmap(data, mapped);
}

std::byte* Arena::allocate(std::size_t bytes) {
  const std::size_t at = used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  peak_ = std::max(peak_, used_);
  if (data_ == nullptr) return nullptr;
  TW_CHECK(used_ <= capacity_, "a step needs more activations than the traced worst step");
  return data_ + at;
}

Tensor Arena::tensor(DType dtype, Shape shape) {
  return Tensor{dtype, shape, allocate(base::row_bytes(dtype, shape.elements()))};
}

}  // namespace tw::tensor
