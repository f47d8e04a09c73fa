// Comma-separated values (RFC 4180) with a header line: what measured data and job files are read with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tw::plan {

class CsvTable {
 public:
  /// Quoted fields may hold commas, quotes ("") and line ends. Every row must have the header's number of
  /// fields. `where` names the file in errors, which give the line.
  static base::Result<CsvTable> parse(std::string_view text, const std::string& where);

  const std::vector<std::string>& columns() const { return columns_; }
  std::size_t rows() const { return rows_.size(); }
  /// Fails with kNotFound, naming the column and the file.
  base::Result<std::size_t> column(std::string_view name) const;

  const std::string& text(std::size_t row, std::size_t column) const { return rows_[row].fields[column]; }
  /// Empty field: no value. What is no number fails with kCorrupt, naming file, line and column.
  base::Result<std::optional<double>> number(std::size_t row, std::size_t column) const;
  /// "file:line" of a row.
  std::string place(std::size_t row) const;

 private:
  struct Row {
    std::vector<std::string> fields;
    int line = 0;
  };
  std::string where_;
  std::vector<std::string> columns_;
  std::vector<Row> rows_;
};

/// The whole text as a finite number; surrounding blanks are allowed.
std::optional<double> parse_number(std::string_view text);

/// One field as it must stand in a file: quoted when it holds a comma, a quote or a line end.
std::string csv_field(std::string_view text);

}  // namespace tw::plan
