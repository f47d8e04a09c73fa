#include "io/gguf.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "io/gguf_parse.h"

namespace tw::io {
namespace {

using base::Code;
using base::Error;
using base::Result;

template <typename T>
using Reader = std::optional<T> (GgufValue::*)() const;

template <typename T>
Result<T> get(const GgufFile& file, std::string_view key, Reader<T> read, const char* wanted) {
  const GgufValue* value = file.value(key);
  if (value == nullptr) {
    return Error{Code::kNotFound,
                 fmt::format("has no key {}; it may be of another kind of model", quote_text(key)),
                 file.path()};
  }
  std::optional<T> out = (value->*read)();
  if (!out) {
    return Error{Code::kInvalidArgument,
                 fmt::format("key {} should be {} but is {} ({})", quote_text(key), wanted,
                             value->type_text(), value->to_text(4, 40)),
                 file.path()};
  }
  return std::move(*out);
}

}  // namespace

Result<GgufFile> GgufFile::open(const std::string& path) {
  TW_ASSIGN_OR_RETURN(base::MappedFile mapping, base::MappedFile::open(path));
  TW_ASSIGN_OR_RETURN(GgufFile file, parse(mapping.bytes(), path));
  file.mapping_ = std::move(mapping);
  return file;
}

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes, std::string name) {
  GgufFile file;
  TW_ASSIGN_OR_RETURN(file.contents_, parse_gguf(bytes, name));
  file.path_ = std::move(name);
  file.file_bytes_ = bytes.size();
  const std::byte* data = bytes.data() + bytes.size();
  for (const TensorEntry& tensor : file.contents_.tensors) data = std::min(data, tensor.data);
  file.header_ = {bytes.data(), data};
  return file;
}

const TensorEntry* GgufFile::find(std::string_view name) const {
  const auto it = contents_.tensor_index.find(name);
  return it == contents_.tensor_index.end() ? nullptr : &contents_.tensors[it->second];
}

const GgufValue* GgufFile::value(std::string_view key) const {
  const auto it = contents_.key_index.find(key);
  return it == contents_.key_index.end() ? nullptr : &contents_.metadata[it->second].value;
}

Result<std::uint64_t> GgufFile::get_uint(std::string_view key) const {
  return get(*this, key, &GgufValue::as_uint, "an integer not below 0");
}

Result<std::int64_t> GgufFile::get_int(std::string_view key) const {
  return get(*this, key, &GgufValue::as_int, "an integer");
}

Result<double> GgufFile::get_float(std::string_view key) const {
  return get(*this, key, &GgufValue::as_float, "a number");
}

Result<bool> GgufFile::get_bool(std::string_view key) const {
  return get(*this, key, &GgufValue::as_bool, "a bool");
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  return get(*this, key, &GgufValue::as_string, "a string");
}

Result<std::vector<std::string_view>> GgufFile::get_strings(std::string_view key) const {
  return get(*this, key, &GgufValue::as_strings, "an array of strings");
}

Result<std::vector<float>> GgufFile::get_floats(std::string_view key) const {
  return get(*this, key, &GgufValue::as_floats, "an array of floats");
}

Result<std::vector<std::int64_t>> GgufFile::get_ints(std::string_view key) const {
  return get(*this, key, &GgufValue::as_ints, "an array of integers");
}

Result<std::uint64_t> GgufFile::get_uint(std::string_view key, std::uint64_t missing) const {
  return has(key) ? get_uint(key) : missing;
}

Result<std::int64_t> GgufFile::get_int(std::string_view key, std::int64_t missing) const {
  return has(key) ? get_int(key) : missing;
}

Result<double> GgufFile::get_float(std::string_view key, double missing) const {
  return has(key) ? get_float(key) : missing;
}

Result<bool> GgufFile::get_bool(std::string_view key, bool missing) const {
  return has(key) ? get_bool(key) : missing;
}

Result<std::string_view> GgufFile::get_string(std::string_view key, std::string_view missing) const {
  return has(key) ? get_string(key) : missing;
}

}  // namespace tw::io
