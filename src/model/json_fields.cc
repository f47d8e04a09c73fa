#include "model/json_fields.h"

#include "io/tensor_file.h"

namespace tw::model {

void JsonFields::fail(const char* key, const std::string& why) {
  if (!error_) error_ = base::Error{base::Code::kCorrupt, fmt::format("\"{}\" {}", key, why), where_};
}

base::Status JsonFields::status() const {
  if (error_) return *error_;
  return base::Ok{};
}

const base::Json* JsonFields::find(const char* key) const {
  if (!object_.is_object()) return nullptr;
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

std::string JsonFields::shown(const base::Json& value) {
  return io::quote_text(base::dump_json(value), 40);
}

}  // namespace tw::model
