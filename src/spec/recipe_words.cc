#include "spec/recipe_words.h"

#include <cctype>
#include <map>
#include <string_view>

#include "spec/train_recipe.h"

namespace tw::spec {
namespace {

constexpr std::string_view kStage = "stages[].", kData = "stages[].data";

/// What keys and paths of files are made of.
bool is_part(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_-.[]/").find(c) != std::string_view::npos;
}

/// "stages[2].data[0].path" as the list of keys has it: "stages[].data[].path".
std::string without_numbers(std::string_view word) {
  std::string out;
  bool inside = false;
  for (const char c : word) {
    inside = inside && c != ']';
    if (!inside || std::isdigit(static_cast<unsigned char>(c)) == 0) out += c;
    inside = inside || c == '[';
  }
  return out;
}

/// Flags by the words that a message has for them: keys, those of a stage without it too.
struct Words {
  std::map<std::string, std::string> plain, quoted;

  Words() {
    TrainConfig config;
    config.stages.resize(1);
    for (const TrainField& field : train_fields(config, 0)) {
      const bool of_stage = field.key.starts_with(kStage);
      const std::string key = of_stage ? field.key.substr(kStage.size()) : field.key;
      if (of_stage) plain[field.key] = field.flag;
      (key.find('.') == std::string::npos ? quoted : plain)[key] = field.flag;
    }
  }
};

/// The flag for a word; empty: it is none, or the key's name is the better one.
std::string flag_of(const Words& words, std::string_view word, bool in_quotes, const GivenFlags& given) {
  const std::string key = without_numbers(word);
  if (given.alone && key.starts_with(kData)) return given.data;
  const auto& known = in_quotes ? words.quoted : words.plain;
  const auto found = known.find(key);
  if (found == known.end() || (!given.alone && !given.typed.contains(found->second))) return {};
  return "--" + found->second;
}

/// Who gives flags knows of no stages.
std::string without_stage(std::string text) {
  constexpr std::string_view kFirst = "stage 1";
  for (std::size_t at = text.find(kFirst); at != std::string::npos; at = text.find(kFirst, at + 1)) {
    const std::size_t end = at + kFirst.size();
    const bool whole = (at == 0 || text[at - 1] == ' ') && (end == text.size() || !is_part(text[end]));
    if (whole) text.replace(at, kFirst.size(), "the run");
  }
  return text;
}

}  // namespace

std::string with_flags(const std::string& message, const GivenFlags& given) {
  static const Words words;
  std::string out;
  for (std::size_t i = 0; i < message.size();) {
    std::size_t end = i;
    while (end < message.size() && is_part(message[end])) ++end;
    while (end > i && message[end - 1] == '.') --end;  // a sentence's
    if (end == i) {
      out += message[i++];
      continue;
    }
    const std::string_view word = std::string_view(message).substr(i, end - i);
    const bool in_quotes = i > 0 && message[i - 1] == '"' && end < message.size() && message[end] == '"';
    const std::string flag = flag_of(words, word, in_quotes, given);
    if (!flag.empty() && in_quotes) out.pop_back(), ++end;
    out += flag.empty() ? std::string(word) : flag;
    i = end;
  }
  return given.alone ? without_stage(out) : out;
}

}  // namespace tw::spec
