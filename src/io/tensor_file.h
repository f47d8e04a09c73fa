// What all tensor files have in common: named, typed, shaped bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace tw::io {

/// One tensor of an open file. The bytes belong to the file object and live as long as it does; they are
/// checked to lie inside the file and start at an address that suits the element type.
struct TensorEntry {
  std::string name;
  base::DType dtype = base::DType::kF32;
  std::vector<std::int64_t>
      shape;  ///< row-major, outermost first as in numpy: a matrix of N rows of K is {N, K}
  const std::byte* data = nullptr;
  std::size_t bytes = 0;  ///< row_bytes(dtype, K) times the number of rows
  bool mapped = true;     ///< lies in the mapped file; false: a copy, because the file did not align it
  const std::byte* palettes = nullptr;  ///< of palettized types: the tables, F16 [ceil(N / 16), 2^bits]

  /// The number of values: the product of the shape.
  std::int64_t elements() const {
    std::int64_t product = 1;
    for (const std::int64_t size : shape) product *= size;
    return product;
  }
};

/// For writers: the `bytes` bytes of tensor `index`, which stay valid until the next call. Called once for
/// each tensor in the order of the file, so that what is written need never lie in memory as a whole.
using TensorBytes = std::function<base::Result<std::span<const std::byte>>(std::size_t index)>;

/// Text of a file made fit for a message: quoted, control and invalid bytes as \xNN, cut after `limit` bytes.
std::string quote_text(std::string_view text, std::size_t limit = 80);

/// "[32000, 2048]".
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace tw::io
