// Memory for activations (Arena), weights and caches (Buffer).
#pragma once

#include <cstddef>
#include <memory>

#include "base/result.h"
#include "tensor/tensor.h"

namespace tw::tensor {

/// Gives mapped pages back to the system.
struct UnmapMemory {
  std::size_t mapped = 0;
  void operator()(std::byte* data) const;
};

/// What is used whole wants huge pages; what is touched here and there (the KV cache) would pay for a huge
/// page at each place.
enum class Pages { kHuge, kSmall };

/// Owns zeroed, page-aligned memory, which costs nothing until it is touched.
class Buffer {
 public:
  Buffer() = default;
  /// Fails with kResourceExhausted, naming the size and `purpose`, when the system has not so much. Huge
  /// pages are asked for only when the buffer is as large as one.
  static base::Result<Buffer> allocate(std::size_t bytes, const char* purpose, Pages pages = Pages::kHuge);

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }

 private:
  std::unique_ptr<std::byte, UnmapMemory> data_;
  std::size_t size_ = 0;
};

/// A bump allocator over memory it does not own. Every worker has its own Arena over the SAME memory and
/// makes the same calls, so all compute the same pointers without talking. Over no memory (data null) it only
/// counts: that is how the worst step is sized.
class Arena {
 public:
  Arena() = default;
  Arena(std::byte* data, std::size_t capacity) : data_(data), capacity_(capacity) {}

  /// 64-byte aligned. REQUIRES: it fits, unless the arena only counts.
  std::byte* allocate(std::size_t bytes);
  Tensor tensor(DType dtype, Shape shape);

  std::size_t used() const { return used_; }
  std::size_t peak() const { return peak_; }

  /// Frees what was allocated since it was made, unless it is to be kept.
  class Scope {
   public:
    explicit Scope(Arena& arena, bool keep = false) : arena_(arena), mark_(arena.used_), keep_(keep) {}
    ~Scope() {
      if (!keep_) arena_.used_ = mark_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t mark_;
    bool keep_;
  };

 private:
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace tw::tensor
