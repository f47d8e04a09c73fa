#include "io/gguf_write.h"

#include <cstring>
#include <set>
#include <type_traits>

#include "base/check.h"
#include "io/atomic_file.h"
#include "io/gguf_types.h"

namespace tw::io {
namespace {

using base::Code;
using base::error;
using base::Ok;
using base::Result;
using base::Status;

constexpr std::size_t kAlignment = 32;
constexpr std::size_t kMaxDimensions = 4;
constexpr char kZeros[kAlignment] = {};

std::size_t padding_after(std::size_t size) {
  return (kAlignment - size % kAlignment) % kAlignment;
}

template <typename T>
void put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_string(std::string& out, std::string_view text) {
  put(out, std::uint64_t{text.size()});
  out += text;
}

void put_type(std::string& out, GgufType type) {
  put(out, static_cast<std::uint32_t>(type));
}

template <typename T>
constexpr GgufType type_of() {
  if constexpr (std::is_same_v<T, std::uint32_t>) return GgufType::kUint32;
  if constexpr (std::is_same_v<T, std::int32_t>) return GgufType::kInt32;
  if constexpr (std::is_same_v<T, std::uint64_t>) return GgufType::kUint64;
  if constexpr (std::is_same_v<T, std::int64_t>) return GgufType::kInt64;
  if constexpr (std::is_same_v<T, float>) return GgufType::kFloat32;
  if constexpr (std::is_same_v<T, double>) return GgufType::kFloat64;
  if constexpr (std::is_same_v<T, bool>) return GgufType::kBool;
  return GgufType::kString;
}

struct PutElement {
  std::string& out;

  void operator()(const std::string& text) const { put_string(out, text); }
  void operator()(bool value) const { put(out, static_cast<std::uint8_t>(value)); }
  template <typename T>
  void operator()(T value) const {
    put(out, value);
  }
};

struct PutValue {
  std::string& out;

  template <typename T>
  void operator()(const T& value) const {
    put_type(out, type_of<T>());
    PutElement{out}(value);
  }
  template <typename T>
  void operator()(const std::vector<T>& values) const {
    put_type(out, GgufType::kArray);
    put_type(out, type_of<T>());
    put(out, std::uint64_t{values.size()});
    for (std::size_t i = 0; i < values.size(); ++i) PutElement{out}(static_cast<const T&>(values[i]));
  }
};

Status check_metadata(const GgufWriteMetadata& metadata) {
  std::set<std::string_view> seen;
  for (const auto& [key, value] : metadata) {
    if (key.empty()) return error(Code::kInvalidArgument, "a metadata key has no name");
    if (key == "general.alignment")
      return error(Code::kInvalidArgument, "the alignment is fixed: leave it out");
    if (!seen.insert(key).second)
      return error(Code::kInvalidArgument, "the key {} is given twice", quote_text(key));
  }
  return Ok{};
}

Status check_tensor(const TensorEntry& tensor) {
  const base::DTypeInfo& info = base::dtype_info(tensor.dtype);
  bool fits = !tensor.shape.empty() && tensor.shape.size() <= kMaxDimensions;
  for (const std::int64_t size : tensor.shape) fits &= size >= 1;
  fits = fits && tensor.shape.back() % info.block_elements == 0;
  if (!fits || base::row_bytes(tensor.dtype, tensor.elements()) != tensor.bytes) {
    return error(Code::kInvalidArgument, "tensor {} of type {} and shape {} cannot have {} bytes",
                 quote_text(tensor.name), info.name, shape_text(tensor.shape), tensor.bytes);
  }
  return Ok{};
}

Status check_tensors(std::span<const TensorEntry> tensors) {
  std::set<std::string_view> seen;
  for (const TensorEntry& tensor : tensors) {
    if (tensor.name.empty()) return error(Code::kInvalidArgument, "a tensor has no name");
    if (!seen.insert(tensor.name).second) {
      return error(Code::kInvalidArgument, "the tensor {} is given twice", quote_text(tensor.name));
    }
    TW_RETURN_IF_ERROR(check_tensor(tensor));
  }
  return Ok{};
}

/// All before the data, padded to where the data starts.
std::string header(const GgufWriteMetadata& metadata, std::span<const TensorEntry> tensors) {
  std::string out = "GGUF";
  put(out, std::uint32_t{3});
  put(out, std::uint64_t{tensors.size()});
  put(out, std::uint64_t{metadata.size()});
  for (const auto& [key, value] : metadata) {
    put_string(out, key);
    std::visit(PutValue{out}, value);
  }
  std::uint64_t offset = 0;
  for (const TensorEntry& tensor : tensors) {
    put_string(out, tensor.name);
    put(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put(out, *size);
    put(out, ggml_of_dtype(tensor.dtype));
    put(out, offset);
    offset += tensor.bytes + padding_after(tensor.bytes);
  }
  return out.append(padding_after(out.size()), '\0');
}

}  // namespace

Status write_gguf(const std::string& path, const GgufWriteMetadata& metadata,
                  std::span<const TensorEntry> tensors, const TensorBytes& data) {
  TW_RETURN_IF_ERROR(check_metadata(metadata));
  TW_RETURN_IF_ERROR(check_tensors(tensors));
  TW_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  TW_RETURN_IF_ERROR(file.write(header(metadata, tensors)));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TW_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, data(i));
    TW_CHECK(bytes.size() == tensors[i].bytes, "a tensor has the bytes it was declared with");
    TW_RETURN_IF_ERROR(file.write(bytes));
    TW_RETURN_IF_ERROR(file.write(std::string_view(kZeros, padding_after(bytes.size()))));
  }
  return file.commit();
}

Status write_gguf(const std::string& path, const GgufWriteMetadata& metadata,
                  std::span<const TensorEntry> tensors) {
  return write_gguf(path, metadata, tensors, [&](std::size_t i) -> Result<std::span<const std::byte>> {
    return std::span(tensors[i].data, tensors[i].bytes);
  });
}

Result<std::string> gguf_bytes(const GgufWriteMetadata& metadata, std::span<const TensorEntry> tensors) {
  TW_RETURN_IF_ERROR(check_metadata(metadata));
  TW_RETURN_IF_ERROR(check_tensors(tensors));
  std::string out = header(metadata, tensors);
  for (const TensorEntry& tensor : tensors) {
    out.append(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
    out.append(padding_after(tensor.bytes), '\0');
  }
  return out;
}

}  // namespace tw::io
