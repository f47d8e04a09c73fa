#include "text/tokenizer_normalizer.h"

#include <algorithm>

#include "base/utf8.h"
#include "text/tokenizer_unicode.h"

namespace tw::text {
namespace {

using Kind = NormalizerStep::Kind;

constexpr std::size_t kMaxSteps = 16;
/// What a step puts in; published ones put in three bytes.
constexpr std::size_t kMaxContent = 64;
constexpr std::size_t kMaxGrowth = 64;

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

/// Calls visit(character, its bytes); bytes that are no UTF-8 are handed on as they are, with U+FFFD.
template <typename Visit>
void for_each_char(std::string_view text, Visit visit) {
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = base::decode_utf8(text, pos);
    visit(c, text.substr(begin, pos - begin));
  }
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](char32_t c, std::string_view bytes) {
    if (c == base::kReplacement)
      out += bytes;
    else
      append_lowercase(out, c);
  });
  return out;
}

std::string drop_if(std::string_view text, bool (*drop)(char32_t)) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](char32_t c, std::string_view bytes) {
    if (!drop(c)) out += bytes;
  });
  return out;
}

std::string bert_clean(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](char32_t c, std::string_view bytes) {
    const bool newline = c == '\t' || c == '\n' || c == '\r';
    if (c == 0 || c == base::kReplacement || (is_control_char(c) && !newline)) return;
    if (is_space(c))
      out += ' ';
    else
      out += bytes;
  });
  return out;
}

std::string bert_cjk(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](char32_t c, std::string_view bytes) {
    const bool apart = is_cjk(c);
    if (apart) out += ' ';
    out += bytes;
    if (apart) out += ' ';
  });
  return out;
}

std::string_view strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    std::size_t next = 0;
    if (!is_space(base::decode_utf8(text, next))) break;
    text.remove_prefix(next);
  }
  while (right && !text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 4 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80)
      --start;
    std::size_t pos = start;
    if (!is_space(base::decode_utf8(text, pos)) || pos != text.size()) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

/// Unicode's normal forms, leaving bytes that are no UTF-8 in place.
template <typename Form>
std::string normal_form(std::string_view text, Form form) {
  if (base::is_valid_utf8(text)) return form(text);
  std::string out;
  std::size_t begin = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t at = pos;
    const char32_t c = base::decode_utf8(text, pos);
    if (c != base::kReplacement || pos - at != 1) continue;
    out += form(text.substr(begin, at - begin));
    out += text[at];
    begin = pos;
  }
  return out += form(text.substr(begin));
}

std::string replace(std::string_view text, const NormalizerStep& step, const Regex* regex,
                    std::size_t limit) {
  RegexScratch scratch;
  std::string out;
  std::size_t from = 0;
  for (std::size_t search = 0; search <= text.size() && out.size() + text.size() - from <= limit;) {
    std::optional<Span> match;
    if (regex != nullptr) {
      match = regex->find(text, search, scratch);
    } else if (const std::size_t at = text.find(step.pattern, search); at != std::string_view::npos) {
      match = Span{at, at + step.pattern.size()};
    }
    if (!match) break;
    out += text.substr(from, match->begin - from);
    out += step.content;
    from = match->end;
    search = match->end > match->begin ? match->end : match->end + 1;
    while (search < text.size() && (static_cast<unsigned char>(text[search]) & 0xC0) == 0x80) ++search;
  }
  return out += text.substr(from);
}

std::string run(const NormalizerStep& step, const Regex* regex, std::string_view text, std::size_t limit) {
  switch (step.kind) {
    case Kind::kPrepend:
      return text.empty() ? std::string() : step.content + std::string(text);
    case Kind::kReplace:
      // A pattern needs valid UTF-8.
      return regex == nullptr || base::is_valid_utf8(text)
                 ? replace(text, step, regex, limit)
                 : replace(base::sanitize_utf8(text), step, regex, limit);
    case Kind::kNfc:
      return is_ascii(text) ? std::string(text) : normal_form(text, to_nfc);
    case Kind::kNfd:
      return is_ascii(text) ? std::string(text) : normal_form(text, to_nfd);
    case Kind::kLowercase:
      return lowercase(text);
    case Kind::kStripAccents:
      return is_ascii(text) ? std::string(text) : drop_if(text, is_nonspacing_mark);
    case Kind::kStripMarks:
      return is_ascii(text) ? std::string(text) : drop_if(text, is_mark);
    case Kind::kStrip:
      return std::string(strip(text, step.left, step.right));
    case Kind::kBertClean:
      return bert_clean(text);
    case Kind::kBertCjk:
      return bert_cjk(text);
  }
  return std::string(text);
}

}  // namespace

base::Result<Normalizer> Normalizer::create(const std::vector<NormalizerStep>& steps) {
  if (steps.size() > kMaxSteps) {
    return base::error(base::Code::kUnsupported, "{} normalizer steps; the limit is {}", steps.size(),
                       kMaxSteps);
  }
  Normalizer result;
  for (const NormalizerStep& spec : steps) {
    Step step{spec, std::nullopt};
    if (spec.content.size() > kMaxContent) {
      return base::error(base::Code::kUnsupported, "a normalizer puts in {} bytes; the limit is {}",
                         spec.content.size(), kMaxContent);
    }
    if (spec.kind == Kind::kReplace) {
      if (spec.pattern.empty())
        return base::error(base::Code::kCorrupt, "a Replace normalizer has an empty pattern");
      if (spec.is_regex) {
        TW_ASSIGN_OR_RETURN(step.regex, Regex::compile(spec.pattern));
      }
    }
    result.steps_.push_back(std::move(step));
  }
  return result;
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  const std::size_t limit = text.size() * kMaxGrowth + 1024;
  for (const Step& step : steps_) out = run(step.spec, step.regex ? &*step.regex : nullptr, out, limit);
  return out;
}

}  // namespace tw::text
