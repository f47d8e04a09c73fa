#include "plan/csv.h"

#include <charconv>
#include <cmath>
#include <utility>

namespace tw::plan {
namespace {

/// Splits a text into records, one character after the other.
class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  bool done() const { return at_ >= text_.size(); }
  int line() const { return line_; }
  bool unterminated() const { return unterminated_; }

  std::vector<std::string> record() {
    std::vector<std::string> fields(1);
    while (!done()) {
      const char c = text_[at_++];
      if (c == '"' && fields.back().empty()) {
        quoted(fields.back());
      } else if (c == ',') {
        fields.emplace_back();
      } else if (c == '\n') {
        ++line_;
        break;
      } else if (c != '\r') {
        fields.back() += c;
      }
    }
    return fields;
  }

 private:
  void quoted(std::string& field) {
    while (!done()) {
      const char c = text_[at_++];
      if (c == '"') {
        if (done() || text_[at_] != '"') return;
        ++at_;
      }
      if (c == '\n') ++line_;
      field += c;
    }
    unterminated_ = true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool unterminated_ = false;
};

}  // namespace

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
  Splitter splitter(text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text);
  table.columns_ = splitter.record();
  while (!splitter.done()) {
    const int line = splitter.line();
    std::vector<std::string> fields = splitter.record();
    if (fields.size() == 1 && fields[0].empty()) continue;
    if (fields.size() != table.columns_.size()) {
      return base::error(base::Code::kCorrupt, "{}:{}: {} fields, but the header names {}", where, line,
                         fields.size(), table.columns_.size());
    }
    table.rows_.push_back({std::move(fields), line});
  }
  if (splitter.unterminated()) return base::error(base::Code::kCorrupt, "{}: a quote is never closed", where);
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
