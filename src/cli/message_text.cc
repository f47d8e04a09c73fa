#include "cli/message_text.h"

#include <algorithm>

namespace tw::cli {
namespace {

constexpr std::string_view kQuotes = "\"\"\"";
constexpr std::string_view kBlanks = " \t\n";

std::string_view without_blanks_after(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

/// Where the text after a command's name begins; 0 without a command.
std::size_t body_of(std::string_view typed) {
  const std::size_t name = command_name(typed).size();
  return name == 0 ? 0 : std::min(typed.find_first_not_of(' ', name), typed.size());
}

bool opens_quotes(std::string_view body) {
  return body.substr(0, kQuotes.size()) == kQuotes;
}

bool closes_quotes(std::string_view body) {
  body = without_blanks_after(body);
  return body.size() >= 2 * kQuotes.size() && body.substr(body.size() - kQuotes.size()) == kQuotes;
}

/// An odd number of them: two stand for themselves.
bool ends_in_backslash(std::string_view line) {
  const std::size_t others = line.find_last_not_of('\\');
  return (line.size() - (others == std::string_view::npos ? 0 : others + 1)) % 2 == 1;
}

}  // namespace

bool MessageText::add(std::string_view line) {
  typed_ += line;
  const std::string_view body = std::string_view(typed_).substr(body_of(typed_));
  if (opens_quotes(body)) {
    if (closes_quotes(body)) return true;
    typed_ += '\n';
    return false;
  }
  if (!ends_in_backslash(line)) return true;
  typed_.back() = '\n';
  return false;
}

std::string MessageText::text() const {
  const std::size_t begin = body_of(typed_);
  std::string_view body = std::string_view(typed_).substr(begin);
  if (!opens_quotes(body) || !closes_quotes(body)) return typed_;
  body = without_blanks_after(body);
  body = body.substr(kQuotes.size(), body.size() - 2 * kQuotes.size());
  // A line break right inside the quotes only sets them on lines of their own.
  if (!body.empty() && body.front() == '\n') body.remove_prefix(1);
  if (!body.empty() && body.back() == '\n') body.remove_suffix(1);
  return typed_.substr(0, begin) + std::string(body);
}

std::string_view command_name(std::string_view message) {
  if (message.empty() || message.front() != '/') return {};
  const std::size_t end = std::min(message.find_first_of(kBlanks), message.size());
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '?'; };
  if (end < 2 || !std::all_of(message.begin() + 1, message.begin() + end, letter)) return {};
  return message.substr(0, end);
}

}  // namespace tw::cli
