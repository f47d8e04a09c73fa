// Whatever the bytes, parsing ends in a file whose every view can be read, or in an error.
#include <cstdint>
#include <span>

#include "base/check.h"
#include "io/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = tw::io::GgufFile::parse(bytes, "fuzz");
  if (!file.ok()) {
    TW_CHECK(file.error().where == "fuzz" && !file.error().message.empty(), "an error must name the file");
    return 0;
  }
  for (const auto& [key, value] : file->metadata()) {
    (void)value.to_text(1000, 1000);
    (void)value.as_strings();
    (void)value.as_ints();
    (void)value.as_floats();
    (void)value.as_uint();
    TW_CHECK(file->value(key) == &value, "a key must be found");
  }
  std::size_t total = 0;
  for (const auto& tensor : file->tensors()) {
    TW_CHECK(file->find(tensor.name) == &tensor, "a tensor must be found");
    TW_CHECK(tw::base::row_bytes(tensor.dtype, tensor.elements()) == tensor.bytes,
             "bytes follow from type and shape");
    for (std::size_t i = 0; i < tensor.bytes; ++i) total += static_cast<std::size_t>(tensor.data[i]);
  }
  return total == ~std::size_t{0} ? 1 : 0;
}
