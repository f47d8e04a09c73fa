#include "text/content_parts.h"

namespace tw::text {
namespace {

/// What a part says that it is, shortened for an error.
std::string type_of(const base::OrderedJson& part) {
  constexpr std::size_t kLong = 60;
  const auto type = part.is_object() ? part.find("type") : part.end();
  if (!part.is_object() || type == part.end()) return "no part";
  if (type->is_structured()) return "a list or object";
  const std::size_t size = type->is_string() ? type->get_ref<const std::string&>().size() : 0;
  return size > kLong ? fmt::format("a text of {} bytes", size) : base::dump_json(*type);
}

}  // namespace

base::Result<std::string> join_content_parts(const base::OrderedJson& parts) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const base::OrderedJson& part = parts[i];
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || (*type != "text" && *type != "input_text"))
      return base::Error{base::Code::kUnsupported,
                         fmt::format("is {}: only parts of type text are supported", type_of(part)),
                         fmt::format("[{}]", i)};
    const auto inner = part.find("text");
    if (inner == part.end() || !inner->is_string())
      return base::Error{base::Code::kInvalidArgument, "must be a string", fmt::format("[{}].text", i)};
    if (i > 0) text += '\n';
    text += inner->get_ref<const std::string&>();
  }
  return text;
}

}  // namespace tw::text
