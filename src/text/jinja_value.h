// The values of a template: Python's, as far as templates can see them.
//
// A value is cheap to copy: scalars are stored inside, the rest is shared. Strings, lists, tuples and dicts
// never change after they are made (jinja2's immutable sandbox refuses their mutating methods), so sharing is
// safe; a value belongs to one render and to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace tw::text::jinja {

class Runtime;
class Value;

/// Python's integers have no bound; 128 bits hold every number JSON can carry here. Beyond: an error.
using Int = __int128;

/// Counts the bytes that the live values of one render hold.
class Heap {
 public:
  explicit Heap(std::size_t limit) : limit_(limit) {}
  void add(std::size_t bytes) { live_ += bytes; }
  void remove(std::size_t bytes) { live_ -= bytes; }
  /// Whether `extra` more bytes would still be within the limit.
  bool fits(std::size_t extra) const { return live_ <= limit_ && extra <= limit_ - live_; }

 private:
  std::size_t live_ = 0;
  std::size_t limit_;
};

/// What a value shares: the base of all that is not a scalar.
class Object {
 public:
  /// `heap` may be null for constants of the template. `depth` is 1 + that of the deepest value inside.
  Object(Heap* heap, std::size_t bytes, int depth) : heap_(heap), bytes_(bytes), depth_(depth) {
    if (heap_ != nullptr) heap_->add(bytes_);
  }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() {
    if (heap_ != nullptr) heap_->remove(bytes_);
  }
  int depth() const { return depth_; }
  /// Python's name of the type, for messages.
  virtual std::string_view type_name() const = 0;
  /// `object.name` for objects with attributes of their own; `self` is the value that holds this object.
  virtual std::optional<Value> attribute(Runtime& runtime, const Value& self, std::string_view name);
  /// str(object) for objects without a spelling of their own in this file.
  virtual std::string spelling() const;

 private:
  Heap* heap_;
  std::size_t bytes_;
  int depth_;
};

/// The arguments of one call.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// A macro, a global function, a method bound to its value.
class Callable : public Object {
 public:
  using Object::Object;
  virtual base::Result<Value> call(Runtime& runtime, Args& args) = 0;
};

enum class Kind : std::uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,       ///< dict.keys(), dict.values(), dict.items()
  kGenerator,  ///< what map, select and the like give: can be walked once
  kNamespace,
  kCallable,
  kOther,  ///< loop
};

class Value {
 public:
  Value() = default;  ///< undefined, without a name
  static Value none() { return Value(Kind::kNone); }
  static Value boolean(bool b);
  static Value integer(Int i);
  static Value real(double d);
  static Value object(Kind kind, std::shared_ptr<Object> object);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_integer() const {
    return kind_ == Kind::kInt || kind_ == Kind::kBool;
  }  ///< as in Python, bool is one
  bool is_number() const { return is_integer() || kind_ == Kind::kFloat; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }

  bool as_bool() const { return scalar_.i != 0; }  ///< REQUIRES: kBool
  Int as_int() const { return scalar_.i; }         ///< REQUIRES: is_integer()
  double as_double() const;                        ///< REQUIRES: is_number()
  const std::string& text() const;                 ///< REQUIRES: is_string()
  bool is_markup() const;                          ///< a string marked safe: adding to it escapes the other
  const std::vector<Value>& items() const;         ///< REQUIRES: is_sequence()

  /// The shared part. REQUIRES: T is the type that kind() says.
  template <typename T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const Object* identity() const { return object_.get(); }
  const std::shared_ptr<Object>& shared() const { return object_; }
  int depth() const { return object_ == nullptr ? 0 : object_->depth(); }
  std::string_view type_name() const;

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kUndefined;
  union {
    Int i = 0;
    double d;
  } scalar_;
  std::shared_ptr<Object> object_;
};

/// Why a value is undefined: the message of the error that using it gives.
struct Hint final : Object {
  Hint(Heap* heap, std::string message_in)
      : Object(heap, sizeof(Hint) + message_in.size(), 0), message(std::move(message_in)) {}
  std::string_view type_name() const override { return "Undefined"; }
  const std::string message;
};

struct String final : Object {
  String(Heap* heap, std::string text_in, bool markup_in);
  std::string_view type_name() const override { return markup ? "Markup" : "str"; }
  bool ascii() const { return length == text.size(); }
  const std::string text;    ///< valid UTF-8
  const std::size_t length;  ///< code points
  const bool markup;
};

/// A list or a tuple. A tuple made by groupby has names for its two items: `grouper` and `list`.
struct Sequence final : Object {
  Sequence(Heap* heap, std::vector<Value> items_in, int depth, bool is_group_in = false)
      : Object(heap, sizeof(Sequence) + items_in.size() * sizeof(Value), depth),
        items(std::move(items_in)),
        is_group(is_group_in) {}
  std::string_view type_name() const override { return "list"; }
  const std::vector<Value> items;
  const bool is_group;
};

/// A total order of hashable values in which equal means equal in Python (1 == 1.0 == True).
struct KeyLess {
  bool operator()(const Value& a, const Value& b) const;
};

/// Whether a value may be a dict's key here: scalars, and tuples of scalars.
bool is_hashable(const Value& value);

/// A dict under construction, and its content: keeps the order in which keys first came.
class DictItems {
 public:
  using Item = std::pair<Value, Value>;
  /// REQUIRES: is_hashable(key). A key that is there keeps its place and takes the new value.
  void set(Value key, Value value);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  const std::vector<Item>& all() const { return items_; }
  std::size_t size() const { return items_.size(); }

 private:
  std::vector<Item> items_;
  std::map<Value, std::size_t, KeyLess> index_;  // only once there are many keys
};

struct Dict final : Object {
  Dict(Heap* heap, DictItems items_in, int depth)
      : Object(heap, sizeof(Dict) + items_in.size() * 3 * sizeof(Value), depth), items(std::move(items_in)) {}
  std::string_view type_name() const override { return "dict"; }
  const DictItems items;
};

struct Range final : Object {
  Range(Heap* heap, Int start_in, Int stop_in, Int step_in, std::size_t size_in)
      : Object(heap, sizeof(Range), 0), start(start_in), stop(stop_in), step(step_in), size(size_in) {}
  std::string_view type_name() const override { return "range"; }
  const Int start;
  const Int stop;
  const Int step;
  const std::size_t size;
};

struct View final : Object {
  enum class Part : std::uint8_t { kKeys, kValues, kItems };
  View(Heap* heap, Value dict_in, Part part_in)
      : Object(heap, sizeof(View), dict_in.depth() + 1), dict(std::move(dict_in)), part(part_in) {}
  std::string_view type_name() const override;
  const Value dict;
  const Part part;
};

/// Items made at once, errors met on the way kept for the moment when they would be reached.
struct Generator final : Object {
  Generator(Heap* heap, std::vector<Value> items_in, std::optional<base::Error> failure_in, int depth)
      : Object(heap, sizeof(Generator) + items_in.size() * sizeof(Value), depth),
        items(std::move(items_in)),
        failure(std::move(failure_in)) {}
  std::string_view type_name() const override { return "generator"; }
  std::vector<Value> items;
  std::size_t next = 0;
  std::optional<base::Error> failure;
};

/// `namespace()`: the one thing a template can change. The interpreter owns all namespaces and empties them
/// at the end, because they can hold each other.
struct Namespace final : Object {
  explicit Namespace(Heap* heap) : Object(heap, sizeof(Namespace), 0) {}
  std::string_view type_name() const override { return "Namespace"; }
  DictItems items;
};

/// Whether Python's bool(value) is true.
bool truthy(const Value& value);

/// len(value), where Python has one.
std::optional<std::size_t> length_of(const Value& value);

}  // namespace tw::text::jinja
