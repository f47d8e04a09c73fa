// The functions a template finds without being given them.
#include <algorithm>
#include <ctime>

#include "text/jinja_ops.h"

namespace tw::text::jinja {
namespace {

using base::Code;
using base::Result;

constexpr std::size_t kMaxRange = 100'000;  // jinja2's sandbox has the same
constexpr std::size_t kMaxTimeFormat = 1000;

class Function final : public Callable {
 public:
  using Body = Result<Value> (*)(Runtime&, Args&);
  Function(Heap* heap, std::string_view name, Body body)
      : Callable(heap, sizeof(Function), 0), name_(name), body_(body) {}
  std::string_view type_name() const override { return "function"; }
  std::string spelling() const override { return "<function " + std::string(name_) + ">"; }
  Result<Value> call(Runtime& runtime, Args& args) override { return body_(runtime, args); }

 private:
  std::string_view name_;
  Body body_;
};

/// cycler('a', 'b'): next() gives its items by turns.
class Cycler final : public Callable {
 public:
  Cycler(Heap* heap, std::vector<Value> items, int depth)
      : Callable(heap, sizeof(Cycler) + items.size() * sizeof(Value), depth), items_(std::move(items)) {}
  std::string_view type_name() const override { return "Cycler"; }
  Result<Value> call(Runtime&, Args&) override { return template_error("'Cycler' object is not callable"); }
  std::optional<Value> attribute(Runtime& runtime, const Value& self, std::string_view name) override;

  Value next() {
    const Value item = items_[at_];
    at_ = (at_ + 1) % items_.size();
    return item;
  }
  void reset() { at_ = 0; }

 private:
  const std::vector<Value> items_;
  std::size_t at_ = 0;
};

/// cycler.next or cycler.reset, taken but not yet called.
class CyclerMethod final : public Callable {
 public:
  CyclerMethod(Heap* heap, Value cycler, bool advances)
      : Callable(heap, sizeof(CyclerMethod), cycler.depth() + 1),
        cycler_(std::move(cycler)),
        advances_(advances) {}
  std::string_view type_name() const override { return "method"; }
  Result<Value> call(Runtime&, Args& args) override {
    TW_ASSIGN_OR_RETURN(const Bound bound, bind(advances_ ? "next" : "reset", args, {}, 0));
    if (advances_) return cycler_.as<Cycler>().next();
    cycler_.as<Cycler>().reset();
    return Value::none();
  }

 private:
  const Value cycler_;
  const bool advances_;
};

/// joiner(', '): "" at the first call, then the separator.
class Joiner final : public Callable {
 public:
  Joiner(Heap* heap, Value separator)
      : Callable(heap, sizeof(Joiner), separator.depth() + 1), separator_(std::move(separator)) {}
  std::string_view type_name() const override { return "Joiner"; }
  Result<Value> call(Runtime& runtime, Args&) override {
    return std::exchange(used_, true) ? separator_ : runtime.string("");
  }

 private:
  const Value separator_;
  bool used_ = false;
};

std::optional<Value> Cycler::attribute(Runtime& runtime, const Value& self, std::string_view name) {
  if (name == "current") return items_[at_];
  if (name == "pos") return Value::integer(static_cast<Int>(at_));
  if (name != "next" && name != "reset") return std::nullopt;
  return Value::object(Kind::kCallable,
                       std::make_shared<CyclerMethod>(&runtime.heap(), self, name == "next"));
}

Result<Value> range(Runtime& runtime, Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("range", args, {"", "", ""}, 1));
  TW_ASSIGN_OR_RETURN(Int start, bound.integer(0, 0));
  TW_ASSIGN_OR_RETURN(Int stop, bound.integer(1, 0));
  TW_ASSIGN_OR_RETURN(const Int step, bound.integer(2, 1));
  if (bound[1] == nullptr) stop = std::exchange(start, 0);
  if (step == 0) return template_error("range() arg 3 must not be zero");
  constexpr Int kFar = static_cast<Int>(1) << 100;
  if (std::max({start, stop, step}) > kFar || std::min({start, stop, step}) < -kFar) {
    return base::error(Code::kResourceExhausted, "range too big: at most {} items", kMaxRange);
  }
  const Int span = step > 0 ? stop - start : start - stop;
  const Int width = step > 0 ? step : -step;
  const Int size = span <= 0 ? 0 : (span + width - 1) / width;
  if (size > static_cast<Int>(kMaxRange)) {
    return base::error(Code::kResourceExhausted, "range too big: at most {} items", kMaxRange);
  }
  return Value::object(Kind::kRange, std::make_shared<Range>(&runtime.heap(), start, stop, step,
                                                             static_cast<std::size_t>(size)));
}

/// What dict() and namespace() take: a mapping or pairs, then named values.
Result<DictItems> collect(Runtime& runtime, const Args& args, std::string_view name) {
  DictItems items;
  if (args.positional.size() > 1) return template_error("{}() takes at most 1 argument", name);
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (source.is(Kind::kDict)) {
      items = source.as<Dict>().items;
    } else {
      TW_ASSIGN_OR_RETURN(const std::vector<Value> pairs, iterate(runtime, source));
      for (const Value& pair : pairs) {
        TW_ASSIGN_OR_RETURN(const std::vector<Value> two, iterate(runtime, pair));
        if (two.size() != 2) return template_error("{}() needs pairs, found {} items", name, two.size());
        if (!is_hashable(two[0])) return template_error("unhashable type: '{}'", two[0].type_name());
        items.set(two[0], two[1]);
      }
    }
  }
  for (const auto& [key, value] : args.named) items.set(runtime.string(key), value);
  TW_RETURN_IF_ERROR(runtime.step(items.size()));
  return items;
}

Result<Value> dict(Runtime& runtime, Args& args) {
  TW_ASSIGN_OR_RETURN(DictItems items, collect(runtime, args, "dict"));
  return runtime.dict(std::move(items));
}

Result<Value> make_namespace(Runtime& runtime, Args& args) {
  TW_ASSIGN_OR_RETURN(DictItems items, collect(runtime, args, "namespace"));
  return runtime.new_namespace(std::move(items));
}

Result<Value> raise_exception(Runtime& runtime, Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("raise_exception", args, {"message"}, 1));
  TW_ASSIGN_OR_RETURN(std::string message, to_text(runtime, *bound[0]));
  return base::Error{Code::kInvalidArgument, std::move(message), {}};
}

Result<Value> strftime_now(Runtime& runtime, Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("strftime_now", args, {"format"}, 1));
  TW_ASSIGN_OR_RETURN(const std::string format, bound.text(0, ""));
  if (format.size() > kMaxTimeFormat) {
    return base::error(Code::kResourceExhausted, "strftime_now() takes at most {} bytes", kMaxTimeFormat);
  }
  const auto time = static_cast<std::time_t>(runtime.now().value_or(std::time(nullptr)));
  std::tm parts{};
  const bool known =
      runtime.now() ? gmtime_r(&time, &parts) != nullptr : localtime_r(&time, &parts) != nullptr;
  if (!known) return template_error("strftime_now() cannot show the time {}", time);
  // strftime returns 0 both for no text and for too little room; a mark at the end tells them apart.
  std::string out(kMaxTimeFormat * 100, '\0');
  const std::size_t size = std::strftime(out.data(), out.size(), (format + "|").c_str(), &parts);
  if (size == 0)
    return base::error(Code::kResourceExhausted, "strftime_now() would give more than {} bytes", out.size());
  out.resize(size - 1);
  return runtime.string(std::move(out));
}

Result<Value> cycler(Runtime& runtime, Args& args) {
  if (args.positional.empty() || !args.named.empty())
    return template_error("at least one item has to be provided");
  TW_ASSIGN_OR_RETURN(const Value items, runtime.list(std::move(args.positional)));
  return Value::object(Kind::kCallable,
                       std::make_shared<Cycler>(&runtime.heap(), items.items(), items.depth()));
}

Result<Value> joiner(Runtime& runtime, Args& args) {
  TW_ASSIGN_OR_RETURN(const Bound bound, bind("joiner", args, {"sep"}, 0));
  const Value separator = bound[0] == nullptr ? runtime.string(", ") : *bound[0];
  return Value::object(Kind::kCallable, std::make_shared<Joiner>(&runtime.heap(), separator));
}

struct NamedFunction {
  std::string_view name;
  Function::Body body;
};
constexpr NamedFunction kGlobals[] = {{"cycler", cycler},
                                      {"dict", dict},
                                      {"joiner", joiner},
                                      {"namespace", make_namespace},
                                      {"raise_exception", raise_exception},
                                      {"range", range},
                                      {"strftime_now", strftime_now}};

}  // namespace

std::optional<Value> find_global(Runtime& runtime, std::string_view name) {
  const auto* at =
      std::find_if(std::begin(kGlobals), std::end(kGlobals), [&](const auto& g) { return g.name == name; });
  if (at == std::end(kGlobals)) return std::nullopt;
  return Value::object(Kind::kCallable, std::make_shared<Function>(&runtime.heap(), at->name, at->body));
}

}  // namespace tw::text::jinja
