#include "spec/field_file.h"

#include <charconv>
#include <cmath>

#include "spec/key_lines.h"

namespace tw::spec {
namespace {

base::Error expected(const char* what, const base::Json& value) {
  return base::error(base::Code::kInvalidArgument, "{} is no {}", base::dump_json(value), what);
}

int line_at(std::string_view text, std::size_t offset) {
  int line = 1;
  for (const char c : text.substr(0, offset)) line += c == '\n' ? 1 : 0;
  return line;
}

/// The byte that an error of parse_json names.
std::size_t offset_in(const std::string& message) {
  const std::size_t at = message.find("at byte ");
  std::size_t offset = 0;
  if (at != std::string::npos)
    std::from_chars(message.data() + at + 8, message.data() + message.size(), offset);
  return offset;
}

}  // namespace

base::Status set_field(std::string& field, const base::Json& value) {
  if (!value.is_string()) return expected("text", value);
  field = value.get<std::string>();
  return base::Ok{};
}

base::Status set_field(bool& field, const base::Json& value) {
  if (!value.is_boolean()) return expected("true or false", value);
  field = value.get<bool>();
  return base::Ok{};
}

base::Status set_field(std::int64_t& field, const base::Json& value) {
  double number = 0;
  TW_RETURN_IF_ERROR(set_measure(Dimension::kCount, number, value));
  if (number != std::floor(number) || number > 1e18) return expected("whole number", value);
  field = static_cast<std::int64_t>(number);
  return base::Ok{};
}

base::Status set_field(int& field, const base::Json& value) {
  std::int64_t wide = 0;
  TW_RETURN_IF_ERROR(set_field(wide, value));
  if (wide > 1 << 30) return expected("number up to 2^30", value);
  field = static_cast<int>(wide);
  return base::Ok{};
}

base::Status set_field(double& field, const base::Json& value) {
  if (!value.is_number()) return expected("number", value);
  field = value.get<double>();
  return base::Ok{};
}

base::Status set_measure(Dimension dimension, double& field, const base::Json& value) {
  if (value.is_number() && dimension == Dimension::kCount) {
    field = value.get<double>();
    if (field >= 0) return base::Ok{};
    return base::error(base::Code::kInvalidArgument, "{} is negative", base::dump_json(value));
  }
  const std::string text = value.is_string() ? value.get<std::string>() : base::dump_json(value);
  TW_ASSIGN_OR_RETURN(field, parse_measure(dimension, text));
  return base::Ok{};
}

base::Json value_of_text(std::string_view text) {
  if (text == "true" || text == "false") return text == "true";
  const char* const last = text.data() + text.size();
  // A whole number stays one, so that a complaint shows it as it was written.
  std::int64_t whole = 0;
  if (const auto [end, problem] = std::from_chars(text.data(), last, whole);
      problem == std::errc() && end == last)
    return whole;
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), last, number);
  if (problem == std::errc() && end == last && std::isfinite(number)) return number;
  return std::string(text);
}

int line_of_key(std::string_view json, std::string_view key, int depth) {
  int opened = 0;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '{' || c == '[') ++opened;
    if (c == '}' || c == ']') --opened;
    if (c != '"') continue;
    const std::size_t begin = ++i;
    while (i < json.size() && json[i] != '"') i += json[i] == '\\' ? 2 : 1;
    if (opened != depth || i >= json.size() || json.substr(begin, i - begin) != key) continue;
    const std::size_t next = json.find_first_not_of(" \t\r\n", i + 1);
    if (next != std::string_view::npos && json[next] == ':') return line_at(json, begin);
  }
  return 0;
}

base::Result<base::Json> parse_field_file(std::string_view text, const std::string& where) {
  // The parser takes a zero byte for the end, and what follows for nothing.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos)
    return base::Error{base::Code::kCorrupt, "there is a zero byte",
                       fmt::format("{}:{}", where, line_at(text, zero))};
  auto document = base::parse_json(text, 8);
  if (!document.ok()) {
    const std::string& message = document.error().message;
    return base::Error{base::Code::kCorrupt, message,
                       fmt::format("{}:{}", where, line_at(text, offset_in(message)))};
  }
  if (!document->is_object()) return base::Error{base::Code::kCorrupt, "is no JSON object", where};
  // The parser keeps the last of two fields with one name, and a person would not know which.
  const KeyLines lines(text);
  for (const auto& [path, line] : lines.repeated())
    return base::Error{base::Code::kInvalidArgument,
                       fmt::format("\"{}\" is given twice", path.substr(0, 200)),
                       fmt::format("{}:{}", where, line)};
  return document;
}

}  // namespace tw::spec
