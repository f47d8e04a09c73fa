// The records of comma-separated values (RFC 4180), one after the other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tw::base {

/// The text must outlive it. A byte order mark at the beginning is no part of the first field.
class CsvRecords {
 public:
  explicit CsvRecords(std::string_view text)
      : text_(text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text) {}

  bool done() const { return at_ >= text_.size(); }
  /// Of the next record's first character, from 1.
  int line() const { return line_; }
  /// A quote was opened and never closed.
  bool unterminated() const { return unterminated_; }

  /// The next record's fields, at least one (an empty one at the end). Quoted fields may hold commas, quotes
  /// ("") and line ends.
  std::vector<std::string> next();

 private:
  void quoted(std::string& field);

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool unterminated_ = false;
};

}  // namespace tw::base
