#include "io/gguf_types.h"

#include <fmt/format.h>

#include <array>

namespace tw::io {
namespace {

using base::DType;

struct MetadataType {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<MetadataType, kGgufTypeCount> kMetadataTypes = {{
    {"uint8", 1},
    {"int8", 1},
    {"uint16", 2},
    {"int16", 2},
    {"uint32", 4},
    {"int32", 4},
    {"float32", 4},
    {"bool", 1},
    {"string", 0},
    {"array", 0},
    {"uint64", 8},
    {"int64", 8},
    {"float64", 8},
}};

struct GgmlType {
  std::uint32_t number;
  DType dtype;
};
constexpr GgmlType kSupported[] = {
    {0, DType::kF32},   {1, DType::kF16},   {2, DType::kQ4_0},  {3, DType::kQ4_1},
    {6, DType::kQ5_0},  {7, DType::kQ5_1},  {8, DType::kQ8_0},  {10, DType::kQ2_K},
    {11, DType::kQ3_K}, {12, DType::kQ4_K}, {13, DType::kQ5_K}, {14, DType::kQ6_K},
    {24, DType::kI8},   {26, DType::kI32},  {27, DType::kI64},  {30, DType::kBF16},
};

struct NamedNumber {
  std::uint32_t number;
  std::string_view name;
};
/// Known to the format, not to this program: named so that a message can say which type it met.
constexpr NamedNumber kUnsupported[] = {
    {4, "Q4_2"},    {5, "Q4_3"},     {9, "Q8_1"},   {15, "Q8_K"},   {16, "IQ2_XXS"},
    {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},
    {22, "IQ2_S"},  {23, "IQ4_XS"},  {25, "I16"},   {28, "F64"},    {29, "IQ1_M"},
    {34, "TQ1_0"},  {35, "TQ2_0"},   {39, "MXFP4"}, {40, "NVFP4"},  {41, "Q1_0"},
};

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  return kMetadataTypes[static_cast<std::size_t>(type)].name;
}

std::size_t gguf_type_bytes(GgufType type) {
  return kMetadataTypes[static_cast<std::size_t>(type)].bytes;
}

std::optional<DType> dtype_of_ggml(std::uint32_t number) {
  for (const GgmlType& type : kSupported) {
    if (type.number == number) return type.dtype;
  }
  return std::nullopt;
}

std::uint32_t ggml_of_dtype(DType dtype) {
  for (const GgmlType& type : kSupported) {
    if (type.dtype == dtype) return type.number;
  }
  return 0;
}

std::string ggml_type_text(std::uint32_t number) {
  if (const auto dtype = dtype_of_ggml(number))
    return fmt::format("{} ({})", base::dtype_name(*dtype), number);
  for (const NamedNumber& type : kUnsupported) {
    if (type.number == number) return fmt::format("{} ({})", type.name, number);
  }
  return fmt::format("{} (unknown)", number);
}

}  // namespace tw::io
