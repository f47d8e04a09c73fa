#include "io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <tuple>

#include "base/json.h"
#include "io/tensor_file.h"

namespace tw::io {
namespace {

using base::Code;
using base::DType;
using base::error;
using base::Json;
using base::Ok;
using base::Result;
using base::Status;

constexpr int kMaxDepth = 4;  ///< the format needs three: the object, a tensor, its shape
constexpr std::size_t kMaxDimensions = 8;

struct ElementType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};
/// All types of the format. Those without a DType are known only by their size.
constexpr ElementType kTypes[] = {
    {"F32", 32, DType::kF32},         {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},       {"I8", 8, DType::kI8},
    {"I32", 32, DType::kI32},         {"I64", 64, DType::kI64},
    {"F64", 64, std::nullopt},        {"C64", 64, std::nullopt},
    {"U64", 64, std::nullopt},        {"U32", 32, std::nullopt},
    {"U16", 16, std::nullopt},        {"I16", 16, std::nullopt},
    {"U8", 8, std::nullopt},          {"BOOL", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},     {"F8_E5M2", 8, std::nullopt},
    {"F8_E8M0", 8, std::nullopt},     {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt}, {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},     {"F4", 4, std::nullopt},
};

/// Watches the parser, which would keep the last of two equal keys and say nothing.
class KeyWatch {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth >= kMaxDepth) too_deep_ = true;
    if (too_deep_) return false;
    if (event == Json::parse_event_t::object_start) keys_[depth].clear();
    if (event == Json::parse_event_t::key && !keys_[depth - 1].insert(parsed.get<std::string>()).second) {
      twice_ = parsed.get<std::string>();
    }
    return true;
  }

  Status status() const {
    if (too_deep_) return error(Code::kCorrupt, "the header is nested deeper than {} levels", kMaxDepth);
    if (twice_) return error(Code::kCorrupt, "the header has the key {} twice", quote_text(*twice_));
    return Ok{};
  }

 private:
  std::array<std::set<std::string>, kMaxDepth> keys_;  ///< of the open object at each depth
  std::optional<std::string> twice_;
  bool too_deep_ = false;
};

Result<Json> parse_object(std::string_view text) {
  KeyWatch watch;
  try {
    Json json = Json::parse(text.begin(), text.end(), std::ref(watch));
    TW_RETURN_IF_ERROR(watch.status());
    if (!json.is_object()) return error(Code::kCorrupt, "the header is not a JSON object");
    return json;
  } catch (const Json::parse_error& e) {
    return error(Code::kCorrupt, "the header is not valid JSON at byte {}", 8 + e.byte);
  } catch (const Json::exception& e) {
    return error(Code::kCorrupt, "the header is not valid JSON: {}", e.what());
  }
}

/// A member that must be an array of integers from 0 up to 2^63 - 1, at most `limit` of them.
Result<std::vector<std::int64_t>> get_sizes(const Json& tensor, const char* key, std::size_t limit) {
  const auto it = tensor.find(key);
  if (it == tensor.end() || !it->is_array() || it->size() > limit) {
    return error(Code::kCorrupt, "{} is not an array of at most {} numbers", key, limit);
  }
  std::vector<std::int64_t> out;
  for (const Json& value : *it) {
    // A number too large for 64 bits comes as a float.
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT64_MAX) {
      return error(Code::kCorrupt, "{} holds {}, which is no possible size", key,
                   quote_text(base::dump_json(value), 40));
    }
    out.push_back(value.get<std::int64_t>());
  }
  return out;
}

/// The bytes of a tensor, or nullopt when the product overflows or does not end at a byte.
std::optional<std::size_t> bytes_of(const std::vector<std::int64_t>& shape, int bits) {
  std::int64_t total = bits;
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(total, size, &total)) return std::nullopt;
  }
  if (total % 8 != 0) return std::nullopt;
  return static_cast<std::size_t>(total / 8);
}

Status read_type(const Json& tensor, SafetensorsItem& item, int& bits) {
  const auto it = tensor.find("dtype");
  if (it == tensor.end() || !it->is_string()) return error(Code::kCorrupt, "dtype is missing");
  item.type = it->get<std::string>();
  const auto* type = std::ranges::find(kTypes, item.type, &ElementType::name);
  if (type == std::end(kTypes))
    return error(Code::kCorrupt, "the dtype {} is unknown", quote_text(item.type));
  item.dtype = type->dtype;
  bits = type->bits;
  return Ok{};
}

Status read_item(const Json& tensor, std::size_t data_bytes, SafetensorsItem& item) {
  int bits = 0;
  if (!tensor.is_object()) return error(Code::kCorrupt, "is not described by an object");
  TW_RETURN_IF_ERROR(read_type(tensor, item, bits));
  TW_ASSIGN_OR_RETURN(item.shape, get_sizes(tensor, "shape", kMaxDimensions));
  TW_ASSIGN_OR_RETURN(const std::vector<std::int64_t> offsets, get_sizes(tensor, "data_offsets", 2));
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    return error(Code::kCorrupt, "data_offsets are no range");
  item.begin = static_cast<std::size_t>(offsets[0]);
  item.end = static_cast<std::size_t>(offsets[1]);
  if (item.end > data_bytes) {
    return error(Code::kCorrupt,
                 "ends at byte {} of the data, but the file has only {}; it is cut off, download it again",
                 item.end, data_bytes);
  }
  const auto bytes = bytes_of(item.shape, bits);
  if (!bytes || *bytes != item.end - item.begin) {
    return error(Code::kCorrupt, "of type {} and shape {} cannot have {} bytes", item.type,
                 shape_text(item.shape), item.end - item.begin);
  }
  return Ok{};
}

Status read_metadata(const Json& json, SafetensorsHeader& header) {
  if (!json.is_object()) return error(Code::kCorrupt, "__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return error(Code::kCorrupt, "__metadata__ {} is not a string", quote_text(key));
    header.metadata.emplace(key, value.get<std::string>());
  }
  return Ok{};
}

Status check_filled(const std::vector<SafetensorsItem>& items, std::size_t data_bytes) {
  std::size_t at = 0;
  for (const SafetensorsItem& item : items) {
    if (item.begin != at) {
      return error(Code::kCorrupt, "tensor {} starts at byte {} of the data, {} byte {}",
                   quote_text(item.name), item.begin,
                   item.begin < at ? "overlapping what ends at" : "leaving a gap after", at);
    }
    at = item.end;
  }
  if (at == data_bytes) return Ok{};
  return error(Code::kCorrupt, "has {} bytes after the last tensor; download it again", data_bytes - at);
}

}  // namespace

Result<SafetensorsHeader> parse_safetensors_header(std::string_view text, std::size_t data_bytes) {
  TW_ASSIGN_OR_RETURN(const Json json, parse_object(text));
  SafetensorsHeader header;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      TW_RETURN_IF_ERROR(read_metadata(value, header));
      continue;
    }
    SafetensorsItem item;
    item.name = name;
    if (auto status = read_item(value, data_bytes, item); !status.ok()) {
      return error(Code::kCorrupt, "tensor {}: {}", quote_text(name), status.error().message);
    }
    header.items.push_back(std::move(item));
  }
  std::ranges::sort(header.items, {},
                    [](const SafetensorsItem& i) { return std::tie(i.begin, i.end, i.name); });
  TW_RETURN_IF_ERROR(check_filled(header.items, data_bytes));
  return header;
}

}  // namespace tw::io
