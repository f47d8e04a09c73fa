#include "base/csv_records.h"

namespace tw::base {

std::vector<std::string> CsvRecords::next() {
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

void CsvRecords::quoted(std::string& field) {
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

}  // namespace tw::base
