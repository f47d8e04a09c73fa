// NfaWriter: expressions to automata.
#include <utility>

#include "text/grammar_compile.h"

namespace tw::text {

std::int32_t NfaWriter::write(ExprId id, std::int32_t next) {
  if (!ok()) return next;
  const std::uint64_t key = (static_cast<std::uint64_t>(id) << 32) | static_cast<std::uint32_t>(next);
  if (const auto it = written_.find(key); it != written_.end()) return it->second;
  const std::int32_t start = write_new(exprs_[static_cast<std::size_t>(id)], next);
  written_.emplace(key, start);
  return start;
}

std::int32_t NfaWriter::write_new(const Expr& expr, std::int32_t next) {
  switch (expr.kind) {
    case Expr::Kind::kEmpty:
      return next;
    case Expr::Kind::kNever:
      return out_.add_state();
    case Expr::Kind::kBytes:
      return write_bytes(expr.bytes, next);
    case Expr::Kind::kChars:
      return write_chars(expr.chars, next);
    case Expr::Kind::kRepeat:
      return write_repeat(expr, next);
    case Expr::Kind::kRef:
      return write_ref(expr.rule, next);
    case Expr::Kind::kAutomaton:
      return write_automaton(expr, next);
    case Expr::Kind::kSeq: {
      for (std::size_t i = expr.parts.size(); i-- > 0;) next = write(expr.parts[i], next);
      return next;
    }
    case Expr::Kind::kAlt: {
      const std::int32_t start = out_.add_state();
      for (const ExprId part : expr.parts) out_.add_jump(start, write(part, next));
      return start;
    }
    case Expr::Kind::kGuard: {
      const std::int32_t start = out_.add_state();
      out_.add_jump(start, next, expr.guard);
      return start;
    }
  }
  return next;
}

std::int32_t NfaWriter::write_bytes(std::string_view text, std::int32_t next) {
  for (std::size_t i = text.size(); i-- > 0;) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    next = utf8_.before(byte, byte, next);
  }
  return next;
}

std::int32_t NfaWriter::write_chars(const CharSet& chars, std::int32_t next) {
  const std::int32_t start = out_.add_state();
  if (alphabet_ == Alphabet::kBytes) {
    utf8_.add(start, chars, next);
  } else {
    for (const CharRange& range : chars.ranges()) out_.add_edge(start, range.lo, range.hi, next);
  }
  return start;
}

std::int32_t NfaWriter::write_repeat(const Expr& expr, std::int32_t next) {
  const ExprId part = expr.parts[0];
  std::int32_t start = next, copies = expr.min;
  if (expr.max == -1) {
    const std::int32_t loop = out_.add_state();
    const std::int32_t body = write(part, loop);
    out_.add_jump(loop, body);
    out_.add_jump(loop, next);
    start = copies > 0 ? body : loop;
    if (copies > 0) --copies;
  } else {
    for (std::int32_t i = expr.min; i < expr.max && ok(); ++i) {
      const std::int32_t maybe = out_.add_state();
      out_.add_jump(maybe, write(part, start));
      out_.add_jump(maybe, next);
      start = maybe;
    }
  }
  for (; copies > 0 && ok(); --copies) start = write(part, start);
  return start;
}

std::int32_t NfaWriter::write_ref(RuleId rule, std::int32_t next) {
  if (inlined_ != nullptr && (*inlined_)[static_cast<std::size_t>(rule)]) {
    return write((*bodies_)[static_cast<std::size_t>(rule)], next);
  }
  const std::int32_t start = out_.add_state();
  out_.add_edge(start, call_symbol(rule), call_symbol(rule), next);
  return start;
}

std::int32_t NfaWriter::write_automaton(const Expr& expr, std::int32_t next) {
  const Automaton& dfa = *expr.automaton;
  if (dfa.size() > max_states_ - out_.size()) max_states_ = 0;  // makes ok() false
  std::vector<std::int32_t> id;
  for (std::int32_t s = 0; s < dfa.size() && ok(); ++s) id.push_back(out_.add_state());
  for (std::int32_t s = 0; s < dfa.size() && ok(); ++s) {
    const std::int32_t from = id[static_cast<std::size_t>(s)];
    if (dfa.accepting(s)) out_.add_jump(from, next);
    dfa.each_edge(s, [&](const Automaton::Edge& edge) {
      const CharSet chars({{edge.lo, edge.hi}});
      const std::int32_t to = id[static_cast<std::size_t>(edge.to)];
      if (alphabet_ == Alphabet::kCodePoints)
        out_.add_edge(from, edge.lo, edge.hi, to);
      else if (expr.json_escaped)
        utf8_.add_json(from, chars, to);
      else
        utf8_.add(from, chars, to);
    });
  }
  return ok() ? id[static_cast<std::size_t>(dfa.start())] : next;
}

}  // namespace tw::text
