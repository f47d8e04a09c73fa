// The `attribute` argument of map, sort, join and the like: "name", "name.0.other", or an index.
#pragma once

#include <optional>
#include <vector>

#include "text/jinja_runtime.h"

namespace tw::text::jinja {

class Getter {
 public:
  /// `attribute`: text, an integer, or none for the item itself. `fallback` stands for undefined parts,
  /// unless none.
  /// Fails for a text of more than 1000 bytes.
  static base::Result<Getter> make(const Value& attribute, const Value& fallback = Value::none());
  /// As make(), for "a,b" too: one getter each.
  static base::Result<std::vector<Getter>> make_several(const Value& attribute);

  base::Result<Value> get(Runtime& runtime, const Value& item) const;

 private:
  std::vector<Value> path_;
  Value fallback_ = Value::none();
};

/// Text in lower case, other values as they are: how sort and its like compare unless told otherwise.
Value ignore_case(Runtime& runtime, const Value& value);

}  // namespace tw::text::jinja
