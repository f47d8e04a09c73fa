// The expressions of a template.
#include "text/jinja_interpreter.h"
#include "text/jinja_json.h"
#include "text/jinja_ops.h"

// Recursion passes through eval() alone; kept out of line, each case costs stack only for itself.
namespace tw::text::jinja {

using base::Result;
using base::Status;

namespace {

/// Looking a name up passes the variables of its scopes one by one; so many cost a step.
constexpr std::size_t kVariablesPerStep = 16;

}  // namespace

Result<Value> Interpreter::eval(const Expr& node) {
  ++levels_;
  Status entered = enter();
  Result<Value> value = entered.ok() ? dispatch(node) : Result<Value>(std::move(entered).error());
  --levels_;
  if (value.ok() && runtime_.spent()) value = runtime_.step().error();
  if (value.ok() || !value.error().where.empty()) return value;
  base::Error error = std::move(value).error();
  error.where = "line " + std::to_string(node.line);
  return error;
}

[[gnu::noinline]] Result<Value> Interpreter::dispatch(const Expr& node) {
  switch (node.kind) {
    case ExprKind::kConst:
      return node.constant;
    case ExprKind::kName:
      return lookup(node.slot);
    case ExprKind::kAttribute:
      return eval_attribute(node);
    case ExprKind::kItem:
      return eval_item(node);
    case ExprKind::kSlice:
      return eval_slice(node);
    case ExprKind::kCall:
      return call_with(node, std::nullopt);
    case ExprKind::kFilter:
      return eval_filter(node);
    case ExprKind::kTest:
      return eval_test(node);
    case ExprKind::kNegative:
    case ExprKind::kPositive:
    case ExprKind::kNot:
      return eval_unary(node);
    case ExprKind::kBinary:
      return eval_binary(node);
    case ExprKind::kCompare:
      return eval_compare(node);
    case ExprKind::kAnd:
    case ExprKind::kOr:
      return eval_logic(node);
    case ExprKind::kConcat:
      return eval_concat(node);
    case ExprKind::kConditional:
      return eval_conditional(node);
    case ExprKind::kList:
    case ExprKind::kTuple:
      return eval_sequence(node);
    case ExprKind::kDict:
      return eval_dict(node);
  }
  return Value();
}

Result<Value> Interpreter::eval_optional(const ExprPtr& node) {
  if (node == nullptr) return Value();
  return eval(*node);
}

Result<Value> Interpreter::lookup(int slot) {
  std::size_t passed = 0;
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    passed += 1 + scope->variables.size();
    const Value* found = scope->find(slot);
    if (found == nullptr) continue;
    TW_RETURN_IF_ERROR(runtime_.step(passed / kVariablesPerStep));
    return *found;
  }
  TW_RETURN_IF_ERROR(runtime_.step(passed / kVariablesPerStep));
  std::optional<Value>& known = outside_[static_cast<std::size_t>(slot)];
  if (known) return *known;
  TW_ASSIGN_OR_RETURN(Value value, look_outside(slot));
  known = value;
  return value;
}

Result<Value> Interpreter::look_outside(int slot) {
  const std::string& name = program_.names[static_cast<std::size_t>(slot)];
  if (const auto at = context_.find(name); at != context_.end()) {
    Result<Value> value = from_json(runtime_, *at);
    if (value.ok()) return value;
    base::Error error = std::move(value).error();
    error.message = "variable '" + name + "': " + error.message;
    return error;
  }
  std::optional<Value> global = find_global(runtime_, name);
  return global ? *std::move(global) : runtime_.undefined("'" + name + "' is undefined");
}

[[gnu::noinline]] Result<Value> Interpreter::eval_attribute(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value object, eval(*node.children[0]));
  return get_attribute(runtime_, object, node.name);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_item(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value object, eval(*node.children[0]));
  TW_ASSIGN_OR_RETURN(const Value key, eval(*node.children[1]));
  return get_item(runtime_, object, key);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_slice(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value object, eval(*node.children[0]));
  TW_ASSIGN_OR_RETURN(const Value start, eval_optional(node.children[1]));
  TW_ASSIGN_OR_RETURN(const Value stop, eval_optional(node.children[2]));
  TW_ASSIGN_OR_RETURN(const Value step, eval_optional(node.children[3]));
  return slice(runtime_, object, start, stop, step);
}

[[gnu::noinline]] Result<Args> Interpreter::eval_arguments(const Arguments* arguments) {
  Args out;
  if (arguments == nullptr) return out;
  for (const ExprPtr& node : arguments->positional) {
    TW_ASSIGN_OR_RETURN(Value value, eval(*node));
    out.positional.push_back(std::move(value));
  }
  for (const auto& [name, node] : arguments->named) {
    TW_ASSIGN_OR_RETURN(Value value, eval(*node));
    out.named.emplace_back(name, std::move(value));
  }
  TW_RETURN_IF_ERROR(spread(*arguments, out));
  return out;
}

/// The arguments that *sequence and **mapping add.
[[gnu::noinline]] Status Interpreter::spread(const Arguments& arguments, Args& out) {
  if (arguments.star != nullptr) {
    TW_ASSIGN_OR_RETURN(const Value star, eval(*arguments.star));
    TW_ASSIGN_OR_RETURN(const std::vector<Value> items, iterate(runtime_, star));
    out.positional.insert(out.positional.end(), items.begin(), items.end());
  }
  if (arguments.double_star == nullptr) return base::Ok{};
  TW_ASSIGN_OR_RETURN(const Value mapping, eval(*arguments.double_star));
  if (!mapping.is(Kind::kDict))
    return template_error("argument after ** must be a mapping, not {}", mapping.type_name());
  for (const auto& [key, value] : mapping.as<Dict>().items.all()) {
    if (!key.is_string()) return template_error("keywords must be strings");
    out.named.emplace_back(key.text(), value);
  }
  return runtime_.step(mapping.as<Dict>().items.size());
}

[[gnu::noinline]] Result<Value> Interpreter::call_with(const Expr& node, std::optional<Value> caller) {
  TW_ASSIGN_OR_RETURN(const Value callee, eval(*node.children[0]));
  TW_ASSIGN_OR_RETURN(Args args, eval_arguments(node.arguments.get()));
  if (caller) args.named.emplace_back("caller", *std::move(caller));
  return call(runtime_, callee, args);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_filter(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value value,
                      node.children[0] == nullptr ? Result<Value>(piped_.back()) : eval(*node.children[0]));
  if (node.filter == nullptr) return template_error("no filter is named '{}'", node.name);
  TW_ASSIGN_OR_RETURN(const Args args, eval_arguments(node.arguments.get()));
  return node.filter(runtime_, value, args);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_test(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value value, eval(*node.children[0]));
  if (node.test == nullptr) return template_error("no test is named '{}'", node.name);
  TW_ASSIGN_OR_RETURN(const Args args, eval_arguments(node.arguments.get()));
  TW_ASSIGN_OR_RETURN(const bool yes, node.test(runtime_, value, args));
  return Value::boolean(yes);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_unary(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value value, eval(*node.children[0]));
  if (node.kind == ExprKind::kNot) return Value::boolean(!truthy(value));
  if (node.kind == ExprKind::kNegative) return negative(runtime_, value);
  if (value.is_integer()) return Value::integer(value.as_int());
  if (value.is_undefined()) return undefined_error(value);
  if (!value.is_number()) return template_error("bad operand type for unary +: '{}'", value.type_name());
  return value;
}

[[gnu::noinline]] Result<Value> Interpreter::eval_binary(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value left, eval(*node.children[0]));
  TW_ASSIGN_OR_RETURN(const Value right, eval(*node.children[1]));
  return binary(runtime_, node.op, left, right);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_compare(const Expr& node) {
  TW_ASSIGN_OR_RETURN(Value left, eval(*node.children[0]));
  for (std::size_t i = 0; i < node.ops.size(); ++i) {
    TW_ASSIGN_OR_RETURN(Value right, eval(*node.children[i + 1]));
    TW_ASSIGN_OR_RETURN(const bool yes, compare(runtime_, node.ops[i], left, right));
    if (!yes) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_logic(const Expr& node) {
  TW_ASSIGN_OR_RETURN(Value left, eval(*node.children[0]));
  if (truthy(left) == (node.kind == ExprKind::kOr)) return left;
  return eval(*node.children[1]);
}

[[gnu::noinline]] Result<Value> Interpreter::eval_concat(const Expr& node) {
  std::string out;
  for (const ExprPtr& child : node.children) {
    TW_ASSIGN_OR_RETURN(const Value value, eval(*child));
    TW_RETURN_IF_ERROR(append_text(runtime_, out, value));
  }
  return runtime_.string(std::move(out));
}

[[gnu::noinline]] Result<Value> Interpreter::eval_conditional(const Expr& node) {
  TW_ASSIGN_OR_RETURN(const Value test, eval(*node.children[0]));
  if (truthy(test)) return eval(*node.children[1]);
  if (node.children[2] != nullptr) return eval(*node.children[2]);
  return runtime_.undefined("the inline if-expression evaluated to false and no else section was defined");
}

[[gnu::noinline]] Result<Value> Interpreter::eval_sequence(const Expr& node) {
  std::vector<Value> items;
  items.reserve(node.children.size());
  for (const ExprPtr& child : node.children) {
    TW_ASSIGN_OR_RETURN(Value value, eval(*child));
    items.push_back(std::move(value));
  }
  return node.kind == ExprKind::kList ? runtime_.list(std::move(items)) : runtime_.tuple(std::move(items));
}

[[gnu::noinline]] Result<Value> Interpreter::eval_dict(const Expr& node) {
  DictItems items;
  for (std::size_t i = 0; i < node.children.size(); i += 2) {
    TW_ASSIGN_OR_RETURN(Value key, eval(*node.children[i]));
    TW_ASSIGN_OR_RETURN(Value value, eval(*node.children[i + 1]));
    if (!is_hashable(key)) return template_error("unhashable type: '{}'", key.type_name());
    items.set(std::move(key), std::move(value));
  }
  return runtime_.dict(std::move(items));
}

}  // namespace tw::text::jinja
