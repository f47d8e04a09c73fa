#include "serve/constraint.h"

#include "serve/errors.h"

namespace tw::serve {
namespace {

base::Result<text::GrammarPtr> compile(const Constraint& constraint) {
  switch (constraint.kind) {
    case Constraint::Kind::kNone:
      return text::GrammarPtr();
    case Constraint::Kind::kJsonObject:
      return text::json_object_grammar();
    case Constraint::Kind::kJsonSchema:
      return text::compile_json_schema(constraint.schema);
    case Constraint::Kind::kGbnf:
      return text::compile_gbnf(constraint.text);
    case Constraint::Kind::kRegex:
      return text::compile_regex(constraint.text);
    case Constraint::Kind::kChoice:
      return text::compile_gbnf(choice_grammar(constraint.schema));
  }
  return text::GrammarPtr();
}

}  // namespace

std::string choice_grammar(const Value& strings) {
  std::string source = "root ::= ";
  for (std::size_t i = 0; i < strings.size(); ++i) {
    source += i > 0 ? " | \"" : "\"";
    for (const char c : strings[i].get_ref<const std::string&>()) {
      if (c == '"' || c == '\\') source += '\\';
      if (c == '\n')
        source += "\\n";
      else if (c == '\r')
        source += "\\r";
      else if (c == '\t')
        source += "\\t";
      else if (static_cast<unsigned char>(c) < 0x20)
        source += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
      else
        source += c;
    }
    source += '"';
  }
  return source;
}

base::Result<text::GrammarPtr> compile_constraint(const Constraint& constraint) {
  auto compiled = compile(constraint);
  if (compiled.ok()) return compiled;
  // Whatever the compiler's reason is, a constraint that cannot be enforced is the request's fault: 400.
  const base::Error& error = compiled.error();
  const base::Code code = error.code == base::Code::kUnsupported ? error.code : base::Code::kInvalidArgument;
  return base::Error{code, fmt::format("{} cannot be enforced: {}", constraint.field, error.text()),
                     constraint.field};
}

}  // namespace tw::serve
