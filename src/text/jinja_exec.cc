// The statements of a template.
#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_ops.h"

namespace tw::text::jinja {

using base::Code;
using base::Result;
using base::Status;

namespace {

/// How often eval and exec may nest, as a multiple of max_depth: a macro call takes four and more.
constexpr int kLevelsPerDepth = 10;

int slot_or_none(const Program& program, std::string_view name) {
  const auto at = program.slots.find(name);
  return at == program.slots.end() ? -1 : at->second;
}

Result<Flow> at_line(Result<Flow> result, int line) {
  if (result.ok() || !result.error().where.empty()) return result;
  base::Error error = std::move(result).error();
  error.where = "line " + std::to_string(line);
  return error;
}

}  // namespace

const Value* Scope::find(int slot) const {
  for (const auto& [known, value] : variables) {
    if (known == slot) return &value;
  }
  return nullptr;
}

void Scope::set(int slot, Value value) {
  if (const Value* there = find(slot); there != nullptr)
    *const_cast<Value*>(there) = std::move(value);
  else
    variables.emplace_back(slot, std::move(value));
}

Interpreter::Interpreter(const Program& program, Runtime& runtime, const base::OrderedJson& context)
    : program_(program),
      runtime_(runtime),
      context_(context),
      scope_(std::make_shared<Scope>(&runtime.heap(), nullptr)),
      outside_(program.names.size()),
      loop_slot_(slot_or_none(program, "loop")),
      caller_slot_(slot_or_none(program, "caller")) {}

Interpreter::~Interpreter() {
  for (const auto& scope : captured_) scope->variables.clear();
}

Result<std::string> Interpreter::run() {
  std::string out;
  TW_RETURN_IF_ERROR(exec(program_.body, out));
  return out;
}

Status Interpreter::enter() {
  if (levels_ <= runtime_.limits().max_depth * kLevelsPerDepth) return runtime_.step();
  return base::error(Code::kResourceExhausted, "blocks, expressions and macro calls nest too deeply");
}

Status Interpreter::emit(std::string& out, std::string_view text) {
  if (text.size() > runtime_.limits().max_output_bytes - buffered_) {
    return base::error(Code::kResourceExhausted, "the output is longer than {} bytes",
                       runtime_.limits().max_output_bytes);
  }
  buffered_ += text.size();
  out += text;
  return base::Ok{};
}

Result<Flow> Interpreter::exec(const Body& body, std::string& out) {
  ++levels_;
  Result<Flow> flow = Flow::kNormal;
  for (const auto& stmt : body) {
    const Status entered = enter();
    flow = at_line(entered.ok() ? exec_one(*stmt, out) : Result<Flow>(entered.error()), stmt->line);
    if (!flow.ok() || *flow != Flow::kNormal) break;
  }
  --levels_;
  return flow;
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_one(const Stmt& stmt, std::string& out) {
  switch (stmt.kind) {
    case StmtKind::kText:
      TW_RETURN_IF_ERROR(emit(out, stmt.text));
      return Flow::kNormal;
    case StmtKind::kOutput:
      return exec_output(stmt, out);
    case StmtKind::kFor:
      return exec_for(stmt, out);
    case StmtKind::kIf:
      return exec_if(stmt, out);
    case StmtKind::kSet:
      return exec_set(stmt);
    case StmtKind::kSetBlock:
      return exec_set_block(stmt);
    case StmtKind::kMacro:
      return exec_macro(stmt);
    case StmtKind::kCall:
      return exec_call(stmt, out);
    case StmtKind::kFilterBlock:
      return exec_filter_block(stmt, out);
    case StmtKind::kWith:
      return exec_with(stmt, out);
    case StmtKind::kGroup:
      return exec(stmt.body, out);
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_output(const Stmt& stmt, std::string& out) {
  TW_ASSIGN_OR_RETURN(const Value value, eval(*stmt.expr));
  if (value.is_string()) {
    TW_RETURN_IF_ERROR(emit(out, value.text()));
    return Flow::kNormal;
  }
  TW_ASSIGN_OR_RETURN(const std::string text, to_text(runtime_, value));
  TW_RETURN_IF_ERROR(emit(out, text));
  return Flow::kNormal;
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_if(const Stmt& stmt, std::string& out) {
  for (const auto& [test, body] : stmt.branches) {
    TW_ASSIGN_OR_RETURN(const Value value, eval(*test));
    if (truthy(value)) return exec(body, out);
  }
  return exec(stmt.orelse, out);
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_for(const Stmt& stmt, std::string& out) {
  TW_ASSIGN_OR_RETURN(const Value sequence, eval(*stmt.expr));
  TW_ASSIGN_OR_RETURN(std::vector<Value> items, iterate(runtime_, sequence));
  // `loop` knows how many turns come, so the test must be asked of all items first; without it, as jinja2
  // does, each item is tested when its turn comes, after the turns before it.
  const bool test_now = stmt.test != nullptr && loop_slot_ < 0;
  if (stmt.test != nullptr && !test_now) {
    TW_ASSIGN_OR_RETURN(items, filter_items(stmt, std::move(items)));
  }
  bool any = false;
  TW_ASSIGN_OR_RETURN(const Flow flow, exec_turns(stmt, std::move(items), test_now, out, any));
  if (any || stmt.orelse.empty()) return flow;
  const ScopeGuard guard(*this, inner_scope());
  return exec(stmt.orelse, out);
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_turns(const Stmt& stmt, std::vector<Value> items,
                                                       bool test_now, std::string& out, bool& any) {
  int depth = 1;
  for (const Value& item : items) depth = std::max(depth, item.depth() + 1);
  const auto loop = std::make_shared<Loop>(&runtime_.heap(), std::move(items), depth);
  const Value loop_value = Value::object(Kind::kOther, loop);
  for (std::size_t i = 0; i < loop->items.size(); ++i) {
    TW_RETURN_IF_ERROR(runtime_.step());
    if (test_now) {
      TW_ASSIGN_OR_RETURN(const bool pass, passes_test(stmt, loop->items[i]));
      if (!pass) continue;
    }
    loop->index = i;
    const ScopeGuard guard(*this, inner_scope());
    if (loop_slot_ >= 0) scope_->set(loop_slot_, loop_value);
    TW_RETURN_IF_ERROR(assign(stmt.target, loop->items[i]));
    TW_ASSIGN_OR_RETURN(const Flow flow, exec(stmt.body, out));
    // As in jinja2, a turn that ends by break or continue does not keep `else` from being rendered.
    if (flow == Flow::kNormal) any = true;
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNormal;
}

Result<bool> Interpreter::passes_test(const Stmt& stmt, const Value& item) {
  const ScopeGuard guard(*this, inner_scope());
  TW_RETURN_IF_ERROR(assign(stmt.target, item));
  TW_ASSIGN_OR_RETURN(const Value value, eval(*stmt.test));
  return truthy(value);
}

Result<std::vector<Value>> Interpreter::filter_items(const Stmt& stmt, std::vector<Value> items) {
  std::vector<Value> out;
  for (Value& item : items) {
    TW_ASSIGN_OR_RETURN(const bool pass, passes_test(stmt, item));
    if (pass) out.push_back(std::move(item));
  }
  return out;
}

Status Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    TW_ASSIGN_OR_RETURN(const std::vector<Value> parts, iterate(runtime_, value));
    if (parts.size() != target.parts.size()) {
      return template_error("cannot unpack {} values into {} names", parts.size(), target.parts.size());
    }
    for (std::size_t i = 0; i < parts.size(); ++i) TW_RETURN_IF_ERROR(assign(target.parts[i], parts[i]));
    return base::Ok{};
  }
  if (target.attribute.empty()) {
    TW_RETURN_IF_ERROR(runtime_.step(scope_->variables.size() / 16));
    scope_->set(target.slot, value);
    return base::Ok{};
  }
  TW_ASSIGN_OR_RETURN(const Value space, lookup(target.slot));
  if (!space.is(Kind::kNamespace)) return template_error("cannot assign attribute on non-namespace object");
  space.as<Namespace>().items.set(runtime_.string(target.attribute), value);
  return base::Ok{};
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_set(const Stmt& stmt) {
  TW_ASSIGN_OR_RETURN(const Value value, eval(*stmt.expr));
  TW_RETURN_IF_ERROR(assign(stmt.target, value));
  return Flow::kNormal;
}

Result<std::pair<std::string, Flow>> Interpreter::captured(const Body& body) {
  const ScopeGuard guard(*this, inner_scope());
  const std::size_t before = buffered_;
  std::string text;
  TW_ASSIGN_OR_RETURN(const Flow flow, exec(body, text));
  buffered_ = before;
  return std::pair(std::move(text), flow);
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_set_block(const Stmt& stmt) {
  TW_ASSIGN_OR_RETURN(auto made, captured(stmt.body));
  if (made.second != Flow::kNormal) return made.second;
  Value value = runtime_.string(std::move(made.first));
  if (stmt.expr != nullptr) {
    piped_.push_back(std::move(value));
    Result<Value> filtered = eval(*stmt.expr);
    piped_.pop_back();
    TW_ASSIGN_OR_RETURN(value, std::move(filtered));
  }
  TW_RETURN_IF_ERROR(assign(stmt.target, value));
  return Flow::kNormal;
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_filter_block(const Stmt& stmt, std::string& out) {
  TW_ASSIGN_OR_RETURN(auto made, captured(stmt.body));
  if (made.second != Flow::kNormal) return made.second;
  piped_.push_back(runtime_.string(std::move(made.first)));
  Result<Value> filtered = eval(*stmt.expr);
  piped_.pop_back();
  TW_ASSIGN_OR_RETURN(const Value value, std::move(filtered));
  if (!value.is_string()) return template_error("a filter block must give text, not {}", value.type_name());
  TW_RETURN_IF_ERROR(emit(out, value.text()));
  return Flow::kNormal;
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_with(const Stmt& stmt, std::string& out) {
  std::shared_ptr<Scope> inner = inner_scope();
  for (const auto& [target, node] : stmt.assignments) {
    TW_ASSIGN_OR_RETURN(Value value, eval(*node));
    inner->set(target.slot, std::move(value));
  }
  const ScopeGuard guard(*this, std::move(inner));
  return exec(stmt.body, out);
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_macro(const Stmt& stmt) {
  scope_->set(stmt.macro->slot, make_macro(*stmt.macro));
  return Flow::kNormal;
}

[[gnu::noinline]] Result<Flow> Interpreter::exec_call(const Stmt& stmt, std::string& out) {
  TW_ASSIGN_OR_RETURN(const Value value, call_with(*stmt.expr, make_macro(*stmt.macro)));
  if (!value.is_string()) return template_error("a call block must give text, not {}", value.type_name());
  TW_RETURN_IF_ERROR(emit(out, value.text()));
  return Flow::kNormal;
}

}  // namespace tw::text::jinja
