#include "text/pretokenizer_filter.h"

namespace tw::text {
namespace {

/// The length of the class at the pattern's start, 0 if there is none: "\p{L}" or "[...]".
std::size_t class_length(std::string_view pattern) {
  if (pattern.starts_with("\\p{")) return pattern.find('}') + 1;  // 0 if it never ends
  if (!pattern.starts_with("[")) return 0;
  for (std::size_t i = 1; i < pattern.size(); ++i) {
    if (pattern[i] == '\\')
      ++i;
    else if (pattern[i] == '[')
      return 0;
    else if (pattern[i] == ']')
      return i + 1;
  }
  return 0;
}

}  // namespace

std::optional<AsciiSet> required_ascii(std::string_view pattern, const Regex& regex) {
  for (const std::string_view optional : {"\\s?", " ?"}) {
    if (pattern.starts_with(optional)) pattern.remove_prefix(optional.size());
  }
  const std::size_t length = class_length(pattern);
  const std::string_view rest = pattern.substr(length);
  if (length == 0 || (!rest.empty() && rest != "+" && rest != "{1,3}")) return std::nullopt;
  AsciiSet required;
  RegexScratch scratch;
  for (std::size_t c = 0; c < required.size(); ++c) {
    const char text = static_cast<char>(c);
    required[c] = regex.find(std::string_view(&text, 1), 0, scratch).has_value();
  }
  return required;
}

}  // namespace tw::text
