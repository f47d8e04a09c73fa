#include "text/tool_call.h"

#include <algorithm>
#include <utility>

namespace tw::text {
namespace {

constexpr std::string_view kHermesOpen = "<tool_call>", kHermesClose = "</tool_call>";
constexpr std::string_view kMistralOpen = "[TOOL_CALLS]", kPythonTag = "<|python_tag|>";
constexpr std::size_t kMaxUndecided = 64 << 10;  // a call whose name comes later than this is content

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/// The decoded string, or empty if it is none.
std::string decoded(std::string_view json_string) {
  const base::Json parsed = base::Json::parse(json_string, nullptr, false);
  return parsed.is_string() ? parsed.get<std::string>() : std::string();
}

}  // namespace

ToolStyle detect_tool_style(std::string_view source) {
  const auto has = [&](std::string_view mark) { return source.find(mark) != source.npos; };
  // Newer Mistral templates write [TOOL_CALLS]name[ARGS]{...}; other families put XML-like functions or
  // key-value pairs between the Hermes marks. Those are other styles.
  if (has(kMistralOpen)) return has("[ARGS]") ? ToolStyle::kNone : ToolStyle::kMistral;
  const bool holds_json = has("\"arguments\"") || has("\\\"arguments\\\"");
  const bool other_inside = has("<function=") || has("<arg_key>") || has("<|tool_call_argument");
  if (has(kHermesOpen) && holds_json && !other_inside) return ToolStyle::kHermes;
  if (has("\"parameters\"") && (has(kPythonTag) || has("ipython"))) return ToolStyle::kLlama3;
  return ToolStyle::kNone;
}

ToolCallParser::State ToolCallParser::first_state(ToolStyle style) {
  if (style == ToolStyle::kNone) return State::kPlain;
  return style == ToolStyle::kLlama3 ? State::kStart : State::kText;
}

std::string_view ToolCallParser::open_mark() const {
  return style_ == ToolStyle::kMistral ? kMistralOpen : kHermesOpen;
}

std::size_t ToolCallParser::skip_space(std::size_t from) const {
  while (from < pending_.size() && is_space(pending_[from])) ++from;
  return from;
}

bool ToolCallParser::starts_with(std::size_t at, std::string_view text) const {
  return std::string_view(pending_).substr(at, text.size()) == text;
}

/// Whether the pending text ends inside what may become `text`.
bool ToolCallParser::may_become(std::size_t at, std::string_view text) const {
  return pending_.size() - at < text.size() && text.substr(0, pending_.size() - at) == pending_.substr(at);
}

ToolDelta ToolCallParser::push(std::string_view text) {
  ToolDelta out;
  pending_ += text;
  run(out, false);
  return out;
}

ToolDelta ToolCallParser::finish() {
  ToolDelta out;
  run(out, true);
  return out;
}

void ToolCallParser::run(ToolDelta& out, bool at_end) {
  while (!pending_.empty() && step(out, at_end)) {
  }
  report_arguments(out);
}

bool ToolCallParser::step(ToolDelta& out, bool at_end) {
  switch (state_) {
    case State::kPlain:
      out.content += std::exchange(pending_, {});
      return false;
    case State::kText:
      return step_text(out, at_end);
    case State::kStart:
      return step_start(at_end);
    case State::kTag:
      return step_tag(out, at_end);
    case State::kCall:
      return step_call(out, at_end);
    case State::kAfterCall:
      return step_after_call(at_end);
    case State::kBetween:
      return step_between(at_end);
  }
  return false;
}

bool ToolCallParser::step_text(ToolDelta& out, bool at_end) {
  const std::string_view mark = open_mark();
  std::size_t at = pending_.find(mark);
  const bool found = at != std::string::npos;
  if (!found) {
    at = pending_.size() - std::min(pending_.size(), at_end ? 0 : mark.size() - 1);
    while (!may_become(at, mark) && at < pending_.size()) ++at;
  }
  out.content.append(pending_, 0, at);
  pending_.erase(0, at);
  if (!found) return false;
  mark_size_ = mark.size();
  state_ = State::kTag;
  return true;
}

bool ToolCallParser::step_start(bool at_end) {
  const std::size_t at = skip_space(0);
  if (at < pending_.size() && (pending_[at] == '{' || starts_with(at, kPythonTag))) {
    mark_size_ = pending_[at] == '{' ? at : at + kPythonTag.size();
    state_ = State::kTag;
    return true;
  }
  if (!at_end && (at == pending_.size() || may_become(at, kPythonTag))) return false;
  state_ = State::kPlain;
  return true;
}

bool ToolCallParser::step_tag(ToolDelta& out, bool at_end) {
  std::size_t at = skip_space(mark_size_);
  if (style_ == ToolStyle::kMistral && at < pending_.size()) {
    if (pending_[at] != '[') return give_up(out);
    at = skip_space(at + 1);
  }
  if (at > kMaxUndecided) return give_up(out);
  if (at < pending_.size()) return pending_[at] == '{' ? begin_call(at) : give_up(out);
  return at_end ? give_up(out) : false;
}

bool ToolCallParser::begin_call(std::size_t brace) {
  json_begin_ = scanned_ = brace;
  scanner_ = CallScanner();
  committed_ = streams_ = false;
  state_ = State::kCall;
  return true;
}

/// What was held back is content; behind its mark the search goes on.
bool ToolCallParser::give_up(ToolDelta& out) {
  out.content.append(pending_, 0, mark_size_);
  pending_.erase(0, mark_size_);
  mark_size_ = 0;
  state_ = style_ == ToolStyle::kLlama3 ? State::kPlain : State::kText;
  return true;
}

bool ToolCallParser::may_be_called(const std::string& name) const {
  if (name.empty()) return false;
  return style_ != ToolStyle::kLlama3 || names_.empty() || std::ranges::find(names_, name) != names_.end();
}

/// Reports the call's start as soon as it is one.
ToolCallParser::Verdict ToolCallParser::judge(bool object_ended, ToolDelta& out) {
  if (committed_) return Verdict::kCall;
  if (!object_ended && !(scanner_.has_name() && scanner_.has_arguments())) return Verdict::kWait;
  if (!scanner_.has_name()) return Verdict::kNotACall;
  const std::string_view json = std::string_view(pending_).substr(json_begin_);
  ToolDelta::Call call{next_index_, true, {}, {}};
  call.name = decoded(json.substr(scanner_.name_begin(), scanner_.name_end() - scanner_.name_begin()));
  if (!may_be_called(call.name)) return Verdict::kNotACall;
  if (!scanner_.has_arguments()) {
    // Between marks a name alone is a call; a bare object with a name is just JSON.
    if (style_ == ToolStyle::kLlama3) return Verdict::kNotACall;
    call.arguments = "{}";
  } else if (json[scanner_.arguments_begin()] == '{') {
    streams_ = true;
    sent_ = json_begin_ + scanner_.arguments_begin();
  } else {
    if (scanner_.arguments_end() == 0) return Verdict::kWait;
    const std::size_t begin = scanner_.arguments_begin();
    call.arguments = decoded(json.substr(begin, scanner_.arguments_end() - begin));
    if (!base::Json::parse(call.arguments, nullptr, false).is_object()) return Verdict::kNotACall;
  }
  committed_ = true;
  ++next_index_;
  out.calls.push_back(std::move(call));
  return Verdict::kCall;
}

void ToolCallParser::report_arguments(ToolDelta& out) {
  if (state_ != State::kCall || !committed_ || !streams_) return;
  const std::size_t end = scanner_.arguments_end() > 0 ? json_begin_ + scanner_.arguments_end() : scanned_;
  if (end <= sent_) return;
  const bool same = !out.calls.empty() && out.calls.back().index == next_index_ - 1;
  if (!same) out.calls.push_back({next_index_ - 1, false, {}, {}});
  out.calls.back().arguments.append(pending_, sent_, end - sent_);
  sent_ = end;
}

bool ToolCallParser::call_done(ToolDelta& out) {
  report_arguments(out);
  pending_.erase(0, scanned_);
  mark_size_ = 0;
  state_ = State::kAfterCall;
  return true;
}

/// The last scanned byte does not fit: it and what follows are content.
bool ToolCallParser::call_broken(ToolDelta& out) {
  --scanned_;
  report_arguments(out);
  pending_.erase(0, scanned_);
  mark_size_ = 0;
  state_ = style_ == ToolStyle::kLlama3 ? State::kPlain : State::kText;
  return true;
}

bool ToolCallParser::step_call(ToolDelta& out, bool at_end) {
  while (scanned_ < pending_.size()) {
    const CallScanner::Status status = scanner_.take(pending_[scanned_++]);
    if (status == CallScanner::Status::kBroken) return committed_ ? call_broken(out) : give_up(out);
    const bool done = status == CallScanner::Status::kDone;
    const Verdict verdict = judge(done, out);
    if (verdict == Verdict::kNotACall || (verdict == Verdict::kWait && scanned_ > kMaxUndecided))
      return give_up(out);
    if (done) return call_done(out);
  }
  if (!at_end) return false;
  if (!committed_) return give_up(out);
  report_arguments(out);
  pending_.clear();
  return false;
}

bool ToolCallParser::step_after_call(bool at_end) {
  const std::size_t at = skip_space(0);
  if (at == pending_.size()) {
    if (at_end) pending_.clear();
    return false;
  }
  if (style_ == ToolStyle::kHermes) {
    if (may_become(at, kHermesClose)) {
      if (at_end) pending_.clear();
      return false;
    }
    if (starts_with(at, kHermesClose)) pending_.erase(0, at + kHermesClose.size());
    state_ = State::kBetween;
    return true;
  }
  if (style_ == ToolStyle::kMistral && pending_[at] == ']') {
    pending_.erase(0, at + 1);
    state_ = State::kBetween;
    return true;
  }
  if (pending_[at] == (style_ == ToolStyle::kMistral ? ',' : ';')) {
    const std::size_t next = skip_space(at + 1);
    if (next == pending_.size() && !at_end) return false;
    if (next < pending_.size() && pending_[next] == '{') return begin_call(next);
  }
  state_ = style_ == ToolStyle::kMistral ? State::kText : State::kPlain;
  return true;
}

bool ToolCallParser::step_between(bool at_end) {
  const std::size_t at = skip_space(0);
  if (at == pending_.size()) {
    if (at_end) pending_.clear();
    return false;
  }
  if (may_become(at, open_mark()) && !at_end) return false;
  if (starts_with(at, open_mark())) pending_.erase(0, at);
  state_ = State::kText;
  return true;
}

ParsedAnswer parse_tool_calls(ToolStyle style, std::string_view answer) {
  ParsedAnswer out;
  ToolCallParser parser(style);
  const ToolDelta deltas[] = {parser.push(answer), parser.finish()};
  for (const ToolDelta& delta : deltas) {
    out.content += delta.content;
    for (const ToolDelta::Call& call : delta.calls) {
      if (call.started) out.calls.push_back({call.name, {}});
      out.calls[call.index].arguments_json += call.arguments;
    }
  }
  return out;
}

}  // namespace tw::text
