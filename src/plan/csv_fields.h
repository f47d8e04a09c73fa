// A table's fields by column name, one row at a time.
#pragma once

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "plan/csv.h"

namespace tw::plan {

class CsvFields {
 public:
  /// Fails when the table lacks one of the columns. The table must outlive it.
  static base::Result<CsvFields> of(const CsvTable& table, std::span<const std::string_view> columns) {
    CsvFields f(table);
    for (const std::string_view name : columns) {
      TW_ASSIGN_OR_RETURN(f.columns_[std::string(name)], table.column(name));
    }
    return f;
  }
  void enter(std::size_t row) { row_ = row; }
  /// Fails, naming file, line and column, where one of these holds something that is no number from 0 to
  /// 1e15.
  base::Status check_numbers(std::span<const std::string_view> columns) const {
    for (const std::string_view name : columns) {
      TW_ASSIGN_OR_RETURN(const auto number, table_.number(row_, columns_.at(std::string(name))));
      if (number.value_or(0) < 0)
        return base::error(base::Code::kCorrupt, "{}: {} is {}, which is negative", table_.place(row_), name,
                           *number);
      if (number.value_or(0) > 1e15)
        return base::error(base::Code::kCorrupt, "{}: {} is {}, which is too large", table_.place(row_), name,
                           *number);
    }
    return base::Ok{};
  }
  const std::string& text(const char* name) const { return table_.text(row_, columns_.at(name)); }
  /// 0 where nothing, or nothing that is a number, stands.
  double number(const char* name) const { return parse_number(text(name)).value_or(0); }
  int size(const char* name) const { return static_cast<int>(std::clamp(number(name), 1.0, 1e9)); }
  bool has(const char* name, std::string_view what) const {
    return text(name).find(what) != std::string::npos;
  }

 private:
  explicit CsvFields(const CsvTable& table) : table_(table) {}
  const CsvTable& table_;
  std::map<std::string, std::size_t> columns_;
  std::size_t row_ = 0;
};

}  // namespace tw::plan
