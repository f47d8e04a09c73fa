// Macros, their calls, and the `loop` object.
#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_ops.h"

namespace tw::text::jinja {

using base::Result;
using base::Status;

/// A macro with the scope it was defined in. Its call goes back to the interpreter, which outlives it.
class MacroValue final : public Callable {
 public:
  MacroValue(Interpreter& interpreter, const MacroDef& macro, std::shared_ptr<Scope> home)
      : Callable(&interpreter.runtime_.heap(), sizeof(MacroValue), 0),
        interpreter_(interpreter),
        macro_(macro),
        home_(std::move(home)) {}
  std::string_view type_name() const override { return "Macro"; }
  std::string spelling() const override { return "<Macro '" + macro_.name + "'>"; }
  Result<Value> call(Runtime&, Args& args) override { return interpreter_.call_macro(macro_, home_, args); }
  std::optional<Value> attribute(Runtime& runtime, const Value&, std::string_view name) override {
    if (name == "name") return runtime.string(macro_.name);
    if (name == "caller") return Value::boolean(macro_.uses_caller);
    if (name == "catch_varargs") return Value::boolean(macro_.uses_varargs);
    if (name == "catch_kwargs") return Value::boolean(macro_.uses_kwargs);
    return std::nullopt;
  }

 private:
  Interpreter& interpreter_;
  const MacroDef& macro_;
  const std::shared_ptr<Scope> home_;
};

namespace {

/// loop.cycle(...) and loop.changed(...).
class LoopMethod final : public Callable {
 public:
  LoopMethod(Heap* heap, Value loop, bool cycles)
      : Callable(heap, sizeof(LoopMethod), loop.depth() + 1), loop_(std::move(loop)), cycles_(cycles) {}
  std::string_view type_name() const override { return "method"; }
  Result<Value> call(Runtime& runtime, Args& args) override {
    if (!args.named.empty()) return template_error("loop methods take no named arguments");
    Loop& loop = loop_.as<Loop>();
    if (cycles_) {
      if (args.positional.empty()) return template_error("no items for cycling given");
      return args.positional[loop.index % args.positional.size()];
    }
    for (const Value& value : args.positional) {
      if (value.depth() > 0 || value.is(Kind::kCallable) || value.is(Kind::kNamespace)) {
        // The loop keeps what it saw: a value that holds the loop again would never be freed.
        return base::error(base::Code::kUnsupported, "loop.changed() takes text and numbers only");
      }
    }
    bool same =
        std::exchange(loop.changed_called, true) && args.positional.size() == loop.last_changed.size();
    for (std::size_t i = 0; same && i < args.positional.size(); ++i) {
      TW_ASSIGN_OR_RETURN(same, equal(runtime, args.positional[i], loop.last_changed[i]));
    }
    if (!same) loop.last_changed = std::move(args.positional);
    return Value::boolean(!same);
  }

 private:
  const Value loop_;
  const bool cycles_;
};

Value neighbour(Runtime& runtime, const Loop& loop, bool is_next) {
  if (is_next ? loop.index + 1 >= loop.items.size() : loop.index == 0) {
    return runtime.undefined(is_next ? "there is no next item" : "there is no previous item");
  }
  return loop.items[is_next ? loop.index + 1 : loop.index - 1];
}

}  // namespace

std::string Loop::spelling() const {
  return "<LoopContext " + std::to_string(index + 1) + "/" + std::to_string(items.size()) + ">";
}

std::optional<Value> Loop::attribute(Runtime& runtime, const Value& self, std::string_view name) {
  const Int at = static_cast<Int>(index);
  const Int size = static_cast<Int>(items.size());
  if (name == "index") return Value::integer(at + 1);
  if (name == "index0") return Value::integer(at);
  if (name == "revindex") return Value::integer(size - at);
  if (name == "revindex0") return Value::integer(size - at - 1);
  if (name == "first") return Value::boolean(at == 0);
  if (name == "last") return Value::boolean(at + 1 == size);
  if (name == "length") return Value::integer(size);
  if (name == "depth") return Value::integer(1);
  if (name == "depth0") return Value::integer(0);
  if (name == "previtem" || name == "nextitem") return neighbour(runtime, *this, name == "nextitem");
  if (name != "cycle" && name != "changed") return std::nullopt;
  return Value::object(Kind::kCallable, std::make_shared<LoopMethod>(&runtime.heap(), self, name == "cycle"));
}

Value Interpreter::make_macro(const MacroDef& macro) {
  if (!scope_->captured) {
    scope_->captured = true;
    captured_.push_back(scope_);
  }
  return Value::object(Kind::kCallable, std::make_shared<MacroValue>(*this, macro, scope_));
}

[[gnu::noinline]] Result<Value> Interpreter::call_macro(const MacroDef& macro,
                                                        const std::shared_ptr<Scope>& home, Args& args) {
  if (calls_ >= runtime_.limits().max_depth) {
    return base::error(base::Code::kResourceExhausted, "macro '{}' is called more than {} levels deep",
                       macro.name, runtime_.limits().max_depth);
  }
  const ScopeGuard guard(*this, std::make_shared<Scope>(&runtime_.heap(), home));
  TW_RETURN_IF_ERROR(bind_macro(macro, *scope_, args));
  TW_RETURN_IF_ERROR(bind_defaults(macro));
  ++calls_;
  const std::size_t before = buffered_;
  std::string text;
  const Result<Flow> flow = exec(macro.body, text);
  --calls_;
  buffered_ = before;
  if (!flow.ok()) return flow.error();
  return runtime_.string(std::move(text));
}

Status Interpreter::bind_macro(const MacroDef& macro, Scope& scope, Args& args) {
  const std::size_t count = std::min(args.positional.size(), macro.parameters.size());
  for (std::size_t i = 0; i < count; ++i) scope.set(macro.parameters[i].slot, args.positional[i]);
  for (std::size_t i = count; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    const auto at = std::find_if(args.named.begin(), args.named.end(),
                                 [&](const auto& a) { return a.first == parameter.name; });
    if (at == args.named.end()) continue;
    scope.set(parameter.slot, std::move(at->second));
    args.named.erase(at);
  }
  return bind_implicit(macro, scope, args);
}

/// `caller`, `kwargs` and `varargs`, for macros that read them; what is left over is an error for the others.
Status Interpreter::bind_implicit(const MacroDef& macro, Scope& scope, Args& args) {
  if (macro.uses_caller && scope.find(caller_slot_) == nullptr) {
    const auto at =
        std::find_if(args.named.begin(), args.named.end(), [](const auto& a) { return a.first == "caller"; });
    scope.set(caller_slot_, at == args.named.end() ? runtime_.undefined("No caller defined") : at->second);
    if (at != args.named.end()) args.named.erase(at);
  }
  if (macro.uses_kwargs) {
    DictItems rest;
    for (auto& [name, value] : args.named) rest.set(runtime_.string(name), std::move(value));
    TW_ASSIGN_OR_RETURN(Value dict, runtime_.dict(std::move(rest)));
    scope.set(program_.slots.find("kwargs")->second, std::move(dict));
  } else if (!args.named.empty()) {
    return template_error("macro '{}' takes no keyword argument '{}'", macro.name, args.named[0].first);
  }
  const std::size_t count = macro.parameters.size();
  if (macro.uses_varargs) {
    const std::size_t from = std::min(count, args.positional.size());
    std::vector<Value> rest(args.positional.begin() + static_cast<std::ptrdiff_t>(from),
                            args.positional.end());
    TW_ASSIGN_OR_RETURN(Value tuple, runtime_.tuple(std::move(rest)));
    scope.set(program_.slots.find("varargs")->second, std::move(tuple));
  } else if (args.positional.size() > count) {
    return template_error("macro '{}' takes not more than {} argument(s)", macro.name, count);
  }
  return base::Ok{};
}

/// Defaults are evaluated at each call, in the macro's own scope, so that they can read parameters before
/// them.
Status Interpreter::bind_defaults(const MacroDef& macro) {
  for (const Parameter& parameter : macro.parameters) {
    if (scope_->find(parameter.slot) != nullptr) continue;
    if (parameter.fallback == nullptr) {
      scope_->set(parameter.slot, runtime_.undefined("parameter '" + parameter.name + "' was not provided"));
      continue;
    }
    TW_ASSIGN_OR_RETURN(Value value, eval(*parameter.fallback));
    scope_->set(parameter.slot, std::move(value));
  }
  return base::Ok{};
}

}  // namespace tw::text::jinja
