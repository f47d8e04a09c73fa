// A walk over a parsed template that looks for filters and tests nobody has.
#include "text/jinja_parser.h"

namespace tw::text::jinja {
namespace {

using base::Status;

Status check(const Expr* node, bool soft);
Status check(const Body& body, bool soft);

Status check(const std::vector<ExprPtr>& nodes, bool soft) {
  for (const ExprPtr& node : nodes) TW_RETURN_IF_ERROR(check(node.get(), soft));
  return base::Ok{};
}

Status check(const Expr* node, bool soft) {
  if (node == nullptr) return base::Ok{};
  const bool is_filter = node->kind == ExprKind::kFilter;
  const bool known =
      (!is_filter || node->filter != nullptr) && (node->kind != ExprKind::kTest || node->test != nullptr);
  if (!known && !soft) {
    base::Error error =
        base::error(base::Code::kCorrupt, "no {} is named '{}'", is_filter ? "filter" : "test", node->name);
    error.where = "line " + std::to_string(node->line);
    return error;
  }
  soft = soft || node->kind == ExprKind::kConditional;
  TW_RETURN_IF_ERROR(check(node->children, soft));
  if (node->arguments == nullptr) return base::Ok{};
  TW_RETURN_IF_ERROR(check(node->arguments->positional, soft));
  for (const auto& [name, value] : node->arguments->named) TW_RETURN_IF_ERROR(check(value.get(), soft));
  TW_RETURN_IF_ERROR(check(node->arguments->star.get(), soft));
  return check(node->arguments->double_star.get(), soft);
}

Status check(const MacroDef& macro) {
  for (const Parameter& parameter : macro.parameters)
    TW_RETURN_IF_ERROR(check(parameter.fallback.get(), false));
  return check(macro.body, false);
}

Status check(const Stmt& stmt, bool soft) {
  TW_RETURN_IF_ERROR(check(stmt.expr.get(), soft));
  TW_RETURN_IF_ERROR(check(stmt.test.get(), soft));
  for (const auto& [target, value] : stmt.assignments) TW_RETURN_IF_ERROR(check(value.get(), soft));
  if (stmt.macro != nullptr) TW_RETURN_IF_ERROR(check(*stmt.macro));
  for (const auto& [test, body] : stmt.branches) {
    TW_RETURN_IF_ERROR(check(test.get(), true));
    TW_RETURN_IF_ERROR(check(body, true));
  }
  // A new scope starts strict again, even under an if; jinja2 has it so.
  const bool same_scope = stmt.kind == StmtKind::kIf || stmt.kind == StmtKind::kGroup;
  TW_RETURN_IF_ERROR(check(stmt.body, same_scope && soft));
  return check(stmt.orelse, stmt.kind == StmtKind::kIf);
}

Status check(const Body& body, bool soft) {
  for (const auto& stmt : body) TW_RETURN_IF_ERROR(check(*stmt, soft));
  return base::Ok{};
}

}  // namespace

Status check_names(const Program& program) {
  return check(program.body, false);
}

}  // namespace tw::text::jinja
