// Where the fields of a JSON text stand, for people who are told of one.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tw::spec {

/// Lines of the keys and list items of a JSON text, by their paths: "stages[0].data".
class KeyLines {
 public:
  /// REQUIRES: the text is valid JSON, without a zero byte.
  explicit KeyLines(std::string_view text) {
    constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // the parser leaves it out, too
    for (std::size_t i = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; i < text.size(); ++i)
      i = read(text, i);
  }
  int line(const std::string& path) const {
    const auto found = lines_.find(path);
    return found == lines_.end() ? 1 : found->second;
  }
  /// Paths that the text has more than once.
  const std::map<std::string, int>& repeated() const { return repeated_; }

 private:
  struct Level {
    std::string path;
    int item = -1;  ///< of a list: the next one's number
  };

  /// Returns the last byte of what begins at i.
  std::size_t read(std::string_view text, std::size_t i) {
    const char c = text[i];
    if (c == '\n') ++line_;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == ':') return i;
    if (c == '}' || c == ']') {
      levels_.pop_back();
      return i;
    }
    if (c == '"') return read_string(text, i);
    value();
    if (c == '{') levels_.push_back({path_, -1});
    if (c == '[') levels_.push_back({path_, 0});
    return c == '{' || c == '[' ? i : text.find_first_of(",]} \t\r\n", i) - 1;
  }
  std::size_t read_string(std::string_view text, std::size_t begin) {
    std::size_t end = begin + 1;
    while (text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    const std::size_t next = text.find_first_not_of(" \t\r\n", end + 1);
    if (next == std::string_view::npos || text[next] != ':') {
      value();
      return end;
    }
    const std::string& above = levels_.back().path;
    path_ = above + (above.empty() ? "" : ".") + std::string(text.substr(begin + 1, end - begin - 1));
    if (!lines_.try_emplace(path_, line_).second) repeated_.try_emplace(path_, line_);
    return end;
  }
  void value() {
    if (levels_.empty() || levels_.back().item < 0) return;
    path_ = fmt::format("{}[{}]", levels_.back().path, levels_.back().item++);
    lines_.try_emplace(path_, line_);
  }

  int line_ = 1;
  std::map<std::string, int> lines_, repeated_;
  std::vector<Level> levels_;
  std::string path_;
};

}  // namespace tw::spec
