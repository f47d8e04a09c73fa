// Runs a parsed template. Scopes follow jinja2: a name is looked up from the innermost scope outwards, then
// in the render's variables, then among the globals; `set` writes to the innermost scope; if does not open
// one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/jinja_ast.h"
#include "text/jinja_runtime.h"

namespace tw::text::jinja {

/// The variables of a loop's turn, a macro's call or a block.
struct Scope final : Object {
  Scope(Heap* heap, std::shared_ptr<Scope> parent_in)
      : Object(heap, sizeof(Scope) + 64, 0), parent(std::move(parent_in)) {}
  std::string_view type_name() const override { return "scope"; }
  const Value* find(int slot) const;
  void set(int slot, Value value);

  const std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables;
  bool captured = false;  // by a macro, which the scope may in turn hold
};

/// `loop` inside a for.
struct Loop final : Object {
  Loop(Heap* heap, std::vector<Value> items_in, int depth)
      : Object(heap, sizeof(Loop) + items_in.size() * sizeof(Value), depth), items(std::move(items_in)) {}
  std::string_view type_name() const override { return "LoopContext"; }
  std::string spelling() const override;
  std::optional<Value> attribute(Runtime& runtime, const Value& self, std::string_view name) override;

  const std::vector<Value> items;
  std::size_t index = 0;
  std::vector<Value> last_changed;  // what changed() saw; empty at first
  bool changed_called = false;
};

enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };

/// One render of one program, on one thread.
class Interpreter {
 public:
  /// All three must outlive the interpreter, and the runtime the values. REQUIRES: context is an object.
  Interpreter(const Program& program, Runtime& runtime, const base::OrderedJson& context);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  ~Interpreter();

  base::Result<std::string> run();

 private:
  friend class MacroValue;

  // jinja_eval.cc: expressions.
  base::Result<Value> eval(const Expr& node);
  base::Result<Value> dispatch(const Expr& node);
  base::Result<Value> eval_optional(const ExprPtr& node);
  base::Result<Value> eval_attribute(const Expr& node);
  base::Result<Value> eval_item(const Expr& node);
  base::Result<Value> eval_slice(const Expr& node);
  base::Result<Value> eval_filter(const Expr& node);
  base::Result<Value> eval_test(const Expr& node);
  base::Result<Value> eval_binary(const Expr& node);
  base::Result<Value> eval_compare(const Expr& node);
  base::Result<Value> eval_logic(const Expr& node);
  base::Result<Value> eval_unary(const Expr& node);
  base::Result<Value> eval_concat(const Expr& node);
  base::Result<Value> eval_conditional(const Expr& node);
  base::Result<Value> eval_sequence(const Expr& node);
  base::Result<Value> eval_dict(const Expr& node);
  base::Result<Args> eval_arguments(const Arguments* arguments);
  base::Status spread(const Arguments& arguments, Args& out);
  base::Result<Value> call_with(const Expr& node, std::optional<Value> caller);
  base::Result<Value> lookup(int slot);
  base::Result<Value> look_outside(int slot);

  // jinja_exec.cc: statements.
  base::Result<Flow> exec(const Body& body, std::string& out);
  base::Result<Flow> exec_one(const Stmt& stmt, std::string& out);
  base::Result<Flow> exec_if(const Stmt& stmt, std::string& out);
  base::Result<Flow> exec_for(const Stmt& stmt, std::string& out);
  base::Result<Flow> exec_turns(const Stmt& stmt, std::vector<Value> items, bool test_now, std::string& out,
                                bool& any);
  base::Result<std::vector<Value>> filter_items(const Stmt& stmt, std::vector<Value> items);
  base::Result<bool> passes_test(const Stmt& stmt, const Value& item);
  base::Result<Flow> exec_output(const Stmt& stmt, std::string& out);
  base::Result<Flow> exec_set(const Stmt& stmt);
  base::Result<Flow> exec_set_block(const Stmt& stmt);
  base::Result<Flow> exec_filter_block(const Stmt& stmt, std::string& out);
  base::Result<Flow> exec_with(const Stmt& stmt, std::string& out);
  base::Result<Flow> exec_macro(const Stmt& stmt);
  base::Result<Flow> exec_call(const Stmt& stmt, std::string& out);
  base::Status assign(const Target& target, const Value& value);
  base::Status emit(std::string& out, std::string_view text);
  /// Runs a body in a scope of its own and gives its text.
  base::Result<std::pair<std::string, Flow>> captured(const Body& body);

  // jinja_macro.cc
  Value make_macro(const MacroDef& macro);
  base::Result<Value> call_macro(const MacroDef& macro, const std::shared_ptr<Scope>& home, Args& args);
  base::Status bind_macro(const MacroDef& macro, Scope& scope, Args& args);
  base::Status bind_implicit(const MacroDef& macro, Scope& scope, Args& args);
  base::Status bind_defaults(const MacroDef& macro);
  base::Status enter();

  /// Makes a scope the current one for as long as it lives.
  class ScopeGuard {
   public:
    ScopeGuard(Interpreter& interpreter, std::shared_ptr<Scope> scope)
        : interpreter_(interpreter), outer_(std::exchange(interpreter.scope_, std::move(scope))) {}
    ~ScopeGuard() { interpreter_.scope_ = std::move(outer_); }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;

   private:
    Interpreter& interpreter_;
    std::shared_ptr<Scope> outer_;
  };
  std::shared_ptr<Scope> inner_scope() { return std::make_shared<Scope>(&runtime_.heap(), scope_); }

  const Program& program_;
  Runtime& runtime_;
  const base::OrderedJson& context_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> captured_;  // emptied at the end: breaks circles through macros
  std::vector<std::optional<Value>> outside_;     // by slot: variables and globals met so far
  std::vector<Value> piped_;                      // what the filter blocks under way work on
  std::size_t buffered_ = 0;                      // bytes of text in all buffers under way
  int levels_ = 0;                                // nesting of eval and exec, bounds the stack
  int calls_ = 0;                                 // nesting of macro calls
  int loop_slot_ = -1;
  int caller_slot_ = -1;
};

}  // namespace tw::text::jinja
