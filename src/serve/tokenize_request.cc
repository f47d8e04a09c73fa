#include "serve/tokenize_request.h"

#include <array>

#include "serve/errors.h"

namespace tw::serve {
namespace {

using Row = Field<TokenizeRequest>;
constexpr std::array kRows = {
    Row{{"prompt", FieldType::kString, 0, 8388608, "text to tokenize"},
        [](TokenizeRequest& r, const Value& v) -> base::Status {
          r.prompt = v.get<std::string>();
          r.has_prompt = true;
          return base::Ok{};
        }},
    Row{{"return_token_strs", FieldType::kBool, 0, 0, "also the tokens' texts"},
        [](TokenizeRequest& r, const Value& v) -> base::Status {
          r.return_strings = v.get<bool>();
          return base::Ok{};
        }},
    Row{{"model", FieldType::kString, 0, 512, "name of the model"},
        [](TokenizeRequest& r, const Value& v) -> base::Status {
          r.model = v.get<std::string>();
          return base::Ok{};
        }},
    Row{{"add_special_tokens", FieldType::kBool, 0, 0,
         "put BOS and the like around the text (default: prompt true, messages false)"},
        [](TokenizeRequest& r, const Value& v) -> base::Status {
          r.add_special = v.get<bool>();
          return base::Ok{};
        }},
};

using IdsRow = Field<DetokenizeRequest>;
constexpr std::array kIdsRows = {
    IdsRow{{"tokens", FieldType::kArray, 0, 4194304, "token ids"},
           [](DetokenizeRequest& r, const Value& v) -> base::Status {
             if (v.empty()) return base::Ok{};
             TW_ASSIGN_OR_RETURN(auto prompts, parse_prompts("tokens", v));
             auto* ids = std::get_if<std::vector<std::int32_t>>(prompts.data());
             if (prompts.size() != 1 || ids == nullptr)
               return field_error("tokens", "tokens must be a list of token ids");
             r.tokens = std::move(*ids);
             return base::Ok{};
           }},
    IdsRow{{"model", FieldType::kString, 0, 512, "name of the model"},
           [](DetokenizeRequest& r, const Value& v) -> base::Status {
             r.model = v.get<std::string>();
             return base::Ok{};
           }},
};

}  // namespace

std::span<const Field<TokenizeRequest>> tokenize_fields() {
  return kRows;
}
std::span<const Field<DetokenizeRequest>> detokenize_fields() {
  return kIdsRows;
}

base::Result<TokenizeRequest> parse_tokenize_request(std::string_view text) {
  TW_ASSIGN_OR_RETURN(const Value body, parse_body(text));
  TokenizeRequest request;
  const std::span<const Field<ChatRequest>> chat = chat_fields();
  TW_RETURN_IF_ERROR(read_fields(body, tokenize_fields(), chat, request, request.ignored));
  if (request.has_prompt == !request.messages.is_null()) {
    return field_error("prompt", "send either prompt (a text) or messages (a conversation)");
  }
  return request;
}

base::Result<DetokenizeRequest> parse_detokenize_request(std::string_view text) {
  TW_ASSIGN_OR_RETURN(const Value body, parse_body(text));
  DetokenizeRequest request;
  const std::span<const Field<DetokenizeRequest>> none;
  TW_RETURN_IF_ERROR(read_fields(body, detokenize_fields(), none, request, request.ignored));
  if (!body.contains("tokens")) return field_error("tokens", "tokens is missing: send a list of token ids");
  return request;
}

}  // namespace tw::serve
