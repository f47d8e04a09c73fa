#include "text/pretokenizer.h"

#include <algorithm>

#include "base/utf8.h"

namespace tw::text {
namespace {

using Behavior = PreTokenizerStep::Behavior;

std::optional<Span> find_literal(std::string_view text, std::size_t from, std::string_view literal) {
  const std::size_t at = text.find(literal, from);
  if (at == std::string_view::npos) return std::nullopt;
  return Span{at, at + literal.size()};
}

std::size_t next_char(std::string_view text, std::size_t pos) {
  ++pos;
  while (pos < text.size() && (static_cast<unsigned char>(text[pos]) & 0xC0) == 0x80) ++pos;
  return pos;
}

/// Adds pieces one after the other, joining them as the behaviour asks.
class Joiner {
 public:
  Joiner(Behavior behavior, std::vector<Span>& out) : behavior_(behavior), out_(out) {}

  void add(Span span, bool is_match) {
    if (span.begin == span.end) return;
    const bool first = !any_;
    const bool joins = !first && joins_previous(is_match);
    previous_ = is_match;
    any_ = true;
    if (is_match && behavior_ == Behavior::kRemoved) return;
    if (joins) {
      out_.back().end = span.end;
    } else {
      out_.push_back(span);
    }
  }

 private:
  bool joins_previous(bool is_match) const {
    switch (behavior_) {
      case Behavior::kMergedWithPrevious:
        return is_match && !previous_;
      case Behavior::kMergedWithNext:
        return !is_match && previous_;
      case Behavior::kContiguous:
        return is_match == previous_;
      default:
        return false;
    }
  }
  Behavior behavior_;
  std::vector<Span>& out_;
  bool previous_ = false;
  bool any_ = false;
};

}  // namespace

base::Result<PreTokenizer> PreTokenizer::create(const std::vector<PreTokenizerStep>& steps) {
  constexpr std::size_t kMaxSteps = 32;
  if (steps.size() > kMaxSteps) {
    return base::error(base::Code::kUnsupported, "{} pre-tokenizer steps; the limit is {}", steps.size(),
                       kMaxSteps);
  }
  PreTokenizer result;
  for (const PreTokenizerStep& step : steps) {
    Step made{step.behavior, step.invert, step.pattern, std::nullopt, std::nullopt};
    if (step.pattern.empty())
      return base::error(base::Code::kCorrupt, "a pre-tokenizer step has an empty pattern");
    if (!step.is_literal) {
      TW_ASSIGN_OR_RETURN(made.regex, Regex::compile(step.pattern));
      made.required = required_ascii(step.pattern, *made.regex);
    }
    result.steps_.push_back(std::move(made));
  }
  result.scanner_ = scanner_for(steps);
  return result;
}

void PreTokenizer::split(std::string_view text, Scratch& scratch, std::vector<Span>& pieces) const {
  std::size_t pos = 0;
  while (pos < text.size()) {
    if (scanner_ != Scanner::kNone) pos = scan_ascii(scanner_, text, pos, pieces);
    if (pos == text.size()) break;
    const std::size_t end = scanner_ == Scanner::kNone ? text.size() : next_safe_boundary(text, pos);
    split_generic(text.substr(pos, end - pos), pos, scratch, pieces);
    pos = end;
  }
}

/// PCRE2 wants valid UTF-8: runs of other bytes are cut out first.
void PreTokenizer::split_generic(std::string_view text, std::size_t base, Scratch& scratch,
                                 std::vector<Span>& pieces) const {
  std::size_t begin = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t at = pos;
    const char32_t c = base::decode_utf8(text, pos);
    if (c != base::kReplacement || pos - at != 1) continue;
    split_valid(text.substr(begin, at - begin), base + begin, scratch, pieces);
    pieces.push_back({base + at, base + pos});
    begin = pos;
  }
  split_valid(text.substr(begin), base + begin, scratch, pieces);
}

/// Appends the parts of one piece to scratch.next.
void PreTokenizer::cut(const Step& step, std::string_view text, Span piece, Scratch& scratch) {
  const std::string_view subject = text.substr(piece.begin, piece.end - piece.begin);
  Joiner joiner(step.behavior, scratch.next);
  const auto add = [&](std::size_t begin, std::size_t end, bool is_match) {
    joiner.add({piece.begin + begin, piece.begin + end}, is_match != step.invert);
  };
  std::size_t from = 0;
  std::size_t search = step.required && !may_match(*step.required, subject) ? subject.size() + 1 : 0;
  while (search <= subject.size()) {
    const auto match = step.regex ? step.regex->find(subject, search, scratch.regex)
                                  : find_literal(subject, search, step.literal);
    if (!match) break;
    add(from, match->begin, false);
    add(match->begin, match->end, true);
    from = match->end;
    search = match->end > match->begin ? match->end : next_char(subject, match->end);
  }
  add(from, subject.size(), false);
}

void PreTokenizer::split_valid(std::string_view text, std::size_t base, Scratch& scratch,
                               std::vector<Span>& pieces) const {
  if (text.empty()) return;
  scratch.now.assign(1, Span{0, text.size()});
  for (const Step& step : steps_) {
    scratch.next.clear();
    for (const Span piece : scratch.now) cut(step, text, piece, scratch);
    scratch.now.swap(scratch.next);
  }
  for (const Span piece : scratch.now) pieces.push_back({base + piece.begin, base + piece.end});
}

}  // namespace tw::text
