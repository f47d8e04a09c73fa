#include "plan/csv.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "base/csv_records.h"

namespace tw::plan {

std::optional<double> parse_number(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\n\r") == std::string_view::npos) return std::string(text);
  std::string result = "\"";
  for (const char c : text) result.append(c == '"' ? 2 : 1, c);
  return result + '"';
}

base::Result<CsvTable> CsvTable::parse(std::string_view text, const std::string& where) {
  CsvTable table;
  table.where_ = where;
  base::CsvRecords records(text);
  table.columns_ = records.next();
  while (!records.done()) {
    const int line = records.line();
    std::vector<std::string> fields = records.next();
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (fields.size() != table.columns_.size()) {
      return base::error(base::Code::kCorrupt, "{}:{}: {} fields, but the header names {}", where, line,
                         fields.size(), table.columns_.size());
    }
    table.rows_.push_back({std::move(fields), line});
  }
  if (records.unterminated()) return base::error(base::Code::kCorrupt, "{}: a quote is never closed", where);
  return table;
}

base::Result<std::size_t> CsvTable::column(std::string_view name) const {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == name) return i;
  }
  return base::error(base::Code::kNotFound, "{}: there is no column '{}'", where_, name);
}

base::Result<std::optional<double>> CsvTable::number(std::size_t row, std::size_t column) const {
  const std::string& field = text(row, column);
  if (field.empty()) return std::optional<double>{};
  const std::optional<double> value = parse_number(field);
  if (!value) {
    return base::error(base::Code::kCorrupt, "{}: {} is '{}', which is no number", place(row),
                       columns_[column], field);
  }
  return value;
}

std::string CsvTable::place(std::size_t row) const {
  return fmt::format("{}:{}", where_, rows_[row].line);
}

}  // namespace tw::plan
