#include "text/jinja_getter.h"

#include "text/jinja_number.h"
#include "text/jinja_ops.h"
#include "text/jinja_str.h"
#include "text/jinja_unicode_data.h"

namespace tw::text::jinja {

using base::Result;

namespace {

constexpr std::size_t kMaxAttribute = 1000;

base::Status check_length(const Value& attribute) {
  if (attribute.text().size() <= kMaxAttribute) return base::Ok{};
  return base::error(base::Code::kResourceExhausted, "an attribute name has more than {} bytes",
                     kMaxAttribute);
}

}  // namespace

Result<Getter> Getter::make(const Value& attribute, const Value& fallback) {
  Getter out;
  out.fallback_ = fallback;
  if (attribute.is_none()) return out;
  if (!attribute.is_string()) {
    out.path_.push_back(attribute);
    return out;
  }
  TW_RETURN_IF_ERROR(check_length(attribute));
  for (const std::string_view part : split_at(attribute.text(), ".", -1, false)) {
    const std::optional<Int> index = all_have(part, kDigit) ? read_int(part, 10) : std::nullopt;
    out.path_.push_back(
        index ? Value::integer(*index)
              : Value::object(Kind::kString, std::make_shared<String>(nullptr, std::string(part), false)));
  }
  return out;
}

Result<std::vector<Getter>> Getter::make_several(const Value& attribute) {
  std::vector<Getter> out;
  if (!attribute.is_string()) {
    TW_ASSIGN_OR_RETURN(Getter one, make(attribute));
    out.push_back(std::move(one));
    return out;
  }
  TW_RETURN_IF_ERROR(check_length(attribute));
  for (const std::string_view part : split_at(attribute.text(), ",", -1, false)) {
    TW_ASSIGN_OR_RETURN(
        Getter one,
        make(Value::object(Kind::kString, std::make_shared<String>(nullptr, std::string(part), false))));
    out.push_back(std::move(one));
  }
  return out;
}

Result<Value> Getter::get(Runtime& runtime, const Value& item) const {
  Value value = item;
  for (const Value& part : path_) {
    TW_RETURN_IF_ERROR(runtime.step());
    TW_ASSIGN_OR_RETURN(value, get_item(runtime, value, part));
    if (value.is_undefined() && !fallback_.is_none()) value = fallback_;
  }
  return value;
}

Value ignore_case(Runtime& runtime, const Value& value) {
  return value.is_string() ? runtime.string(to_lower(value.text())) : value;
}

}  // namespace tw::text::jinja
