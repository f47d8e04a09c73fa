#include "io/gguf_parse.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "io/byte_reader.h"

namespace tw::io {
namespace {

using base::Code;
using base::Error;
using base::Ok;
using base::Result;
using base::Status;

static_assert(std::endian::native == std::endian::little, "GGUF values are read in place, little-endian");

constexpr std::uint64_t kMaxKeys = 1 << 16;
constexpr std::uint64_t kMaxTensors = 1 << 20;
constexpr std::size_t kMaxAlignment = 1 << 20;
constexpr std::uint32_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;
constexpr std::size_t kMinKeyBytes = 8 + 1 + 4 + 1;         ///< length, one letter, type, the smallest value
constexpr std::size_t kMinTensorBytes = 8 + 1 + 4 + 4 + 8;  ///< length, one letter, dimensions, type, offset

/// A tensor as the file lists it: its place is checked once the start of the data is known.
struct ListedTensor {
  TensorEntry entry;
  std::uint64_t offset = 0;  ///< from the start of the data
};

class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), name_(name), reader_(bytes) {}

  Result<GgufContents> run() {
    TW_RETURN_IF_ERROR(read_header());
    TW_RETURN_IF_ERROR(read_metadata());
    TW_RETURN_IF_ERROR(read_alignment());
    TW_RETURN_IF_ERROR(read_tensor_list());
    TW_RETURN_IF_ERROR(place_tensors());
    TW_RETURN_IF_ERROR(check_overlaps());
    return std::move(contents_);
  }

 private:
  template <typename... Args>
  Error corrupt(fmt::format_string<Args...> format, Args&&... args) const {
    return Error{Code::kCorrupt, fmt::format(format, std::forward<Args>(args)...), name_};
  }

  Error cut_off(std::string_view what) const {
    return corrupt(
        "the file is cut off or damaged: {} at byte {} does not fit into its {} bytes; download it again",
        what, reader_.offset(), bytes_.size());
  }

  Status read_header();
  Status check_magic();
  Status check_version(std::uint32_t version) const;
  Status read_metadata();
  Result<GgufValue> read_value(std::string_view key);
  Result<GgufType> read_type(std::string_view key);
  Status read_array(std::string_view key, GgufValue& value, int depth);
  Status read_string_array(std::string_view key, std::uint64_t count);
  Status check_bools(std::string_view key, const GgufValue& value) const;
  Status read_alignment();
  Status read_tensor_list();
  Result<ListedTensor> read_tensor();
  Status read_shape(TensorEntry& entry);
  Status read_dtype(TensorEntry& entry);
  Status set_bytes(TensorEntry& entry) const;
  Status place_tensors();
  Status check_overlaps() const;

  std::span<const std::byte> bytes_;
  const std::string& name_;
  ByteReader reader_;
  std::uint64_t key_count_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::vector<std::uint64_t> offsets_;  ///< of the tensors, from the start of the data
  GgufContents contents_;
};

Status GgufParser::check_magic() {
  std::span<const std::byte> magic;
  if (!reader_.take(4, magic)) {
    return corrupt("has only {} bytes, too few for a GGUF file; download it again", bytes_.size());
  }
  if (std::memcmp(magic.data(), "GGUF", 4) == 0) return Ok{};
  const std::string_view start(reinterpret_cast<const char*>(bytes_.data()),
                               std::min<std::size_t>(bytes_.size(), 16));
  if (start.starts_with("version https://")) {
    return corrupt("is a Git LFS pointer, not the model itself; fetch it with 'git lfs pull' or download it");
  }
  return corrupt("is not a GGUF file: it starts with {} instead of 'GGUF'; give the path of a .gguf file",
                 quote_text(start));
}

Status GgufParser::check_version(std::uint32_t version) const {
  if (version == 2 || version == 3) return Ok{};
  const bool big_endian = version != 0 && (version & 0xFFFF) == 0;
  return Error{
      Code::kUnsupported,
      big_endian ? "is a big-endian GGUF file; use the little-endian one"
                 : fmt::format("is GGUF version {}; versions 2 and 3 can be read, convert it anew", version),
      name_};
}

Status GgufParser::read_header() {
  TW_RETURN_IF_ERROR(check_magic());
  if (!reader_.read(contents_.version)) return cut_off("the version");
  TW_RETURN_IF_ERROR(check_version(contents_.version));
  if (!reader_.read(tensor_count_) || !reader_.read(key_count_)) return cut_off("the header");
  if (key_count_ > kMaxKeys || key_count_ > reader_.remaining() / kMinKeyBytes) {
    return corrupt("claims {} metadata keys at byte 16, more than {} bytes can hold; download it again",
                   key_count_, bytes_.size());
  }
  if (tensor_count_ > kMaxTensors || tensor_count_ > reader_.remaining() / kMinTensorBytes) {
    return corrupt("claims {} tensors at byte 8, more than {} bytes can hold; download it again",
                   tensor_count_, bytes_.size());
  }
  return Ok{};
}

Status GgufParser::read_metadata() {
  contents_.metadata.reserve(static_cast<std::size_t>(key_count_));
  for (std::uint64_t i = 0; i < key_count_; ++i) {
    const std::size_t at = reader_.offset();
    std::string_view key;
    if (!reader_.read_string(key)) return cut_off(fmt::format("the name of key {} of {}", i + 1, key_count_));
    if (key.empty()) return corrupt("key {} of {} at byte {} has no name", i + 1, key_count_, at);
    TW_ASSIGN_OR_RETURN(const GgufValue value, read_value(key));
    if (!contents_.key_index.emplace(key, contents_.metadata.size()).second) {
      return corrupt("has the key {} twice, the second time at byte {}", quote_text(key), at);
    }
    contents_.metadata.push_back({key, value});
  }
  return Ok{};
}

Result<GgufType> GgufParser::read_type(std::string_view key) {
  const std::size_t at = reader_.offset();
  std::uint32_t number = 0;
  if (!reader_.read(number)) return cut_off(fmt::format("the type of key {}", quote_text(key)));
  if (number >= kGgufTypeCount) {
    return corrupt("key {} has the unknown value type {} at byte {}", quote_text(key), number, at);
  }
  return static_cast<GgufType>(number);
}

Result<GgufValue> GgufParser::read_value(std::string_view key) {
  GgufValue value;
  TW_ASSIGN_OR_RETURN(value.type, read_type(key));
  value.element_type = value.type;
  std::string_view text;
  if (value.type == GgufType::kArray) {
    TW_RETURN_IF_ERROR(read_array(key, value, 1));
  } else if (value.type == GgufType::kString) {
    if (!reader_.read_string(text)) return cut_off(fmt::format("the string of key {}", quote_text(key)));
    value.payload = {reinterpret_cast<const std::byte*>(text.data()), text.size()};
  } else if (!reader_.take(gguf_type_bytes(value.type), value.payload)) {
    return cut_off(fmt::format("the value of key {}", quote_text(key)));
  }
  TW_RETURN_IF_ERROR(check_bools(key, value));
  return value;
}

Status GgufParser::read_array(std::string_view key, GgufValue& value, int depth) {
  if (depth > kMaxArrayDepth) {
    return corrupt("key {} nests arrays deeper than {} levels at byte {}", quote_text(key), kMaxArrayDepth,
                   reader_.offset());
  }
  TW_ASSIGN_OR_RETURN(value.element_type, read_type(key));
  if (!reader_.read(value.count)) return cut_off(fmt::format("the array length of key {}", quote_text(key)));
  const std::size_t start = reader_.offset();
  // The smallest string is its length alone; the smallest array is its type and its length.
  const std::size_t fixed = gguf_type_bytes(value.element_type);
  const std::size_t smallest = fixed > 0 ? fixed : value.element_type == GgufType::kString ? 8 : 12;
  if (value.count > reader_.remaining() / smallest) {
    return cut_off(fmt::format("the array of {} {} of key {}", value.count,
                               gguf_type_name(value.element_type), quote_text(key)));
  }
  if (fixed > 0) {
    reader_.take(value.count * fixed, value.payload);
    return Ok{};
  }
  if (value.element_type == GgufType::kString) {
    TW_RETURN_IF_ERROR(read_string_array(key, value.count));
  } else {
    for (std::uint64_t i = 0; i < value.count; ++i) {
      GgufValue inner;
      TW_RETURN_IF_ERROR(read_array(key, inner, depth + 1));
    }
  }
  value.payload = bytes_.subspan(start, reader_.offset() - start);
  return Ok{};
}

Status GgufParser::read_string_array(std::string_view key, std::uint64_t count) {
  std::string_view text;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!reader_.read_string(text)) return cut_off(fmt::format("string {} of key {}", i, quote_text(key)));
  }
  return Ok{};
}

Status GgufParser::check_bools(std::string_view key, const GgufValue& value) const {
  if (value.element_type != GgufType::kBool) return Ok{};
  const bool fine = std::ranges::all_of(value.payload, [](std::byte b) { return b <= std::byte{1}; });
  return fine ? Status(Ok{}) : Status(corrupt("key {} has a bool that is neither 0 nor 1", quote_text(key)));
}

Status GgufParser::read_alignment() {
  const auto it = contents_.key_index.find("general.alignment");
  if (it == contents_.key_index.end()) return Ok{};
  const GgufValue& value = contents_.metadata[it->second].value;
  const auto alignment = value.as_uint();
  if (!alignment || *alignment < 8 || *alignment > kMaxAlignment || !std::has_single_bit(*alignment)) {
    return corrupt("general.alignment is {}, but must be a power of two from 8 to {}", value.to_text(),
                   kMaxAlignment);
  }
  contents_.alignment = static_cast<std::size_t>(*alignment);
  return Ok{};
}

Status GgufParser::read_tensor_list() {
  contents_.tensors.reserve(static_cast<std::size_t>(tensor_count_));
  offsets_.reserve(static_cast<std::size_t>(tensor_count_));
  for (std::uint64_t i = 0; i < tensor_count_; ++i) {
    TW_ASSIGN_OR_RETURN(ListedTensor tensor, read_tensor());
    if (!contents_.tensor_index.emplace(tensor.entry.name, contents_.tensors.size()).second) {
      return corrupt("has the tensor {} twice", quote_text(tensor.entry.name));
    }
    contents_.tensors.push_back(std::move(tensor.entry));
    offsets_.push_back(tensor.offset);
  }
  return Ok{};
}

Result<ListedTensor> GgufParser::read_tensor() {
  ListedTensor tensor;
  const std::size_t at = reader_.offset();
  std::string_view name;
  if (!reader_.read_string(name)) {
    return cut_off(fmt::format("the name of tensor {} of {}", contents_.tensors.size() + 1, tensor_count_));
  }
  if (name.empty()) return corrupt("a tensor at byte {} has no name", at);
  tensor.entry.name = std::string(name);
  TW_RETURN_IF_ERROR(read_shape(tensor.entry));
  TW_RETURN_IF_ERROR(read_dtype(tensor.entry));
  if (!reader_.read(tensor.offset)) return cut_off(fmt::format("the offset of tensor {}", quote_text(name)));
  TW_RETURN_IF_ERROR(set_bytes(tensor.entry));
  return tensor;
}

Status GgufParser::read_shape(TensorEntry& entry) {
  const std::size_t at = reader_.offset();
  std::uint32_t dimensions = 0;
  if (!reader_.read(dimensions))
    return cut_off(fmt::format("the shape of tensor {}", quote_text(entry.name)));
  if (dimensions > kMaxDimensions) {
    return corrupt("tensor {} has {} dimensions at byte {}; at most {} are possible", quote_text(entry.name),
                   dimensions, at, kMaxDimensions);
  }
  // The file lists the row length first. A scalar has no dimension there; here it is a row of one.
  entry.shape.assign(std::max(dimensions, 1U), 1);
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    std::int64_t& size = entry.shape[dimensions - 1 - i];
    if (!reader_.read(size)) return cut_off(fmt::format("the shape of tensor {}", quote_text(entry.name)));
    if (size < 1) return corrupt("tensor {} has a dimension of size {}", quote_text(entry.name), size);
  }
  return Ok{};
}

Status GgufParser::read_dtype(TensorEntry& entry) {
  std::uint32_t number = 0;
  if (!reader_.read(number)) return cut_off(fmt::format("the type of tensor {}", quote_text(entry.name)));
  const auto dtype = dtype_of_ggml(number);
  if (!dtype) {
    return Error{
        Code::kUnsupported,
        fmt::format("tensor {} has the type {}, which cannot be read; use a file with F32, F16, BF16, Q8_0, "
                    "Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K weights",
                    quote_text(entry.name), ggml_type_text(number)),
        name_};
  }
  entry.dtype = *dtype;
  return Ok{};
}

Status GgufParser::set_bytes(TensorEntry& entry) const {
  const base::DTypeInfo& info = base::dtype_info(entry.dtype);
  if (entry.shape.back() % info.block_elements != 0) {
    return corrupt("tensor {} has rows of {} values, but {} stores blocks of {}", quote_text(entry.name),
                   entry.shape.back(), info.name, info.block_elements);
  }
  std::int64_t blocks = entry.shape.back() / info.block_elements;
  std::int64_t total = 0;
  bool overflow = false;
  for (std::size_t i = 0; i + 1 < entry.shape.size(); ++i) {
    overflow |= __builtin_mul_overflow(blocks, entry.shape[i], &blocks);
  }
  overflow |= __builtin_mul_overflow(blocks, static_cast<std::int64_t>(info.block_bytes), &total);
  overflow |= __builtin_mul_overflow(blocks, static_cast<std::int64_t>(info.block_elements), &blocks);
  if (overflow) {
    return corrupt("tensor {} has the impossible shape {}", quote_text(entry.name), shape_text(entry.shape));
  }
  entry.bytes = static_cast<std::size_t>(total);
  return Ok{};
}

Status GgufParser::place_tensors() {
  const std::size_t mask = contents_.alignment - 1;
  const std::size_t data_start = (reader_.offset() + mask) & ~mask;
  for (std::size_t i = 0; i < contents_.tensors.size(); ++i) {
    TensorEntry& entry = contents_.tensors[i];
    const std::uint64_t offset = offsets_[i];
    if ((offset & mask) != 0) {
      return corrupt("tensor {} lies at offset {}, not a multiple of the alignment {}",
                     quote_text(entry.name), offset, contents_.alignment);
    }
    std::uint64_t end = 0;
    if (__builtin_add_overflow(offset, data_start + entry.bytes, &end) || end > bytes_.size()) {
      return corrupt(
          "the file is cut off: tensor {} ends at byte {}, but the file has {} bytes; download it again",
          quote_text(entry.name), end, bytes_.size());
    }
    entry.data = bytes_.data() + data_start + offset;
  }
  return Ok{};
}

Status GgufParser::check_overlaps() const {
  std::vector<std::size_t> order(offsets_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return offsets_[i]; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const TensorEntry& before = contents_.tensors[order[i - 1]];
    const TensorEntry& entry = contents_.tensors[order[i]];
    if (offsets_[order[i]] - offsets_[order[i - 1]] < before.bytes) {
      return corrupt("tensors {} and {} overlap at byte {}", quote_text(before.name), quote_text(entry.name),
                     entry.data - bytes_.data());
    }
  }
  return Ok{};
}

}  // namespace

Result<GgufContents> parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  return GgufParser(bytes, name).run();
}

}  // namespace tw::io
