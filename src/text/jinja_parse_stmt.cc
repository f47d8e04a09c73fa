// Statements: text, {{ output }} and the {% tags %}.
#include <algorithm>
#include <utility>

#include "text/jinja_parser.h"

namespace tw::text::jinja {
namespace {

using base::Code;
using base::Result;
using base::Status;
using StmtPtr = std::unique_ptr<Stmt>;

bool is_constant_name(std::string_view name) {
  return name == "true" || name == "True" || name == "false" || name == "False" || name == "none" ||
         name == "None";
}

}  // namespace

std::unique_ptr<Stmt> Parser::make_stmt(StmtKind kind) const {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->line = peek().line;
  return stmt;
}

Status Parser::end_tag(std::string_view what) {
  take(":");
  if (peek().kind != TokenKind::kBlockEnd) return unexpected("the end of the " + std::string(what) + " tag");
  next();
  return base::Ok{};
}

/// Statements up to one of the tags named in `ends`, whose name is then the next token; without ends, to the
/// end of the template.
Result<Body> Parser::body(std::initializer_list<std::string_view> ends) {
  const DepthGuard guard(*this);
  TW_RETURN_IF_ERROR(enter());
  Body out;
  while (true) {
    if (peek().kind == TokenKind::kEnd) {
      if (ends.size() == 0) return out;
      return unexpected("{% " + std::string(*(ends.end() - 1)) + " %}");
    }
    if (peek().kind == TokenKind::kBlockBegin) {
      const Token& tag = peek(1);
      if (tag.kind == TokenKind::kName && std::find(ends.begin(), ends.end(), tag.text) != ends.end()) {
        next();
        return out;
      }
    }
    TW_RETURN_IF_ERROR(statement(out));
  }
}

Status Parser::statement(Body& out) {
  if (peek().kind == TokenKind::kData) {
    StmtPtr stmt = make_stmt(StmtKind::kText);
    stmt->text = next().text;
    out.push_back(std::move(stmt));
    return base::Ok{};
  }
  if (peek().kind == TokenKind::kVariableBegin) {
    StmtPtr stmt = make_stmt(StmtKind::kOutput);
    next();
    TW_ASSIGN_OR_RETURN(stmt->expr, tuple(true, false));
    if (peek().kind != TokenKind::kVariableEnd) return unexpected("'}}'");
    next();
    out.push_back(std::move(stmt));
    return base::Ok{};
  }
  next();
  if (peek().kind != TokenKind::kName) return unexpected("the name of a tag");
  const std::string tag = peek().text;
  if (tag == "print") {
    next();
    while (peek().kind != TokenKind::kBlockEnd) {
      if (peek(0).kind == TokenKind::kOperator && at(",")) next();
      StmtPtr stmt = make_stmt(StmtKind::kOutput);
      TW_ASSIGN_OR_RETURN(stmt->expr, expression());
      out.push_back(std::move(stmt));
      if (!at(",") && peek().kind != TokenKind::kBlockEnd) return unexpected("','");
    }
    return end_tag(tag);
  }
  TW_ASSIGN_OR_RETURN(StmtPtr stmt, block_statement(tag));
  TW_RETURN_IF_ERROR(end_tag(tag));
  out.push_back(std::move(stmt));
  return base::Ok{};
}

/// A tag whose name is the next token, up to but without the end of its last part.
Result<StmtPtr> Parser::block_statement(const std::string& tag) {
  if (tag == "if") return if_statement();
  if (tag == "for") return for_statement();
  if (tag == "set") return set_statement();
  if (tag == "macro") return macro_statement();
  if (tag == "call") return call_statement();
  if (tag == "filter") return filter_statement();
  if (tag == "with") return with_statement();
  if (tag == "generation") return generation_statement();
  if (tag == "break") return loop_control(StmtKind::kBreak);
  if (tag == "continue") return loop_control(StmtKind::kContinue);
  for (const std::string_view refused : {"include", "import", "from", "extends", "block", "autoescape"}) {
    if (tag != refused) continue;
    base::Error error = fail("the tag '" + tag + "' is not supported in chat templates");
    error.code = Code::kUnsupported;
    return error;
  }
  return fail("unknown tag '" + tag + "'");
}

Result<StmtPtr> Parser::if_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kIf);
  next();
  while (true) {
    TW_ASSIGN_OR_RETURN(ExprPtr test, tuple(false, false));
    TW_RETURN_IF_ERROR(end_tag("if"));
    TW_ASSIGN_OR_RETURN(Body then, body({"elif", "else", "endif"}));
    stmt->branches.emplace_back(std::move(test), std::move(then));
    const std::string tag = next().text;
    if (tag == "elif") continue;
    if (tag == "else") {
      TW_RETURN_IF_ERROR(end_tag("else"));
      TW_ASSIGN_OR_RETURN(stmt->orelse, body({"endif"}));
      next();
    }
    return stmt;
  }
}

Result<StmtPtr> Parser::for_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kFor);
  next();
  ++all_loops_;
  TW_ASSIGN_OR_RETURN(stmt->target, target_tuple(false, "in"));
  --all_loops_;
  if (!take_name("in")) return unexpected("'in'");
  TW_ASSIGN_OR_RETURN(stmt->expr, tuple(false, false, "recursive"));
  if (take_name("if")) {
    TW_ASSIGN_OR_RETURN(stmt->test, expression());
  }
  if (at_name("recursive")) {
    base::Error error = fail("recursive for loops are not supported: use a macro");
    error.code = Code::kUnsupported;
    return error;
  }
  TW_RETURN_IF_ERROR(end_tag("for"));
  ++loops_;
  ++all_loops_;
  TW_ASSIGN_OR_RETURN(stmt->body, body({"endfor", "else"}));
  --all_loops_;
  --loops_;
  if (next().text == "else") {
    TW_RETURN_IF_ERROR(end_tag("else"));
    TW_ASSIGN_OR_RETURN(stmt->orelse, body({"endfor"}));
    next();
  }
  return stmt;
}

Result<StmtPtr> Parser::set_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kSet);
  next();
  TW_ASSIGN_OR_RETURN(stmt->target, target_tuple(true, {}));
  if (take("=")) {
    TW_ASSIGN_OR_RETURN(stmt->expr, tuple(true, false));
    return stmt;
  }
  stmt->kind = StmtKind::kSetBlock;
  while (take("|")) {
    TW_ASSIGN_OR_RETURN(stmt->expr, filter(std::move(stmt->expr)));
  }
  TW_RETURN_IF_ERROR(end_tag("set"));
  TW_ASSIGN_OR_RETURN(stmt->body, body({"endset"}));
  next();
  return stmt;
}

Result<StmtPtr> Parser::macro_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kMacro);
  next();
  stmt->macro = std::make_unique<MacroDef>();
  stmt->macro->line = stmt->line;
  TW_ASSIGN_OR_RETURN(const Target name, target_name(false));
  stmt->macro->slot = name.slot;
  stmt->macro->name = program_.names[static_cast<std::size_t>(name.slot)];
  TW_RETURN_IF_ERROR(signature(*stmt->macro));
  TW_RETURN_IF_ERROR(macro_body(*stmt->macro, "endmacro"));
  return stmt;
}

Result<StmtPtr> Parser::call_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kCall);
  next();
  stmt->macro = std::make_unique<MacroDef>();
  stmt->macro->name = "caller";
  stmt->macro->line = stmt->line;
  if (at("(")) TW_RETURN_IF_ERROR(signature(*stmt->macro));
  TW_ASSIGN_OR_RETURN(stmt->expr, expression());
  if (stmt->expr->kind != ExprKind::kCall) return fail("{% call %} needs a call, such as {% call name() %}");
  TW_RETURN_IF_ERROR(macro_body(*stmt->macro, "endcall"));
  return stmt;
}

/// The body of a macro, with a note of which of the implicit variables it reads.
Status Parser::macro_body(MacroDef& macro, std::string_view end) {
  TW_RETURN_IF_ERROR(end_tag("macro"));
  const int outer_loops = std::exchange(loops_, 0);
  const int callers = caller_reads_;
  const int varargs = varargs_reads_;
  const int kwargs = kwargs_reads_;
  TW_ASSIGN_OR_RETURN(macro.body, body({end}));
  next();
  macro.uses_caller = caller_reads_ > callers;
  macro.uses_varargs = varargs_reads_ > varargs;
  macro.uses_kwargs = kwargs_reads_ > kwargs;
  loops_ = outer_loops;
  return base::Ok{};
}

Status Parser::signature(MacroDef& macro) {
  TW_RETURN_IF_ERROR(expect("("));
  while (!at(")")) {
    if (!macro.parameters.empty()) TW_RETURN_IF_ERROR(expect(","));
    TW_ASSIGN_OR_RETURN(const Target name, target_name(false));
    Parameter parameter;
    parameter.slot = name.slot;
    parameter.name = program_.names[static_cast<std::size_t>(name.slot)];
    if (take("=")) {
      TW_ASSIGN_OR_RETURN(parameter.fallback, expression());
    } else if (!macro.parameters.empty() && macro.parameters.back().fallback != nullptr) {
      return fail("a parameter without a default follows one with a default");
    }
    macro.parameters.push_back(std::move(parameter));
  }
  return expect(")");
}

Result<StmtPtr> Parser::filter_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kFilterBlock);
  next();
  do {
    TW_ASSIGN_OR_RETURN(stmt->expr, filter(std::move(stmt->expr)));
  } while (take("|"));
  TW_RETURN_IF_ERROR(end_tag("filter"));
  TW_ASSIGN_OR_RETURN(stmt->body, body({"endfilter"}));
  next();
  return stmt;
}

Result<StmtPtr> Parser::with_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kWith);
  next();
  while (peek().kind != TokenKind::kBlockEnd) {
    if (!stmt->assignments.empty()) TW_RETURN_IF_ERROR(expect(","));
    TW_ASSIGN_OR_RETURN(Target target, target_name(false));
    TW_RETURN_IF_ERROR(expect("="));
    TW_ASSIGN_OR_RETURN(ExprPtr value, expression());
    stmt->assignments.emplace_back(std::move(target), std::move(value));
  }
  TW_RETURN_IF_ERROR(end_tag("with"));
  TW_ASSIGN_OR_RETURN(stmt->body, body({"endwith"}));
  next();
  return stmt;
}

/// transformers marks the assistant's tokens by this tag; its text is rendered as if the tag were not there.
Result<StmtPtr> Parser::generation_statement() {
  StmtPtr stmt = make_stmt(StmtKind::kGroup);
  next();
  TW_RETURN_IF_ERROR(end_tag("generation"));
  TW_ASSIGN_OR_RETURN(stmt->body, body({"endgeneration"}));
  next();
  return stmt;
}

Result<StmtPtr> Parser::loop_control(StmtKind kind) {
  if (loops_ == 0) return fail("'" + peek().text + "' outside a for loop");
  StmtPtr stmt = make_stmt(kind);
  next();
  return stmt;
}

Result<Target> Parser::target_name(bool with_namespace) {
  TW_ASSIGN_OR_RETURN(const std::string name, expect_name());
  if (name == "loop" && all_loops_ > 0) return fail("cannot assign to 'loop' inside a for loop");
  if (is_constant_name(name)) return fail("cannot assign to '" + name + "'");
  Target target;
  target.slot = slot_of(name);
  if (with_namespace && take(".")) {
    // Setting an attribute reads the namespace itself.
    program_.read[static_cast<std::size_t>(target.slot)] = true;
    TW_ASSIGN_OR_RETURN(target.attribute, expect_name());
  }
  return target;
}

Result<Target> Parser::target_tuple(bool with_namespace, std::string_view end_name) {
  const DepthGuard guard(*this);
  TW_RETURN_IF_ERROR(enter());
  Target out;
  while (true) {
    if (!out.parts.empty()) TW_RETURN_IF_ERROR(expect(","));
    if (tuple_ends(end_name) || at("=")) break;
    if (take("(")) {
      TW_ASSIGN_OR_RETURN(Target inner, target_tuple(with_namespace, end_name));
      TW_RETURN_IF_ERROR(expect(")"));
      out.parts.push_back(std::move(inner));
    } else {
      TW_ASSIGN_OR_RETURN(Target name, target_name(with_namespace));
      out.parts.push_back(std::move(name));
    }
    if (!at(",")) break;
    out.is_tuple = true;
  }
  if (out.parts.empty()) return unexpected("a name to assign to");
  if (!out.is_tuple) return std::move(out.parts[0]);
  return out;
}

}  // namespace tw::text::jinja
