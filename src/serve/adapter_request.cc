#include "serve/adapter_request.h"

#include <array>

#include "serve/errors.h"

namespace tw::serve {
namespace {

using Row = Field<AdapterRequest>;
constexpr std::array kRows = {
    Row{{"lora_name", FieldType::kString, 1, 512, "name by which requests choose the adapter"},
        [](AdapterRequest& r, const Value& v) -> base::Status {
          r.name = v.get<std::string>();
          return base::Ok{};
        }},
    Row{{"lora_path", FieldType::kString, 1, 4096, "folder on the server, to load it from"},
        [](AdapterRequest& r, const Value& v) -> base::Status {
          r.path = v.get<std::string>();
          return base::Ok{};
        }},
    Row{{"load_inplace", FieldType::kBool, 0, 0, "replace the one of that name"},
        [](AdapterRequest& r, const Value& v) -> base::Status {
          r.in_place = v.get<bool>();
          return base::Ok{};
        }},
};

}  // namespace

std::span<const Field<AdapterRequest>> adapter_fields() {
  return kRows;
}

base::Result<AdapterRequest> parse_adapter_request(std::string_view text, bool load) {
  TW_ASSIGN_OR_RETURN(const Value body, parse_body(text));
  AdapterRequest request;
  const std::span<const Field<AdapterRequest>> none;
  TW_RETURN_IF_ERROR(read_fields(body, adapter_fields(), none, request, request.ignored));
  if (request.name.empty()) return field_error("lora_name", "lora_name is missing: send the adapter's name");
  if (load && request.path.empty())
    return field_error("lora_path", "lora_path is missing: send the adapter's folder on the server");
  return request;
}

}  // namespace tw::serve
